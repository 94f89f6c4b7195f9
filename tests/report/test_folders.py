"""Metrics of any content: read as far as they can be, and never a failure."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from helpers.manifests import rewrite, several, write_stage
from hypothesis import given
from hypothesis import strategies as st

from gimstage.report.collect import collect
from gimstage.report.folders import Notes, read_metrics
from gimstage.report.losses import curve
from gimstage.runs.folder import RunFolder, kept_files

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
anything = st.recursive(plain, lambda inner: st.lists(inner, max_size=3), max_leaves=5)
keys = st.sampled_from(["step", "loss", "modules", "validation_loss"])
lines = st.dictionaries(keys, anything | st.integers(1, 9), max_size=4) | anything


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("metrics") / "metrics.jsonl"


def read(file: Path, *written: str) -> tuple[list[Any], Notes]:
    file.write_text("".join(line + "\n" for line in written))
    notes: Notes = []
    return list(read_metrics(file, notes)), notes


@given(st.lists(lines, max_size=8))
def test_what_is_read_has_rising_steps_and_finite_losses(file: Path, written: list[Any]) -> None:
    found, notes = read(file, *map(json.dumps, written))
    steps = [line["step"] for line in found]
    assert steps == sorted(set(steps))
    assert all(math.isfinite(line["loss"]) for line in found)
    assert bool(notes) is (len(found) < len(written))


@pytest.mark.parametrize(
    "line",
    [
        '{"step": 2, "loss": 1e999}',
        '{"step": 2, "loss": NaN}',
        '{"step": 2, "loss": 1, "validation_loss": 1e999}',
        '{"step": 2, "loss": "low"}',
        '{"step": 2, "loss": ' + "9" * 400 + "}",
        '{"step": 2, "loss": ' + "9" * 5000 + "}",
        '{"step": 2.5, "loss": 1}',
        '{"step": 1, "loss": 1}',
        '{"loss": 1}',
        "[1, 2]",
        "[" * 100_000,
        "2",
        '{"step": 2, "lo',
        "",
    ],
    ids=range(14),
)
def test_a_line_that_says_no_loss_is_left_out_and_counted(file: Path, line: str) -> None:
    found, notes = read(file, '{"step": 1, "loss": 1}', line, '{"step": 3, "loss": 1}')
    assert [each["step"] for each in found] == [1, 3]
    assert notes == [f"{file}: 1 of 3 lines not readable, first line 2; left out"]


def test_whole_metrics_leave_no_note(file: Path) -> None:
    assert read(file, '{"step": 1, "loss": 1}')[1] == []


def test_a_folder_in_place_of_metrics_leaves_no_curve(tmp_path: Path) -> None:
    notes: Notes = []
    assert read_metrics(tmp_path, notes) == ()
    assert notes == [f"{tmp_path}: cannot be read (a folder); its stage has no curve"]


@pytest.mark.parametrize("value", ["null", '"low"', "9" * 400, "[1]", "true"])
def test_a_validation_loss_that_is_no_number_has_no_point(tmp_path: Path, value: str) -> None:
    path = write_stage(tmp_path, "small/1", own=several("isolated", "resnet", "resnet"))
    modules = f'[{{"loss": 1.0, "validation_loss": {value}}}, {{"loss": 1.0}}]'
    (path / "metrics.jsonl").write_text(f'{{"step": 1, "loss": 2.0, "modules": {modules}}}\n')
    (group,) = collect(tmp_path).groups
    assert curve(group, 1, "validation_loss") is None
    assert curve(group, 1, "loss") is not None


@pytest.mark.parametrize("name", ["metrics.jsonl", "memory.json"])
def test_a_file_of_other_bytes_than_its_manifest_names_has_a_note(
    tmp_path: Path, name: str
) -> None:
    folder = write_stage(tmp_path, "small/1")
    (folder / "memory.json").write_text('{"x": 2.5}')
    files = [file.model_dump() for file in kept_files(RunFolder(folder))]
    rewrite(folder / "manifest.json", format=2, files=files)
    assert collect(tmp_path).notes == ()
    text = (folder / name).read_text()
    (folder / name).write_text(text.replace("2.", "3.", 1))
    assert collect(tmp_path).notes == (
        f"{folder / name}: other bytes than its manifest names; run `"
        f"gimstage train-stage 1 --recipe stages/small --runs {tmp_path}`",
    )


def test_a_lost_record_of_memory_has_a_note(tmp_path: Path) -> None:
    folder = write_stage(tmp_path, "small/1")
    lost = {"path": "memory.json", "bytes": 2, "sha256": "0" * 64}
    rewrite(folder / "manifest.json", format=2, files=[lost])
    assert collect(tmp_path).notes == (
        f"{folder}/memory.json: missing; expected the file its manifest names; "
        f"run `gimstage train-stage 1 --recipe stages/small --runs {tmp_path}`",
    )
