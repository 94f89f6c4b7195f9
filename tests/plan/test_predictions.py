"""Predictions of GPU memory: made once, kept in a file that no run depends on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.homes import RECIPES, ROOT

from gimstage.plan import fit, predictions
from gimstage.plan.memory import KINDS, Peak
from gimstage.plan.predictions import code_of, kept_in, prediction_key, remembered
from gimstage.recipe.recipe import Recipe

PEAK = Peak(1024, 2048, dict.fromkeys(KINDS, 0))


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes the process forget all predictions, as it does when it begins."""
    monkeypatch.setattr(predictions, "_known", {})
    return predictions._known.clear


def never() -> Peak:
    raise AssertionError("predicted again")


@pytest.fixture
def file(tmp_path: Path, forget: Callable[[], None]) -> Path:
    """A file that another process has left, with one prediction."""
    with kept_in(tmp_path / "predictions.json"):
        remembered("a", lambda: PEAK)
    forget()
    return tmp_path / "predictions.json"


def test_what_the_file_holds_is_not_predicted_again(file: Path) -> None:
    with kept_in(file):
        assert remembered("a", never) == PEAK


def test_a_file_that_holds_all_that_was_asked_is_not_written(file: Path) -> None:
    before = file.stat()
    with kept_in(file):
        remembered("a", never)
    assert file.stat() == before


def test_new_predictions_join_those_in_the_file(file: Path, forget: Callable[[], None]) -> None:
    with kept_in(file):
        remembered("b", lambda: PEAK)
    forget()
    with kept_in(file):
        assert remembered("a", never) == remembered("b", never)


def test_what_the_process_knew_before_is_kept_too(tmp_path: Path) -> None:
    remembered("a", lambda: PEAK)
    with kept_in(tmp_path / "predictions.json"):
        remembered("a", never)
    assert '"a"' in (tmp_path / "predictions.json").read_text()


def test_what_was_asked_for_elsewhere_is_not_kept(file: Path) -> None:
    remembered("elsewhere", lambda: PEAK)
    with kept_in(file):
        remembered("b", lambda: PEAK)
    assert "elsewhere" not in file.read_text()


@pytest.mark.parametrize("damage", ["", "[]", "{", '{"peaks": {"a": 1}, "sha256": ""}', "\0"])
def test_a_damaged_file_is_made_anew(damage: str, file: Path, forget: Callable[[], None]) -> None:
    whole = file.read_text()
    file.write_text(damage)
    with kept_in(file):
        assert remembered("a", lambda: PEAK) == PEAK
    assert file.read_text() == whole


def test_one_changed_digit_is_noticed(file: Path) -> None:
    file.write_text(file.read_text().replace("2048", "2049"))
    with kept_in(file):
        assert remembered("a", lambda: PEAK) == PEAK


def test_a_file_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "predictions.json").mkdir()
    for path in (tmp_path / "predictions.json", tmp_path / "absent/predictions.json"):
        with kept_in(path):
            assert remembered("a", lambda: PEAK) == PEAK


def test_a_seed_makes_no_new_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe.load(RECIPES / "tiny")
    first = fit.plain_setting(recipe.chain(1))
    monkeypatch.setattr(fit, "_traced", lambda *_: never())
    assert fit.plain_setting(recipe.seeded(7).chain(1)) == first


def test_another_release_of_torch_makes_new_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    before = prediction_key(stage={}, micro_batch=4)
    monkeypatch.setattr(torch, "__version__", "0.0.0")
    assert prediction_key(stage={}, micro_batch=4) != before


def test_other_code_makes_new_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    before = prediction_key(stage={}, micro_batch=4)
    monkeypatch.setattr(predictions, "_code", lambda: "other")
    assert prediction_key(stage={}, micro_batch=4) != before


def test_other_code_of_a_part_from_outside_makes_new_predictions(tmp_path: Path) -> None:
    recipe = Path(shutil.copytree(ROOT / "examples/own_parts", tmp_path / "own_parts"))
    kept = tmp_path / "predictions.json"

    def predict() -> dict[str, object]:
        with kept_in(kept):
            fit.plain_setting(Recipe.load(recipe).chain(1))
        document: dict[str, dict[str, object]] = json.loads(kept.read_text())
        return document["peaks"]

    assert len(predict()) == len(predict()) == 1
    (recipe / "own.py").write_text((recipe / "own.py").read_text() + "\n# edited\n")
    assert len(predict()) == 2


def test_a_class_of_no_file_is_like_no_other() -> None:
    first, second = (type("Part", (), {"__module__": "nowhere"}) for _ in range(2))
    assert code_of(first) != code_of(second)
