import re

import pytest

from gimstage.recipe.names import ModuleKey, RunName, StageRef

SMALL, THIRD = RunName("small"), RunName("small", 3)


@pytest.mark.parametrize(("text", "name"), [("small", SMALL), ("small@3", THIRD)])
def test_a_run_is_a_recipe_with_or_without_a_seed(text: str, name: RunName) -> None:
    assert RunName.parse(text) == name
    assert str(name) == text


@pytest.mark.parametrize(("text", "seed"), [("small@old", "old"), ("small@", ""), ("a@1@2", "1@2")])
def test_what_stands_behind_the_at_must_be_a_seed(text: str, seed: str) -> None:
    with pytest.raises(ValueError, match=f"^'{seed}' is no seed$"):
        RunName.parse(text)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("small/2", ModuleKey(SMALL, 2)),
        ("small@3/2", ModuleKey(THIRD, 2)),
        ("small@3/2.1", ModuleKey(THIRD, 2, 1)),
        ("no.dots-here_/10.12", ModuleKey(RunName("no.dots-here_"), 10, 12)),
    ],
)
def test_a_key_is_a_run_a_stage_and_perhaps_a_module(text: str, key: ModuleKey) -> None:
    assert ModuleKey.parse(text) == key
    assert str(key) == text


def test_a_key_without_a_run_is_of_the_run_that_speaks() -> None:
    assert ModuleKey.parse("2.1", within=THIRD) == ModuleKey(THIRD, 2, 1)
    assert ModuleKey.parse("other/2", within=THIRD) == ModuleKey(RunName("other"), 2)


@pytest.mark.parametrize("text", ["2", "small", "small/", "small/two", "small/2.1.3", "/2"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(repr(text))} names no stage$"):
        ModuleKey.parse(text)


def test_a_run_calls_its_own_stages_by_their_numbers_alone() -> None:
    key = ModuleKey(THIRD, 2, 1)
    assert key.seen_from(THIRD) == "2.1"
    assert key.seen_from(SMALL) == "small@3/2.1"


def test_a_key_leads_to_its_stage_and_to_the_recipe_with_its_own_seeds() -> None:
    key = ModuleKey(THIRD, 2, 1)
    assert str(key.whole_stage) == "small@3/2"
    assert str(key.seedless()) == "small/2.1"


@pytest.mark.parametrize(
    ("ref", "wanted"),
    [
        (2, StageRef("", 2)),
        ("2", StageRef("", 2)),
        ("small/2", StageRef("small", 2)),
        ("data", StageRef("", None)),
        ("small/data", StageRef("small", None)),
    ],
)
def test_an_input_is_a_stage_or_the_data_of_a_recipe(ref: int | str, wanted: StageRef) -> None:
    assert StageRef.parse(ref) == wanted
