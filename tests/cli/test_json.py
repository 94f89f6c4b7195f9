"""Every command: one JSON document on stdout where asked for, errors and exit codes alike."""

import json
from pathlib import Path
from typing import Any

import pytest
from click import Command, Group
from helpers.commands import document, gimstage, options

from gimstage.cli import main


def commands(group: Group, *words: str) -> dict[tuple[str, ...], Command]:
    """Every command of a group by its words, those of groups within it included."""
    found: dict[tuple[str, ...], Command] = {}
    for name, command in group.commands.items():
        inner = isinstance(command, Group)
        found |= commands(command, *words, name) if inner else {(*words, name): command}
    return found


EVERY = commands(main)
ON_A_RECIPE = [
    ["plan"],
    ["train-stage", "1"],
    ["extract", "1"],
    ["probe"],
    ["run"],
    ["status"],
    ["inspect", "1"],
    ["verify"],
]


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_every_command_can_answer_in_json_and_explains_itself(words: tuple[str, ...]) -> None:
    assert any("--json" in parameter.opts for parameter in EVERY[words].params)
    result = gimstage(*words, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")
    assert EVERY[words].help


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_an_unknown_option_is_wrong_usage(words: tuple[str, ...]) -> None:
    result = gimstage(*words, "--colour")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "No such option" in result.stderr


@pytest.mark.parametrize("words", ON_A_RECIPE, ids=" ".join)
def test_a_recipe_that_is_not_there_is_the_same_error_everywhere(
    tmp_path: Path, words: list[str]
) -> None:
    at = ["--recipe", tmp_path / "tinny", "--runs", tmp_path / "runs"]
    spoken, written = gimstage(*words, *at), gimstage(*words, *at, "--json")
    assert (spoken.exit_code, written.exit_code) == (1, 1)
    assert (spoken.stdout, written.stderr) == ("", "")
    error = json.loads(written.stdout)["error"]
    assert error["type"] == "RecipeError"
    assert spoken.stderr == f"error {error['message']}\n"
    assert error["message"].startswith(f"recipe {tmp_path / 'tinny'}: no such folder; ")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("words", ON_A_RECIPE, ids=" ".join)
def test_data_that_is_not_asked_for_is_missed_by_every_command(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GIMSTAGE_DATA", raising=False)
    at = ["--recipe", "stages/stl10", "--runs", tmp_path / "runs", "--data", tmp_path / "nowhere"]
    result = gimstage(*words, *at, "--json")
    assert result.exit_code == 1
    error = json.loads(result.stdout)["error"]
    assert error["type"] == "DataError"
    assert str(tmp_path / "nowhere") in error["message"]


@pytest.mark.parametrize("words", [["status"], ["verify"], ["plan"]], ids=" ".join)
def test_looking_writes_nothing(finished_images: Path, words: list[str]) -> None:
    runs = finished_images / "runs/tiny"
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    assert gimstage(*words, *options(finished_images)).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*")} == before


@pytest.mark.parametrize("words", [["status"], ["verify"], ["inspect", "2"]])
def test_what_is_asked_twice_is_answered_alike(finished_images: Path, words: list[str]) -> None:
    first: dict[str, Any] = document(*words, *options(finished_images))
    assert document(*words, *options(finished_images)) == first


def test_a_stage_that_is_not_done_cannot_be_inspected(fresh: Path) -> None:
    where = f"--recipe {fresh / 'tiny'} --runs {fresh / 'runs'}"
    result = gimstage("inspect", 2, *options(fresh), "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"] == {
        "type": "StaleCacheError",
        "message": "stage tiny/2: missing; expected done; run `"
        f"gimstage train-stage 1 {where} && gimstage train-stage 2 {where}` first",
    }


def test_extracting_what_was_never_trained_is_refused(fresh: Path) -> None:
    result = gimstage("extract", 1, *options(fresh))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error stage tiny/1: ")


def test_where_nothing_is_finished_nothing_is_verified(fresh: Path) -> None:
    result = gimstage("verify", *options(fresh), "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"] == {
        "type": "StaleCacheError",
        "message": f"{fresh}/runs/tiny: nothing to verify; expected a finished stage; "
        f"finish one with `gimstage run --recipe {fresh / 'tiny'} --runs {fresh / 'runs'}`, "
        "or name the folder of its runs with --runs",
    }


def test_the_status_of_what_never_ran_is_missing_all_over(fresh: Path) -> None:
    found = document("status", *options(fresh))
    assert [stage["state"] for stage in found["stages"]] == ["missing"] * 3
    assert [probe["state"] for probe in found["probes"]] == ["missing"]


@pytest.mark.parametrize(
    ("option", "value"),
    [("--workers", "0"), ("--workers", "two"), ("--seed", "1.5")],
)
def test_a_number_that_cannot_be_is_wrong_usage(
    finished_images: Path, option: str, value: str
) -> None:
    result = gimstage("train-stage", 1, *options(finished_images), option, value)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"Invalid value for '{option}'" in result.stderr


@pytest.mark.parametrize("number", ["4", "-1"])
def test_a_stage_that_the_recipe_lacks_is_refused_with_those_it_has(
    finished_images: Path, number: str
) -> None:
    result = gimstage("inspect", *options(finished_images), "--", number)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"error recipe tiny: stage {number} does not exist; expected a stage of tiny: 1, 2, 3\n"
    )
