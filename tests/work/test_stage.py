"""The work on a stage: what it records, and what it leaves to be read."""

from pathlib import Path

import pytest
from helpers.homes import at

from gimstage.plan import fit, predictions
from gimstage.runs.manifest import MemoryRecord


def memory(home: Path) -> MemoryRecord | None:
    return at(home).memory("1")


def never(*_: object) -> None:
    raise AssertionError("traced again")


def test_a_prediction_is_traced_once_however_often_a_stage_is_trained(
    finished: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = memory(finished)
    at(fresh).train_stage(1)
    (fresh / "runs/tiny/1/manifest.json").unlink()
    (fresh / "runs/tiny/1/weights.safetensors").unlink()
    monkeypatch.setattr(predictions, "_known", {})
    monkeypatch.setattr(fit, "_traced", never)
    at(fresh).train_stage(1)
    assert memory(fresh) == recorded


def test_a_damaged_file_of_predictions_stops_no_training(
    finished: Path, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fresh / "runs/predictions.json").write_text("{")
    monkeypatch.setattr(predictions, "_known", {})
    at(fresh).train_stage(1)
    assert memory(fresh) == memory(finished)


def test_looking_writes_no_predictions(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "_known", {})
    pipeline = at(fresh)
    pipeline.plans(), pipeline.statuses(), pipeline.probe_statuses()
    assert not (fresh / "runs/predictions.json").exists()
