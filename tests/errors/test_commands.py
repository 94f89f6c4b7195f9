"""Commands to be pasted: whose options they carry, and what they say of a folder."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gimstage.errors.commands import (
    Asked,
    asking,
    inherited,
    making,
    making_anew,
    on_recipe,
    pasted,
)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GIMSTAGE_RECIPE", raising=False)
    monkeypatch.delenv("GIMSTAGE_DATA", raising=False)


def shown(asked: Asked, verb: str = "plan", *, run: str = "") -> str:
    with asking(asked):
        return pasted(on_recipe(verb, run=run))


def test_what_is_as_by_default_is_left_out() -> None:
    assert shown(Asked(Path("stages/demo"), Path("runs"))) == "`gimstage plan`"


def test_a_command_carries_what_was_asked_with_quoted_for_a_shell() -> None:
    asked = Asked(Path("my recipes/one"), Path("the runs"), Path("it's"), 9)
    assert shown(asked) == (
        "`gimstage plan --recipe 'my recipes/one' --runs 'the runs' --data 'it'\"'\"'s' --seed 9`"
    )


def test_what_the_environment_gives_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIMSTAGE_RECIPE", "mine")
    monkeypatch.setenv("GIMSTAGE_DATA", "data/stl10")
    assert shown(Asked(Path("mine"), data=Path("data/stl10"))) == "`gimstage plan`"
    assert shown(Asked(Path("stages/demo"), data=Path("other"))) == (
        "`gimstage plan --recipe stages/demo --data other`"
    )


@pytest.mark.parametrize(
    ("recipe", "base"), [("a/top", "a/base"), (".", "../base"), ("top", "base"), ("/x", "/base")]
)
def test_a_recipe_beside_the_one_asked_for_is_named_by_its_folder(recipe: str, base: str) -> None:
    assert shown(Asked(Path(recipe)), run="base@7") == f"`gimstage plan --recipe {base} --seed 7`"


def test_the_seed_is_that_of_the_run_that_is_meant() -> None:
    asked = Asked(Path("a/top"), seed=7)
    assert shown(asked, run="top") == "`gimstage plan --recipe a/top`"
    assert shown(asked, run="top@7") == "`gimstage plan --recipe a/top --seed 7`"


def test_threads_carry_what_was_asked_with() -> None:
    with asking(Asked(Path("mine"))), ThreadPoolExecutor(1, **inherited()) as pool:
        assert pool.submit(on_recipe, "run").result() == ["gimstage", "run", "--recipe", "mine"]


@pytest.mark.parametrize(
    ("folder", "command"),
    [
        ("runs/small@3/2", "gimstage train-stage 2 --recipe stages/small --seed 3"),
        ("/x/demo/1", "gimstage train-stage 1 --runs /x"),
        (
            "elsewhere/small/probe_b",
            "gimstage probe probe_b --recipe stages/small --runs elsewhere",
        ),
    ],
)
def test_a_folder_of_a_stage_or_probe_says_what_makes_it(folder: str, command: str) -> None:
    words = making(Path(folder))
    assert words is not None
    assert pasted(words) == f"`{command}`"


def test_a_folder_of_anything_else_says_nothing() -> None:
    assert making(Path("runs/small/data")) is None


def test_a_damaged_file_is_made_again_by_what_wrote_it() -> None:
    features = Path("runs/demo/2/features.zarr")
    assert making_anew(features) == "run `gimstage extract 2`"
    assert making_anew(features / "features/c.0") == "run `gimstage extract 2`"
    for name in ("checkpoint/state.safetensors", "weights.safetensors", "manifest.json"):
        assert making_anew(Path("runs/demo/2") / name) == "run `gimstage train-stage 2`"
    assert making_anew(Path("runs/demo/probe/manifest.json")) == "run `gimstage probe probe`"


def test_a_store_that_lies_in_no_run_tells_no_command(tmp_path: Path) -> None:
    assert making_anew(tmp_path / "copied/zarr.json") == "run the stage again"
