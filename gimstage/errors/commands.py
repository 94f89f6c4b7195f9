"""Commands that a person can paste: the cures of errors, with the options used so far.

Whoever answers a person says once what was asked for (`asking`). Every command that a message
names is made here, so it carries --recipe, --runs, --data and --seed wherever they are not what
the command would take by itself. Where nobody asked, as when a folder of runs is opened from
Python, the folder's name says the recipe. This file imports nothing of gimstage.
"""

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEFAULT_RUNS = Path("runs")
DATA_VARIABLE = "GIMSTAGE_DATA"
FEATURES = "features.zarr"
INNER = (FEATURES, "checkpoint")  # folders of a stage's folder

Words = list[str]


def default_recipe() -> Path:
    """The recipe of a command that names none."""
    return Path(os.environ.get("GIMSTAGE_RECIPE") or "stages/demo")


@dataclass(frozen=True)
class Asked:
    """What a person asked with.

    Args:
        recipe: folder of the recipe's TOML files; None for what is asked of all runs.
        runs: folder of all runs.
        data: folder of the data set.
        seed: that replaces the recipe's own seeds.
    """

    recipe: Path | None = None
    runs: Path = DEFAULT_RUNS
    data: Path | None = None
    seed: int | None = None


_asked: ContextVar[Asked] = ContextVar("asked", default=Asked())  # noqa: B039, it is frozen


@contextmanager
def asking(asked: Asked) -> Iterator[None]:
    """Inside, commands carry what was asked with."""
    token = _asked.set(asked)
    try:
        yield
    finally:
        _asked.reset(token)


def inherited() -> dict[str, Any]:
    """Arguments of a pool of threads, whose errors are to carry what is asked with here."""
    return {"initializer": _asked.set, "initargs": (_asked.get(),)}


def pasted(*commands: Words) -> str:
    """Commands to be run one after another, in backticks."""
    return f"`{' && '.join(map(shlex.join, commands))}`"


def on_recipe(verb: str, *words: str, run: str = "", root: Path | None = None) -> Words:
    """A command of gimstage on a recipe.

    Args:
        verb: the command's name.
        words: its own arguments and options.
        run: `RECIPE` or `RECIPE@SEED`, the recipe asked for or one beside it; empty for the former.
        root: the folder of all runs, if it is not the one asked for.
    """
    asked = _asked.get()
    recipe, seed = asked.recipe or default_recipe(), asked.seed
    if run:
        name, _, digits = run.partition("@")
        recipe, seed = _folder_of(name), int(digits) if digits else None
    runs, data = root or asked.runs, asked.data
    command = ["gimstage", verb, *words]
    command += [] if recipe == default_recipe() else ["--recipe", str(recipe)]
    command += [] if runs == DEFAULT_RUNS else ["--runs", str(runs)]
    command += [] if str(data or "") == _known_data() else ["--data", str(data)]
    return command + ([] if seed is None else ["--seed", str(seed)])


def _folder_of(name: str) -> Path:
    """Where a recipe lies: it is the one asked for, or beside it, or else among the stages."""
    recipe = _asked.get().recipe
    if recipe is None:
        return Path("stages") / name
    own = recipe.name if ".." in recipe.parts else recipe.absolute().name
    return recipe if name == own else Path(os.path.normpath(recipe / ".." / name))


def _known_data() -> str:
    return os.environ.get(DATA_VARIABLE, "") if _asked.get().data else ""


def making(folder: Path) -> Words | None:
    """The command that makes a stage or a probe; None for a folder that is neither's.

    Args:
        folder: of the stage or probe, below that of its run.
    """
    name = folder.absolute().name
    if name.isdecimal():
        return on_recipe("train-stage", name, **_run_of(folder))
    if name.startswith("probe"):
        return on_recipe("probe", name, **_run_of(folder))
    return None


def finishing(folder: Path) -> str:
    """The cure for a folder that was taken for that of a finished stage, and is not."""
    command = making(folder)
    return f"run {pasted(command)}" if command else "name the folder of a stage, as in runs/demo/1"


def running(folder: Path) -> Words:
    """The command that makes everything of the run in which a stage's folder lies."""
    return on_recipe("run", **_run_of(folder))


def _run_of(folder: Path) -> dict[str, Any]:
    root = Path(os.path.normpath(folder / ".." / ".."))
    return {"run": folder.absolute().parent.name, "root": root}


def removing(path: Path) -> list[Words]:
    """The command that removes what lies in a place, whatever it is; none where nothing does."""
    if not os.path.lexists(path):
        return []
    folder = path.is_dir() and not path.is_symlink()
    return [["rm", *(["-r"] if folder else []), str(path)]]


def making_anew(path: Path) -> str:
    """The cure for a file of a stage or a probe that is damaged: it is set aside and made again.

    A file that lies below no folder of runs, as in a copied store, tells no command.
    """
    inner = [place for place in [path, *path.parents] if place.name in INNER]
    command = making((inner or [path])[0].parent)
    if command and inner and inner[0].name == FEATURES:
        command[1] = "extract"
    return f"run {pasted(command)}" if command else "run the stage again"
