import math
from pathlib import Path
from typing import Any

import pytest
from helpers.manifests import INFONCE, curve, curves, several, write_images, write_stage

from gimstage.report import collect
from gimstage.report.modules import StageRow, module_table
from gimstage.report.stageruns import StageRun

RESNET = {"kind": "resnet"}
SUPERVISED = {"kind": "supervised", "num_classes": 10}


def stage(runs: Path, own: dict[str, Any], **about: Any) -> StageRun:
    """The stage of a TOML, read back."""
    key = f"small/{about.pop('number', 1)}"
    write_stage(runs, key, own=own, **about)
    return next(iter(collect(runs).groups[0].runs[0].stages.values()))


def rows(runs: Path) -> tuple[StageRow, ...]:
    report = collect(runs)
    return module_table(report, report.groups[0]).stages


@pytest.mark.parametrize(
    ("own", "kind"),
    [
        ({"module": RESNET}, "resnet"),
        (several("isolated", "resnet", "resnet", "resnet"), "3 × resnet, isolated"),
        (several("end_to_end", *["conv1d"] * 5, "gru"), "5 × conv1d, gru, end to end"),
        (several("end_to_end", "resnet", "resnet"), "2 × resnet, end to end"),
        (
            several("isolated", "resnet", RESNET | {"update_every": 2}, "resnet"),
            "resnet, resnet (every 2 steps), resnet, isolated",
        ),
        (several("at once", "resnet", "gru"), "–"),
        ({"modules": "three"}, "–"),
        ({"modules": [7], "mode": "isolated"}, "–"),
        ({"module": "resnet"}, "–"),
        ({}, "–"),
    ],
)
def test_the_kind_names_all_modules_of_a_stage(
    tmp_path: Path, own: dict[str, Any], kind: str
) -> None:
    assert stage(tmp_path, own).kind == kind


@pytest.mark.parametrize(
    ("objective", "loss"),
    [
        (INFONCE, math.log(17)),
        (SUPERVISED, math.log(10)),
        ({"kind": "deep_infomax", "num_negatives": 16}, None),
        ({"kind": "predsim", "num_classes": 10}, None),
        ({"kind": ["infonce"]}, None),
        ({"kind": "supervised", "num_classes": 0}, None),
        ("infonce", None),
        (None, None),
    ],
)
def test_guessing_costs_what_the_objective_chooses_among(
    tmp_path: Path, objective: Any, loss: float | None
) -> None:
    found = stage(tmp_path, {"module": RESNET, "objective": objective})
    assert found.chance_loss == (loss and pytest.approx(loss))


def test_an_end_to_end_stage_has_its_one_loss_at_its_end(tmp_path: Path) -> None:
    found = stage(tmp_path, several("end_to_end", "resnet", "resnet", objective=SUPERVISED))
    assert found.chances == {2: pytest.approx(math.log(10))}


def test_modules_with_one_loss_of_guessing_share_it(tmp_path: Path) -> None:
    own = RESNET | {"objective": INFONCE}
    found = stage(tmp_path, several("isolated", own, "resnet"))
    assert found.chance_loss == pytest.approx(math.log(17))


def test_modules_with_different_losses_of_guessing_share_none(tmp_path: Path) -> None:
    own = RESNET | {"objective": SUPERVISED}
    found = stage(tmp_path, several("isolated", own, "resnet"))
    assert found.chance_loss is None
    assert found.chances == pytest.approx({1: math.log(10), 2: math.log(17)})


def test_modules_may_bring_all_objectives_themselves(tmp_path: Path) -> None:
    modules = [RESNET | {"objective": {"kind": "predsim"}}] * 2
    assert stage(tmp_path, several("isolated", *modules, objective=None)).chances == {
        1: None,
        2: None,
    }


def test_modules_are_counted_from_the_data_whatever_stages_they_are_in(tmp_path: Path) -> None:
    below = (several("isolated", "resnet", "resnet"), {"module": RESNET})
    own = several("end_to_end", "resnet", "resnet")
    assert [*stage(tmp_path, own, below=below).positions] == [4, 5]


@pytest.mark.parametrize("lines", [curve(3), curves(3, 2.0)])
def test_a_module_without_a_line_of_its_own_has_no_points(
    tmp_path: Path, lines: list[dict[str, Any]]
) -> None:
    found = stage(tmp_path, several("isolated", "resnet", "resnet"), lines=lines)
    assert [*found.points(2, "loss")] == []


def test_only_the_last_module_of_an_end_to_end_stage_has_points(tmp_path: Path) -> None:
    found = stage(tmp_path, several("end_to_end", "resnet", "resnet"), lines=curve(2))
    assert [len([*found.points(at, "loss")]) for at in (1, 2, 3)] == [0, 2, 0]


def test_an_isolated_stage_has_a_row_for_each_of_its_losses(tmp_path: Path) -> None:
    seldom = RESNET | {"update_every": 2}
    own = several("isolated", "resnet", seldom)
    write_stage(tmp_path, "small/1", own=own, lines=curves(4, 2.8, 2.6))
    write_stage(tmp_path, "small@3/1", own=own, lines=curves(4, 3.0, 2.6), seed=3)
    found = rows(tmp_path)
    assert [(row.stage, row.kind, row.steps) for row in found] == [
        ("1", "resnet, resnet (every 2 steps), isolated", 20),
        ("1.1", "resnet", None),
        ("1.2", "resnet (every 2 steps)", None),
    ]
    assert found[0].last_loss is None
    assert [row.last_loss and row.last_loss.mean for row in found[1:]] == pytest.approx([2.6, 2.3])
    assert [row.chance_loss for row in found[1:]] == pytest.approx([math.log(17)] * 2)


def test_a_stage_with_one_loss_has_one_row(tmp_path: Path) -> None:
    write_stage(tmp_path, "small/1", own=several("end_to_end", "resnet", "resnet"), lines=curve(4))
    assert [row.last_loss and row.last_loss.mean for row in rows(tmp_path)] == [pytest.approx(2.5)]


def test_samples_are_those_the_manifest_counts(tmp_path: Path) -> None:
    training = {"steps": 20, "seconds": 2.5, "samples": 43}
    assert stage(tmp_path, {"module": RESNET}, training=training).samples == 43


def test_samples_of_an_older_manifest_are_those_stored(tmp_path: Path) -> None:
    assert stage(tmp_path, {"module": RESNET}).samples == 48


def test_modules_that_differ_are_named_where_runs_are_kept_apart(tmp_path: Path) -> None:
    own = several("isolated", "resnet", RESNET | {"width": 64})
    write_stage(tmp_path, "small/1", own=own)
    own = several("isolated", "resnet", RESNET | {"width": 128})
    write_stage(tmp_path, "small@3/1", own=own, seed=3)
    assert collect(tmp_path).notes == (
        "small@3 is not averaged with small: stage 1.modules.2.width: 64 → 128",
    )


def test_older_stages_below_are_modules_too(tmp_path: Path) -> None:
    write_images(tmp_path, "small", 0.5)
    found = collect(tmp_path).groups[0].runs[0].stages
    assert [[*stage.positions] for stage in found.values()] == [[1], [2], [3]]
