from pathlib import Path

import pytest
from helpers.manifests import several, write_probe, write_stage

from gimstage.report import collect
from gimstage.report.modules import module_table
from gimstage.report.probed import input_order, input_words, position, protocol_order


def test_inputs_are_sorted_by_number() -> None:
    mixed = ["1.10", "2", "1.9", "other/1.10", "1.1", "other/1.9", "10"]
    assert sorted(mixed, key=input_order) == [
        "other/1.9",
        "other/1.10",
        "1.1",
        "1.9",
        "1.10",
        "2",
        "10",
    ]


def test_protocols_are_sorted_as_they_are_explained_and_others_by_name() -> None:
    mixed = ["zebra", "own", "authors", "hidden", "converged", "paper"]
    wanted = ["paper", "converged", "hidden", "own", "authors", "zebra"]
    assert sorted(mixed, key=protocol_order) == wanted


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ("3", "stage 3"),
        ("1.3", "module 1.3"),
        ("other/1.3", "other/1.3"),
        ("pixels", "pixels"),
    ],
)
def test_an_input_has_its_words(stage: str, words: str) -> None:
    assert input_words(stage) == words


@pytest.mark.parametrize(
    ("stage", "at"),
    [("1.1", 1), ("1.3", 3), ("1", 3), ("2", 5), ("2.1", 4), ("7", 7), ("other/2", 2), ("all", 3)],
)
def test_an_input_has_its_place_in_the_network(tmp_path: Path, stage: str, at: int) -> None:
    first = several("isolated", "resnet", "resnet", "resnet")
    write_stage(tmp_path, "small/1", own=first)
    write_stage(tmp_path, "small/2", own=several("isolated", "resnet", "gru"), below=(first,))
    assert position(stage, collect(tmp_path).groups[0].runs[0].stages) == at


def test_all_modules_stand_in_order_and_baselines_last(tmp_path: Path) -> None:
    inputs = {"pixels": 0.2, "1.10": 0.5, "1.9": 0.4, "other/3": 0.3}
    write_probe(tmp_path, "small_cpc/probe", inputs, protocols=("paper",))
    report = collect(tmp_path)
    rows = module_table(report, report.groups[0]).rows
    assert [row.stage for row in rows] == ["other/3", "1.9", "1.10", "pixels"]
