"""Refactoring moves no fingerprint: every stage of every recipe is what it was.

A change that makes the same recipe give other numbers raises its part's algorithm version, and
changes the stored list with it:

    .venv/bin/python tests/recipe/test_fingerprints.py
"""

import json
from pathlib import Path

from gimstage.recipe.identity import fingerprint
from gimstage.recipe.recipe import Recipe

ROOT = Path(__file__).parents[2]
STORED = Path(__file__).with_name("fingerprints.json")
NO_DATA = "0" * 64


def fingerprints() -> dict[str, dict[str, str]]:
    """Of weights and features of every stage, as if all data had the same bytes."""
    found = {}
    for folder in sorted([*(ROOT / "stages").iterdir(), *(ROOT / "tests/recipes").iterdir()]):
        recipe = Recipe.load(folder)
        for number in recipe.stages:
            chain = recipe.chain(number)
            found[f"{folder.relative_to(ROOT).as_posix()} {number}"] = {
                "weights": fingerprint(chain.weights_identity(NO_DATA)),
                "features": fingerprint(chain.features_identity(NO_DATA)),
            }
    return found


def test_every_stage_of_every_recipe_has_the_fingerprints_it_had() -> None:
    assert fingerprints() == json.loads(STORED.read_text())


if __name__ == "__main__":
    STORED.write_text(json.dumps(fingerprints(), indent=1) + "\n")
