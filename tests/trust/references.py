"""Undisturbed runs, and what everybody shows of them."""

import os
import signal
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from trust.bench import Bench
from trust.homes import IMAGES, copied, finished, must, on
from trust.judge import bits, files
from trust.readers import read
from trust.warm import call, command, main


@dataclass(frozen=True)
class Reference:
    """A home as it should be, or as it will be once its run goes on.

    Args:
        recipe: the name of its recipe.
        home: the folder; it is copied, never changed.
        bits: digests of what an undisturbed run leaves below runs/.
        files: the names of all that lies there.
    """

    recipe: str
    home: Path
    bits: dict[str, str] = field(repr=False, compare=False)
    files: frozenset[str] = field(repr=False, compare=False)


@cache
def shown(reference: Reference, reader: str, place: Path) -> Any:
    """What a reader shows of a home as it should be.

    Args:
        reference: the home.
        reader: the reader.
        place: of a copy for it to look at.
    """
    reading = read(reader, copied(reference.home, place), reference.recipe, None)
    must(reading.outcome)
    return reading.shown


@cache
def finished_reference(bench: Bench, recipe: str) -> Reference:
    """A finished home of a recipe, this machine's speed measured."""
    home = finished(bench.place / f"finished-{recipe}", recipe)
    if recipe == IMAGES:
        must(command("plan", "--calibrate", *on(recipe), folder=home))
    runs = home / "runs"
    left, names = bits(runs), frozenset(files(runs))
    return Reference(recipe, home, left, names)


@cache
def interrupted_reference(bench: Bench, reference: Reference) -> Reference:
    """The same recipe, killed in the training of its second stage after three checkpoints."""
    home = copied(reference.home, bench.place / "interrupted")
    for path in sorted((home / "runs" / reference.recipe).rglob("*"), reverse=True):
        if "1" not in path.relative_to(home / "runs" / reference.recipe).parts:
            path.rmdir() if path.is_dir() else path.unlink()
    arguments = ["train-stage", "2", *on(reference.recipe), "--checkpoint-every", "0.001"]
    outcome = call(partial(main, arguments), folder=home, before=partial(_die_after, 3))
    assert outcome.code == -signal.SIGKILL, outcome.text
    return Reference(reference.recipe, home, reference.bits, reference.files)


def _die_after(checkpoints: int) -> None:
    """Let this process be killed when it has written so many checkpoints."""
    from gimstage.train.loop import Training

    save, left = Training.save_checkpoint, iter(range(checkpoints - 1, -1, -1))

    def save_and_die(training: Training) -> None:
        save(training)
        if next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    Training.save_checkpoint = save_and_die
