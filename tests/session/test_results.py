"""What a session answers, made of records written by hand: its tables, lines and JSON."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gimstage.errors import BudgetError
from gimstage.plan.cost import Recompute, StagePlan
from gimstage.plan.memory import Budget
from gimstage.runs.manifest import FeaturesRecord, MemoryRecord, TrainingRecord
from gimstage.runs.state import Status
from gimstage.session.results import (
    Plan,
    ProbeRows,
    ReportPage,
    States,
    TrainedStage,
    disk_table,
    memory_table,
)

DONE = Status("1", "done", (), "a" * 64)
STALE = Status("2", "stale", ("one: 1 → 2", "two: 3 → 4"), "b" * 64)
PROBE = Status("probe", "missing", ("not run",), "c" * 64)
MEMORY = {
    "predicted_allocated_bytes": 900,
    "predicted_reserved_bytes": 1_000,
    "measured_allocated_bytes": None,
    "measured_reserved_bytes": None,
}
PLAN = StagePlan(
    name="1",
    parameters=12_345,
    steps=6_789,
    flops_per_step=4_200_000_000,
    feature_shape=(48, 1, 8),
    encoding="float16",
    cache_bytes=2_000,
    exact=True,
    cached_bytes=0,
    read_bytes_per_step=500,
    recompute=None,
    micro_batch=8,
    checkpointing=False,
    relative_time=1.0,
    predicted_allocated_bytes=900,
    predicted_reserved_bytes=1_000,
    predicted_by_kind={},
    hours=None,
)
AGAIN = Recompute(10, 20, 0.123456, None, None)
BUDGET = Budget(10**9, context_bytes=5 * 10**8, workspace_bytes=10**8, margin_share=0.25)
REFUSED = BudgetError("stage x/1", "too much", smallest_bytes=77)


def trained(**changes: Any) -> TrainedStage:
    training = TrainingRecord(
        samples=48, steps=12, seconds=1.0, first={"loss": 2.83333}, last={"loss": 2.5}
    )
    stage = TrainedStage("tiny", DONE, fresh=True, training=training, features=None)
    return replace(stage, **changes)


def stored(nbytes: int) -> FeaturesRecord:
    lossless = {"snr_db": None, "worst_channel_snr_db": None, "max_error": 0.0, "clipped": 0.0}
    return FeaturesRecord.model_validate(
        {
            "arrays": ["features"],
            "shape": [1],
            "encoding": "float16",
            "bytes": nbytes,
            "seconds": 1.0,
            "fidelity": lossless,
            "shards": [],
        }
    )


def states(*, why: bool = False, **memory: Any) -> States:
    known = {"1": None, "2": None} | {name[1:]: value for name, value in memory.items()}
    return States("tiny", [DONE, STALE], [PROBE], memory=known, why=why)


def cells(answer: Any, column: str) -> list[str]:
    """The cells of a column of an answer's first table."""
    table = answer.shown[0]
    at = table.columns.index(column)
    return [row[at] for row in table.rows]


def plan(*stages: StagePlan, **changes: Any) -> Plan:
    settings: dict[str, Any] = {"free_bytes": 10**6, "budget": None, "refusal": None}
    return Plan("tiny", stages, **settings | changes)


def test_a_stage_finished_just_now_tells_its_losses() -> None:
    assert str(trained()) == (
        "stage tiny/1 done: loss 2.833 → 2.500 in 12 steps, no features stored"
    )


def test_a_stage_finished_before_says_so_and_what_it_stores() -> None:
    assert str(trained(fresh=False, features=stored(1_500_000))) == (
        "stage tiny/1 already done: loss 2.833 → 2.500 in 12 steps, 1.5 MB of features"
    )


@pytest.mark.parametrize("lost", ["first", "last"])
def test_a_stage_whose_losses_were_lost_says_so(lost: str) -> None:
    record = trained().training.model_copy(update={lost: None})
    assert str(trained(training=record)) == (
        "stage tiny/1 done: no record of its losses, no features stored"
    )


def test_a_trained_stage_is_plain_json() -> None:
    document = json.loads(json.dumps(trained().as_json()))
    assert set(document) == {"recipe", "stage", "training"}
    assert document["stage"] == {
        "name": "1",
        "state": "done",
        "why": [],
        "fingerprint": "a" * 64,
    }


def test_the_first_reason_is_shown_and_how_many_more_there_are() -> None:
    assert cells(states(), "why") == ["", "one: 1 → 2  (+1 more, see --why)", "not run"]


def test_every_reason_is_shown_where_asked_for() -> None:
    assert cells(states(why=True), "why") == ["", "one: 1 → 2\ntwo: 3 → 4", "not run"]


def test_stages_come_before_probes_and_fingerprints_are_short() -> None:
    assert cells(states(), "stage") == ["1", "2", "probe"]
    assert cells(states(), "fingerprint") == ["a" * 12, "b" * 12, "c" * 12]
    assert [status.name for status in states()] == ["1", "2", "probe"]


def test_memory_is_told_as_predicted_until_it_was_measured() -> None:
    predicted = MemoryRecord.model_validate(MEMORY)
    measured = predicted.model_copy(update={"measured_reserved_bytes": 2_000})
    shown = cells(states(_1=predicted, _2=measured), "GPU memory")
    assert shown == ["1.0 kB predicted", "2.0 kB measured, 1.0 kB predicted", ""]


def test_states_are_plain_json_with_the_memory_of_stages_alone() -> None:
    document = json.loads(json.dumps(states(_1=MemoryRecord.model_validate(MEMORY)).as_json()))
    assert set(document) == {"recipe", "stages", "probes"}
    assert document["stages"][0]["memory"]["predicted_reserved_bytes"] == 1_000
    assert document["stages"][1]["memory"] is None
    assert document["stages"][1]["why"] == ["one: 1 → 2", "two: 3 → 4"]
    assert "memory" not in document["probes"][0]


def test_accuracies_are_per_cent_and_what_is_unknown_is_a_dash() -> None:
    row = {"stage": "1", "task": "class", "protocol": "paper", "chance": 0.1}
    rows = ProbeRows("tiny", [row | {"accuracy": 0.98765, "random_init": None}])
    assert rows.shown[0].rows == [("1", "class", "paper", "98.8 %", "–", "10.0 %")]  # type: ignore[union-attr]
    assert rows.as_json() == {"recipe": "tiny", "rows": list(rows)}


def test_a_recipe_without_probes_says_so() -> None:
    assert repr(ProbeRows("tiny", [])) == "tiny has no probes"


@pytest.mark.parametrize(
    ("changes", "cell"),
    [
        ({}, "2.0 kB"),
        ({"exact": False}, "≤ 2.0 kB"),
        ({"cache_bytes": 0}, "not stored"),
    ],
)
def test_disk_is_told_to_the_byte_as_a_bound_or_not_at_all(
    changes: dict[str, Any], cell: str
) -> None:
    table = disk_table("tiny", [replace(PLAN, **changes)], 10**6)
    assert table.rows == [("1", "12,345", "6,789", "4.2", cell, "48 × 1 × 8", "float16")]


def test_the_disk_of_all_stages_stands_below() -> None:
    table = disk_table("tiny", [PLAN, PLAN], 5 * 10**9)
    assert table.note == "4.0 kB (4,000 bytes) of features, 5.0 GB free"


@pytest.mark.parametrize(
    ("recompute", "cell"),
    [
        (None, "–"),
        (AGAIN, "0.123 GB/s *"),
        (replace(AGAIN, faster="cache", crossing_bytes_per_s=2e6), "2.0 MB/s: cache"),
    ],
)
def test_where_a_cache_pays_is_told_for_this_device_once_it_was_measured(
    recompute: Recompute | None, cell: str
) -> None:
    table = memory_table("tiny", [replace(PLAN, recompute=recompute)], None, sized=True)
    assert table.rows[0][-1] == cell
    assert ("--calibrate measures this one" in table.note) is cell.endswith("*")


def test_what_a_budget_leaves_stands_first_below_the_memory() -> None:
    table = memory_table("tiny", [PLAN], BUDGET, sized=False)
    assert table.note.splitlines() == [
        "1.0 GB less 500.0 MB context, 100.0 MB workspace, 100.0 MB margin leave 300.0 MB "
        "for tensors",
        "a prediction, not validated on CUDA; batch and negatives never change",
        "give --data DIR for steps, disk and hours",
    ]


def test_a_plan_with_data_has_a_table_of_disk_and_one_of_memory() -> None:
    titles = [table.title for table in plan(PLAN).shown if not isinstance(table, str)]
    assert titles == ["tiny: the plan", "tiny: GPU memory of a step, predicted"]


def test_a_plan_without_data_has_no_table_of_disk() -> None:
    (table,) = plan(replace(PLAN, steps=None), free_bytes=None).shown
    assert not isinstance(table, str)
    assert table.title == "tiny: GPU memory of a step, predicted"


def test_a_plan_that_does_not_fit_ends_with_why() -> None:
    refused = plan(PLAN, refusal=REFUSED)
    assert not refused.fits
    assert refused.shown[-1] == "does not fit: stage x/1: too much"
    assert plan(PLAN).fits


def test_a_refusal_alone_is_no_recipe_without_stages() -> None:
    assert repr(plan(refusal=REFUSED)) == "does not fit: stage x/1: too much"
    assert repr(plan()) == "tiny has no stages to plan"


def test_a_plan_is_plain_json() -> None:
    document = json.loads(json.dumps(plan(PLAN, PLAN, budget=BUDGET, refusal=REFUSED).as_json()))
    assert document["cache_bytes"] == 4_000
    assert document["budget"]["margin_share"] == 0.25
    assert [stage["name"] for stage in document["stages"]] == ["1", "1"]
    assert document["smallest_bytes"] == 77
    assert document["error"] == {"type": "BudgetError", "message": "stage x/1: too much"}


def test_a_plan_without_data_says_nothing_of_disk_in_json() -> None:
    document = plan(PLAN, free_bytes=None).as_json()
    assert set(document) == {"recipe", "fits", "budget", "stages"}


def test_a_report_tells_where_its_page_lies() -> None:
    row = dict.fromkeys(("table", "base", "data", "system", "published", "ours"), "x")
    page = ReportPage(Path("out/index.html"), [row])
    assert page.shown[0].note == (  # type: ignore[union-attr]
        "data of x: x\nthe report: out/index.html"
    )
    assert page.as_json() == {"page": "out/index.html", "rows": [row]}


def test_a_report_says_whose_data_it_is_and_what_brackets_mean() -> None:
    rows = [
        {"table": "1", "base": base, "data": data, "system": "CPC", "published": told, "ours": "–"}
        for base, data, told in (("–", "–", "class 1.0"), ("demo", "own images", "class (1.0)"))
    ]
    assert ReportPage(Path("page"), rows).shown[0].note == (  # type: ignore[union-attr]
        "data of demo: own images\n"
        "in brackets: published on other data, no measure of these runs\nthe report: page"
    )


def test_without_a_row_of_the_papers_tables_only_the_page_is_named() -> None:
    assert ReportPage(Path("out/index.html"), []).shown == ("the report: out/index.html",)
