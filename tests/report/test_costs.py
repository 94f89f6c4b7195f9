"""Figures over seeds, and what runs took, of runs written by hand."""

import statistics
from pathlib import Path
from typing import Any

import pytest
from helpers.manifests import IMAGES, write_probe, write_stage
from hypothesis import given
from hypothesis import strategies as st

from gimstage.report.collect import collect
from gimstage.report.costs import Cost, Measured, cost_of, most


def cost(runs: Path) -> Cost:
    report = collect(runs)
    return cost_of(report, report.groups[0])


def memory(predicted: int, measured: int | None) -> dict[str, Any]:
    return {"predicted_reserved_bytes": predicted, "measured_reserved_bytes": measured}


@given(st.lists(st.floats(0, 100), min_size=2, max_size=9))
def test_mean_and_deviation_are_those_of_a_sample(values: list[float]) -> None:
    measured = Measured(tuple(values), ("run",) * len(values))
    assert measured.mean == pytest.approx(sum(values) / len(values))
    squares = sum((value - measured.mean) ** 2 for value in values)
    assert measured.std == pytest.approx((squares / (len(values) - 1)) ** 0.5, abs=1e-6)


def test_one_seed_has_no_deviation() -> None:
    assert Measured((3.0,), ("run",)).std is None


def test_a_group_takes_the_mean_over_its_runs(tmp_path: Path) -> None:
    for key, steps, seconds in (("small/1", 20, 2.0), ("small@3/1", 41, 4.0)):
        training = {"steps": steps, "seconds": seconds, "samples": 48}
        write_stage(tmp_path, key, training=training, seed=len(key))
    found = cost(tmp_path)
    assert found.seeds == 2
    assert found.steps == round(statistics.fmean([20, 41]))
    assert found.seconds == 3.0


def test_a_run_takes_all_its_stages_together(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        write_stage(tmp_path, f"small/{number}")
    found = cost(tmp_path)
    assert (found.steps, found.seconds, found.disk_bytes) == (60, 7.5, 6_000_000)


def test_memory_is_of_the_largest_stage_that_tells_it(tmp_path: Path) -> None:
    write_stage(tmp_path, "small/1", memory=memory(5, None))
    write_stage(tmp_path, "small/2", memory=memory(4, 9))
    write_stage(tmp_path, "small/3")
    assert (cost(tmp_path).predicted_bytes, cost(tmp_path).measured_bytes) == (5, 9)


def test_every_device_is_named_once(tmp_path: Path) -> None:
    for number, device in ((1, "a GPU"), (2, "a CPU"), (3, "a GPU")):
        write_stage(tmp_path, f"small/{number}", device=device)
    assert cost(tmp_path).device == "a CPU / a GPU"


def test_a_stage_that_stores_nothing_takes_no_disk(tmp_path: Path) -> None:
    write_stage(tmp_path, "small/1", features=None)
    assert cost(tmp_path).disk_bytes == 0


def test_what_was_trained_on_is_named_with_its_bytes(tmp_path: Path) -> None:
    write_stage(tmp_path, "small/1", data=IMAGES | {"train_split": "train"}, data_sha256="d" * 64)
    found = cost(tmp_path)
    assert (found.split, found.data_sha256, found.recipe) == ("train", "d" * 64, "small")


def test_a_recipe_of_probes_alone_took_no_training(tmp_path: Path) -> None:
    write_probe(tmp_path, "small/probe", {"pixels": 0.3})
    found = cost(tmp_path)
    assert (found.split, found.steps, found.seconds, found.device) == (None,) * 4
    assert found.probe_samples == (40, 80)


def test_probes_of_other_numbers_of_samples_name_none(tmp_path: Path) -> None:
    write_probe(tmp_path, "small/probe", {"1": 0.3})
    path = write_probe(tmp_path, "small/probe_more", {"1": 0.3}) / "manifest.json"
    path.write_text(path.read_text().replace('"test_samples": 80', '"test_samples": 81'))
    assert cost(tmp_path).probe_samples is None


@pytest.mark.parametrize(("values", "largest"), [([], None), ([None], None), ([2, None, 7], 7)])
def test_the_most_is_taken_of_what_is_known(values: list[int | None], largest: int | None) -> None:
    assert most(values) == largest
