"""Measured speeds: kept in a file, measured once, refused where the file is another's."""

import json
from pathlib import Path

import pytest
import torch
from helpers.homes import CPU, RECIPES

from gimstage.errors import DamagedCacheError
from gimstage.plan import calibration
from gimstage.plan.calibration import Calibration, calibrate, read_calibration
from gimstage.recipe.chain import Chain
from gimstage.recipe.recipe import Recipe


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is measured, in order; no clock is looked at."""
    log: list[str] = []

    def stage(chain: Chain, device: torch.device) -> tuple[float, float]:
        log.append(chain.last.key)
        return len(log) / 8, len(log) / 4

    def disk(folder: Path) -> tuple[float, float]:
        log.append("disk")
        return 1e8, 2e8

    monkeypatch.setattr(calibration, "_stage", stage)
    monkeypatch.setattr(calibration, "_disk", disk)
    return log


def chains() -> list[Chain]:
    recipe = Recipe.load(RECIPES / "tiny")
    return [recipe.chain(number) for number in recipe.stages]


def test_the_disk_and_every_stage_below_are_measured_once(
    tmp_path: Path, measured: list[str]
) -> None:
    calibrate(chains()[2:], CPU, tmp_path / "runs/calibration.json", again=False)
    assert measured == ["disk", "tiny/1", "tiny/2", "tiny/3"]


def test_what_is_known_is_not_measured_again(tmp_path: Path, measured: list[str]) -> None:
    path = tmp_path / "calibration.json"
    calibrate(chains()[:2], CPU, path, again=False)
    known = read_calibration(path)
    del measured[:]
    found = calibrate(chains(), CPU, path, again=False)
    assert measured == ["tiny/3"]
    assert known is not None
    assert known.stages.items() < found.stages.items()
    assert found.read_bytes_per_s == known.read_bytes_per_s


def test_asked_to_everything_is_measured_again(tmp_path: Path, measured: list[str]) -> None:
    path = tmp_path / "calibration.json"
    calibrate(chains(), CPU, path, again=False)
    del measured[:]
    calibrate(chains()[:1], CPU, path, again=True)
    assert measured == ["disk", "tiny/1"]


def test_speeds_of_another_device_are_forgotten(tmp_path: Path, measured: list[str]) -> None:
    path = tmp_path / "calibration.json"
    calibrate(chains(), CPU, path, again=False)
    path.write_text(path.read_text().replace('"cpu, ', '"a GPU, '))
    found = calibrate(chains()[:1], CPU, path, again=False)
    assert len(found.stages) == 1
    assert measured[-2:] == ["disk", "tiny/1"]


def test_a_calibration_covers_a_chain_only_with_all_stages_below(
    tmp_path: Path, measured: list[str]
) -> None:
    first, second, third = chains()
    found = calibrate([second], CPU, tmp_path / "calibration.json", again=False)
    assert [found.covers(chain, CPU) for chain in (first, second, third)] == [True, True, False]
    other = Calibration("a GPU", 1.0, 1.0, found.stages)
    assert not other.covers(first, CPU)


def test_a_changed_module_is_not_covered_and_another_seed_is(
    tmp_path: Path, measured: list[str]
) -> None:
    found = calibrate(chains(), CPU, tmp_path / "calibration.json", again=False)
    assert found.covers(Recipe.load(RECIPES / "tiny", 77).chain(3), CPU)
    assert not found.covers(Recipe.load(RECIPES / "tiny_audio").chain(1), CPU)


def test_what_was_measured_is_read_back_as_it_was(tmp_path: Path, measured: list[str]) -> None:
    path = tmp_path / "calibration.json"
    assert read_calibration(path) is None
    found = calibrate(chains(), CPU, path, again=False)
    assert read_calibration(path) == found
    (first, *_) = chains()
    assert (found.forward_s(first), found.step_s(first)) == (2 / 8, 2 / 4)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "7", "{}", '{"stages": {}}', '{"stages": {"a": 1}}', '{"stages": {"a": "xy"}}'],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(content)
    with pytest.raises(DamagedCacheError) as caught:
        read_calibration(path)
    assert str(caught.value) == (
        f"{path}: not a calibration; run `rm {path} && gimstage plan --calibrate --runs {tmp_path}`"
    )


@pytest.mark.parametrize("key", ["read_bytes_per_s", "write_bytes_per_s"])
@pytest.mark.parametrize("speed", ["fast", None, 0, -1.0, float("nan")])
def test_a_speed_that_is_no_number_above_nothing_is_refused(
    tmp_path: Path, key: str, speed: object
) -> None:
    path = tmp_path / "calibration.json"
    whole = {"device": "cpu", "read_bytes_per_s": 2.0, "write_bytes_per_s": 1.0, "stages": {}}
    path.write_text(json.dumps(whole | {key: speed}))
    with pytest.raises(DamagedCacheError) as caught:
        read_calibration(path)
    assert str(caught.value) == (
        f"{path}: not a calibration; run `rm {path} && gimstage plan --calibrate --runs {tmp_path}`"
    )


def test_a_key_too_many_is_refused_too(tmp_path: Path, measured: list[str]) -> None:
    path = tmp_path / "calibration.json"
    calibrate(chains()[:1], CPU, path, again=False)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"colour": "blue"}))
    with pytest.raises(DamagedCacheError, match="not a calibration"):
        read_calibration(path)


def test_the_disk_is_measured_and_left_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration, "DISK_BYTES", 1 << 22)
    assert min(calibration._disk(tmp_path)) > 0
    assert list(tmp_path.iterdir()) == []


def test_a_stage_is_measured_by_what_it_really_runs() -> None:
    forward, step = calibration._stage(chains()[0], CPU)
    assert 0 < forward < step
