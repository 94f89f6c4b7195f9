"""Homes in which small recipes have run undisturbed: what every campaign compares with.

A home holds recipes, data and runs. The recipes are those of the tests, cut down to two stages and
a few steps, so that a run takes less than a second.
"""

import shutil
import tomllib
from pathlib import Path
from typing import Any

from helpers.homes import RECIPES
from helpers.recipes import stages_of, toml

from trust.warm import Outcome, command

IMAGES, SPEECH = "pics", "talk"  # the recipes' names
STEPS = 4
_OF = {IMAGES: "tiny", SPEECH: "tiny_audio"}
_DEMO = {
    IMAGES: {"seed": 1, "unlabeled": 12, "train": 20, "test": 10},
    SPEECH: {"seed": 1, "speakers": 2, "train": 3, "test": 2},
}


def write_recipe(home: Path, name: str) -> None:
    """Write a small recipe into a home."""
    folder, source = home / name, RECIPES / _OF[name]
    folder.mkdir(parents=True)
    for number, stage in enumerate(stages_of(source.name)[:2], start=1):
        stage["train"] |= {"steps": STEPS, "batch_size": 4}
        (folder / f"{number}_stage.toml").write_text(toml(stage))
    data = tomllib.loads((source / "data.toml").read_text())
    (folder / "data.toml").write_text(toml(data | {"demo": _DEMO[name]}))
    for path in source.glob("probe*.toml"):
        probe = tomllib.loads(path.read_text())
        (folder / path.name).write_text(toml(probe | {"inputs": [1, 2]}))


def on(recipe: str, *, data: str | None = None) -> list[str]:
    """The options that name a recipe of the home, its runs, and a data set of the home."""
    return ["--recipe", recipe, "--runs", "runs", *(["--data", data] if data else [])]


def finished(home: Path, name: str) -> Path:
    """A home in which a recipe has run to its end, undisturbed."""
    write_recipe(home, name)
    must(command("run", *on(name), folder=home))
    return home


def must(outcome: Outcome) -> Outcome:
    """The outcome of a command that has no reason to fail."""
    assert outcome.code == 0, outcome.text
    return outcome


def copied(home: Path, place: Path) -> Path:
    """A copy of a home, times of change kept."""
    return Path(shutil.copytree(home, place, symlinks=True))


def demo_data(name: str) -> dict[str, Any]:
    """The [demo] table of a recipe."""
    return dict(_DEMO[name])
