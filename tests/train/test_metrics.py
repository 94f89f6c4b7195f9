"""Lines of metrics: means over intervals, whenever they are fetched, across interruptions."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gimstage.errors import TrainingError
from gimstage.train.metrics import Metrics, read_lines


def metrics(folder: Path, total_steps: int, evaluations: int = 0) -> Metrics:
    return Metrics(
        folder / "metrics.jsonl",
        stage="demo/1",
        batch_size=4,
        total_steps=total_steps,
        evaluations=evaluations,
    )


def values_of(step: int) -> Tensor:
    """Loss, accuracy and the losses of two prediction steps of one learner."""
    return torch.tensor([step / 8, (step % 4) / 4, step, -step], dtype=torch.float64)


def run(which: Metrics, first: int, last: int) -> None:
    for step in range(first, last + 1):
        which.add(step, [values_of(step)], 0.0)
    which.settle()


def told(folder: Path) -> list[dict[str, Any]]:
    """The lines but for what they say of time."""
    clocks = ("samples_per_s", "waiting_share", "seconds")
    lines = read_lines(folder / "metrics.jsonl")
    return [{k: v for k, v in line.items() if k not in clocks} for line in lines]


@given(total=st.integers(1, 1000))
def test_lines_are_the_plain_means_between_them(
    tmp_path_factory: pytest.TempPathFactory, total: int
) -> None:
    folder = tmp_path_factory.mktemp("metrics")
    run(metrics(folder, total), 1, total)
    before = 0
    for line in told(folder):
        steps = range(before + 1, line["step"] + 1)
        mean = torch.stack([values_of(step) for step in steps]).mean(0).tolist()
        found = [line["loss"], line["accuracy"], *line["loss_per_step"]]
        assert found == pytest.approx(mean, rel=1e-12)
        before = line["step"]
    assert before == total


@pytest.mark.parametrize(("total", "count"), [(1, 1), (12, 12), (200, 200), (450, 226), (999, 251)])
def test_a_training_has_about_two_hundred_lines(tmp_path: Path, total: int, count: int) -> None:
    run(metrics(tmp_path, total), 1, total)
    steps = [line["step"] for line in told(tmp_path)]
    assert (steps[0], steps[-1], len(steps)) == (1, total, count)


@pytest.mark.parametrize("cut", [0, 1, 3, 449, 600])
def test_interrupted_lines_are_those_of_one_go(tmp_path: Path, cut: int) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    run(metrics(whole, 600), 1, 600)
    first = metrics(parts, 600)
    run(first, 1, cut)
    state = json.loads(json.dumps(first.state()))
    run(first, cut + 1, min(600, cut + 50))  # lost: after the last checkpoint
    second = metrics(parts, 600)
    second.resume(state if cut else None)
    run(second, cut + 1, 600)
    assert told(parts) == told(whole)


def test_what_becomes_of_the_file_meanwhile_does_not_matter(tmp_path: Path) -> None:
    whole, damaged = tmp_path / "whole", tmp_path / "damaged"
    for folder in (whole, damaged):
        folder.mkdir()
    run(metrics(whole, 600), 1, 600)
    first = metrics(damaged, 600)
    run(first, 1, 300)
    (damaged / "metrics.jsonl").write_bytes(b"\xff\n" + b"[" * 100_000)
    second = metrics(damaged, 600)
    second.resume(json.loads(json.dumps(first.state())))
    run(second, 301, 600)
    (damaged / "metrics.jsonl").unlink()
    second.finish()
    assert told(damaged) == told(whole)


def test_values_may_wait_without_changing_the_lines(tmp_path: Path) -> None:
    now, later = tmp_path / "now", tmp_path / "later"
    for folder in (now, later):
        folder.mkdir()
    at_once, waiting = metrics(now, 1000), metrics(later, 1000)
    for step in range(1, 1001):
        at_once.add(step, [values_of(step)], 0.0)
        at_once.settle()
        waiting.add(step, [values_of(step)], 0.0)
    assert told(now) == told(later)


def test_a_line_cut_short_by_a_kill_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 2.0}\n7\n{"step": 2, "lo')
    assert read_lines(path) == [{"step": 1, "loss": 2.0}]
    assert read_lines(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_loss_that_is_not_finite_names_its_step(tmp_path: Path, bad: float) -> None:
    found = metrics(tmp_path, 1000)
    found.add(1, [values_of(1)], 0.0)
    found.add(2, [values_of(2)], 0.0)
    found.add(3, [torch.tensor([bad, 0, 0, 0])], 0.0)
    with pytest.raises(TrainingError) as caught:
        found.settle()
    assert str(caught.value) == (
        f"stage demo/1, step 3: loss is {bad}; expected finite numbers; the last good checkpoint "
        "and what the stage was before are kept; lower learning_rate or use "
        'precision = "float32"'
    )


def test_the_latest_loss_is_the_mean_since_the_last_line(tmp_path: Path) -> None:
    found = metrics(tmp_path, 1000)
    assert found.loss is None
    run(found, 1, 1)
    assert found.loss == values_of(1)[0]
    run(found, 2, 3)
    assert found.loss == (values_of(2)[0] + values_of(3)[0]) / 2


def test_losses_of_several_are_added_and_accuracies_averaged(tmp_path: Path) -> None:
    found = metrics(tmp_path, 1)
    found.add(1, [torch.tensor([1.0, 0.25, 7.0]), torch.tensor([2.0, 0.75])], 0.0)
    (line,) = told(tmp_path)
    assert (line["loss"], line["accuracy"], line["loss_per_step"]) == (3.0, 0.5, [])
    assert line["modules"] == [
        {"loss": 1.0, "accuracy": 0.25, "loss_per_step": [7.0]},
        {"loss": 2.0, "accuracy": 0.75, "loss_per_step": []},
    ]


@given(total=st.integers(1, 2000), evaluations=st.integers(0, 30))
def test_validation_falls_on_lines_at_both_ends_and_not_too_often(
    tmp_path_factory: pytest.TempPathFactory, total: int, evaluations: int
) -> None:
    found = metrics(tmp_path_factory.getbasetemp(), total, evaluations)
    due = [step for step in range(1, total + 1) if found.validates(step)]
    if not evaluations:
        assert due == []
        return
    assert {1, total} == {due[0], due[-1]}
    assert len(due) <= evaluations + 2
    assert all(step in (1, total) or step % found.interval == 0 for step in due)
