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
from trust.readers import LOOKING, read
from trust.warm import call, command, main


@dataclass(frozen=True, eq=False)
class Reference:
    """A home as it should be, or as it will be once its run goes on.

    Args:
        recipe: the name of its recipe.
        home: the folder; it is copied, never changed.
        bits: digests of what an undisturbed run leaves below runs/.
        files: the names of all that lies there.
        shows: what each reader shows of it.
    """

    recipe: str
    home: Path
    bits: dict[str, str] = field(repr=False)
    files: frozenset[str] = field(repr=False)
    shows: dict[str, Any] = field(default_factory=dict, repr=False)

    def shown(self, reader: str) -> Any:
        """What a reader shows of it."""
        return self.shows[reader]


@cache
def finished_reference(bench: Bench, recipe: str) -> Reference:
    """A finished home of a recipe, this machine's speed measured."""
    home = finished(bench.place / f"finished-{recipe}", recipe)
    if recipe == IMAGES:
        must(command("plan", "--calibrate", *on(recipe), folder=home))
    runs = home / "runs"
    left, names = bits(runs), frozenset(files(runs))
    looked = copied(home, bench.place / f"looked-{recipe}")
    readings = {reader: read(reader, looked, recipe, None) for reader in LOOKING}
    shows = {reader: (must(each.outcome), each.shown)[1] for reader, each in readings.items()}
    return Reference(recipe, home, left, names, shows)


@cache
def interrupted_reference(bench: Bench, reference: Reference) -> Reference:
    """The same recipe, killed in the training of its second stage after three checkpoints."""
    home = copied(reference.home, bench.place / "interrupted")
    for path in sorted((home / "runs" / reference.recipe).rglob("*"), reverse=True):
        if "1" not in path.relative_to(home / "runs" / reference.recipe).parts:
            path.rmdir() if path.is_dir() else path.unlink()
    arguments = ["train-stage", "2", *on(reference.recipe), "--checkpoint-every", "0"]
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
