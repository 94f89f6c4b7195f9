"""The commands that write, each with what it starts from and what it leaves undisturbed."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

from trust.bench import Bench
from trust.homes import IMAGES, copied, must, on, write_recipe
from trust.judge import bits, files, lasting
from trust.references import finished_reference
from trust.shim import Point, counting, points, shim_loaded
from trust.warm import Outcome, command

RUN = f"runs/{IMAGES}"
_DEMO = ["--unlabeled", "60", "--train", "20", "--test", "20"]
_SPEECH = ["--speakers", "3", "--train", "3", "--test", "2"]


@dataclass(frozen=True)
class Work:
    """A command that writes.

    Args:
        name: of the command.
        arguments: its words.
        start: the home it starts from.
        bits: what it leaves, as `left`.
        files: the names of all that lies in the home then.
        seconds: how long it takes.
        points: its calls of the system on what is in the home, where they can be seen.
    """

    name: str
    arguments: tuple[str, ...]
    start: Path
    bits: dict[str, str] = field(repr=False, compare=False)
    files: frozenset[str] = field(repr=False, compare=False)
    seconds: float = field(compare=False)
    points: tuple[Point, ...] = field(repr=False, compare=False)

    def __call__(self, home: Path, bench: Bench, **settings: object) -> Outcome:
        """Run it in a home; settings as of `warm.call`."""
        return command(*self.arguments, folder=home, patience=bench.patience, **settings)


def left(home: Path) -> dict[str, str]:
    """Digests of what commands leave in a home; of a report its numbers alone."""
    written = {name: value for name, value in bits(home).items() if not name.startswith("report/")}
    numbers = home / "report/report.json"
    if numbers.exists():
        written["report"] = json.dumps(lasting(json.loads(numbers.read_text())), sort_keys=True)
    return written


@cache
def work_of(bench: Bench, name: str) -> Work:
    """The command of a name, run once undisturbed, and once with its calls written down."""
    arguments, start = _WORKS[name]
    home = bench.place / f"start-{name}"
    start(bench, home)
    done = copied(home, bench.place / f"done-{name}")
    outcome = must(command(*arguments, folder=done))
    return Work(
        name,
        arguments,
        home,
        bits=left(done),
        files=frozenset(files(done)),
        seconds=outcome.cpu_s,
        points=_points(bench, name, arguments, home) if shim_loaded() else (),
    )


def _points(bench: Bench, name: str, arguments: Sequence[str], start: Path) -> tuple[Point, ...]:
    home, log = copied(start, bench.place / f"counted-{name}"), bench.place / f"calls-{name}"
    must(command(*arguments, folder=home, before=counting(home, log)))
    return tuple(points(log))


def _with_recipe_only(bench: Bench, home: Path) -> None:
    """A recipe that has not run; the predictions that take long are there."""
    write_recipe(home, IMAGES)
    (home / "runs").mkdir()
    made = finished_reference(bench, IMAGES).home
    shutil.copy2(made / "runs/predictions.json", home / "runs")


def _lacking(*patterns: str) -> Callable[[Bench, Path], None]:
    """A finished recipe without some of what lies below its runs."""
    return partial(_without, patterns)


def _without(patterns: tuple[str, ...], bench: Bench, home: Path) -> None:
    copied(finished_reference(bench, IMAGES).home, home)
    for path in [path for pattern in patterns for path in (home / RUN).glob(pattern)]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _empty(bench: Bench, home: Path) -> None:
    home.mkdir()


_IMAGES = on(IMAGES)
_OFTEN = ["--checkpoint-every", "0.001"]
_REPORT = ["--runs", "runs", "--out", "report"]
_WORKS: dict[str, tuple[tuple[str, ...], Callable[[Bench, Path], None]]] = {
    "run": (("run", *_IMAGES, *_OFTEN), _with_recipe_only),
    "train-stage": (("train-stage", "2", *_IMAGES, *_OFTEN), _lacking("2", "probe")),
    "extract": (("extract", "2", *_IMAGES), _lacking("2/f*", "2/man*", "probe")),
    "probe": (("probe", *_IMAGES), _lacking("probe")),
    "report": (("report", *_REPORT), _lacking()),
    "tables": (("tables", IMAGES, "--seeds", "3", *_REPORT), _with_recipe_only),
    "demo": (("data", "demo", "new", *_DEMO), _empty),
    "demo-audio": (("data", "demo-audio", "new", *_SPEECH), _empty),
}
