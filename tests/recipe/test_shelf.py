"""The shelf: what a command reads of recipes, it reads once."""

import shutil
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from helpers.homes import RECIPES, STAGES

from gimstage.recipe.recipe import Recipe, Shelf


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each text was parsed as TOML."""
    counts: Counter[str] = Counter()
    parse = tomllib.loads

    def counting(text: str) -> dict[str, Any]:
        counts[text] += 1
        return parse(text)

    monkeypatch.setattr(tomllib, "loads", counting)
    return counts


def test_a_recipe_on_another_reads_every_file_of_both_once(parsed: Counter[str]) -> None:
    recipe = Recipe.load(STAGES / "librispeech_small_no_bptt")
    for number in recipe.stages:
        recipe.chain(number)
    files = [p for name in ("", "_no_bptt") for p in STAGES.glob(f"librispeech_small{name}/*.toml")]
    assert sum(parsed.values()) == len(files) == 12


def test_another_seed_reads_no_file_again(parsed: Counter[str]) -> None:
    recipe = Recipe.load(STAGES / "librispeech_small_no_bptt")
    before = parsed.total()
    seeded = recipe.seeded(7)
    assert seeded == Recipe.load(STAGES / "librispeech_small_no_bptt", 7)
    assert parsed.total() == 2 * before  # the other load's own


def test_one_shelf_serves_several_recipes(parsed: Counter[str]) -> None:
    shelf = Shelf()
    for name in ("librispeech_small", "librispeech_small_no_bptt"):
        Recipe.load(STAGES / name, shelf=shelf)
    assert set(parsed.values()) == {1}


def test_a_seed_leaves_the_recipe_beside_it_on_the_shelf_as_it_is() -> None:
    recipe = Recipe.load(RECIPES / "tiny")
    seeds = {number: stage.spec.train.seed for number, stage in recipe.stages.items()}
    recipe.seeded(7)
    again = Recipe.load(RECIPES / "tiny", shelf=recipe.shelf)
    assert {number: stage.spec.train.seed for number, stage in again.stages.items()} == seeds


def test_loading_again_sees_what_was_edited_since(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(RECIPES / "tiny", tmp_path / "tiny"))
    before = Recipe.load(folder)
    path = next(folder.glob("1_*.toml"))
    path.write_text(path.read_text().replace('"bottleneck"', '"basic"'))
    assert before.chain(1).shapes() != Recipe.load(folder).chain(1).shapes()
