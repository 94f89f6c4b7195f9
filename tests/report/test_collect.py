from pathlib import Path
from typing import Any

import pytest
from helpers.manifests import (
    curves,
    several,
    weights,
    write_images,
    write_probe,
    write_speech,
    write_stage,
)

from gimstage.errors import GimstageError
from gimstage.report import collect


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    write_images(tmp_path, "small", 0.5)
    write_images(tmp_path, "small@3", 0.6, seed=3)
    return tmp_path


def grouped(runs: Path) -> list[list[str]]:
    return [group.names for group in collect(runs).groups]


def test_seeds_of_one_recipe_are_one_group(runs: Path) -> None:
    assert grouped(runs) == [["small", "small@3"]]
    assert collect(runs).notes == ()


def test_seeds_are_one_group_though_each_has_a_classifier_of_its_own(tmp_path: Path) -> None:
    for recipe, seed in (("mine@2", 2), ("mine@3", 3)):
        write_stage(tmp_path, f"{recipe}/1", seed=seed)
        write_probe(tmp_path, f"{recipe}/probe", {"1": 0.5}, seed=seed, protocols=("own",))
    assert grouped(tmp_path) == [["mine@2", "mine@3"]]


def test_a_run_on_other_data_is_kept_apart_and_the_reason_said(runs: Path) -> None:
    for number in (1, 2, 3):
        write_stage(runs, f"small@4/{number}", seed=4, data_sha256="d" * 64)
    assert grouped(runs) == [["small", "small@3"], ["small@4"]]
    assert collect(runs).notes == (
        "small@4 is not averaged with small, small@3: data_sha256: eeeeeeeeeeee → dddddddddddd",
    )


def test_a_probe_with_other_settings_is_kept_apart_and_the_reason_said(runs: Path) -> None:
    write_probe(runs, "small@4/probe", {"3": 0.7}, seed=4, epochs=9)
    assert grouped(runs) == [["small", "small@3"], ["small@4"]]
    assert collect(runs).notes == (
        "small@4 is not averaged with small, small@3: probe.probe.paper.epochs: 2 → 9",
    )


def test_what_every_stage_repeats_is_said_once(runs: Path) -> None:
    write_images(runs, "small@4", 0.5, seed=4, steps=50)
    assert collect(runs).notes == (
        "small@4 is not averaged with small, small@3: stage 1.train.steps: 20 → 50; "
        "stage 2.train.steps: 20 → 50; stage 3.train.steps: 20 → 50",
    )


def test_probes_of_a_recipe_without_stages_are_told_apart_by_what_they_read(runs: Path) -> None:
    write_images(runs, "small@4", 0.5, seed=4, steps=50)
    for seed in ("", "@3", "@4"):
        fitted = {f"small{seed}/2": weights(f"small{seed}/2")}
        write_probe(runs, f"small_no_gar{seed}/probe", {f"small{seed}/2": 0.4}, fitted=fitted)
    assert grouped(runs)[2:] == [["small_no_gar", "small_no_gar@3"], ["small_no_gar@4"]]


def test_a_half_finished_run_joins_its_group(runs: Path) -> None:
    write_stage(runs, "small@4/1", seed=4)
    assert grouped(runs) == [["small", "small@3", "small@4"]]


def test_a_damaged_manifest_is_left_out_with_a_note_that_names_it(runs: Path) -> None:
    path = runs / "small@3/2/manifest.json"
    path.write_text('{"format": 1, "sta')
    report = collect(runs)
    assert [*report.groups[0].runs[1].stages] == [1, 3]
    assert report.notes == (
        f"{path}: not readable: no JSON: Unterminated string starting at: line 1 column 15 "
        f"(char 14); run `gimstage train-stage 2 "
        f"--recipe stages/small --runs {runs} --seed 3`",
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"training": None}, "training is null instead of a table"),
        ({"identity": {"data": {}}}, "identity: no data_sha256 inside"),
        ({"features": [1]}, "features is [1] instead of a table"),
    ],
)
def test_a_manifest_of_another_form_is_left_out_with_a_note(
    runs: Path, change: dict[str, Any], reason: str
) -> None:
    path = write_stage(runs, "small@3/2", **change) / "manifest.json"
    assert collect(runs).notes == (
        f"{path}: not readable: {reason}; run `gimstage train-stage 2 "
        f"--recipe stages/small --runs {runs} --seed 3`",
    )


def test_a_stage_in_a_folder_that_is_no_number_is_left_out_with_a_note(runs: Path) -> None:
    (runs / "small@3/2").rename(runs / "small@3/second")
    assert collect(runs).notes == (
        f"{runs}/small@3/second: holds small@3/2, but is no number of a stage; left out",
    )


def test_a_stage_of_unknown_keys_is_kept_without_the_names_of_its_modules(runs: Path) -> None:
    own = {"module": {"kind": "resnet", "depth": 7}}
    path = write_stage(runs, "small@3/3", own=own, below=({}, {})) / "manifest.json"
    found = collect(runs).groups[1].runs[0].stages[3]
    assert (found.kind, [*found.positions], found.chance_loss) == ("–", [3], None)
    assert collect(runs).notes[0] == (
        f"{path}: trained by another release, whose recipes this one cannot read: stage 1: no "
        "module; expected one [module], or [[modules]]; its modules are not named"
    )


def test_a_probe_fitted_to_what_is_no_stage_is_left_out_with_a_note(runs: Path) -> None:
    path = write_probe(runs, "small@3/probe", {"3": 0.9}, fitted={"small": "0" * 64})
    assert collect(runs).notes == (f"{path}/manifest.json: 'small' names no stage; left out",)


def test_a_stage_under_way_is_left_out_with_a_note(runs: Path) -> None:
    (runs / "small@4/1").mkdir(parents=True)
    (runs / "small@4/1/lock").touch()
    assert grouped(runs) == [["small", "small@3"]]
    assert collect(runs).notes == (f"{runs}/small@4/1: not finished; left out",)


@pytest.mark.parametrize(
    "line",
    ['{"step": 21, "lo', "[]", "7", '"step"', '{"step": 21}', '{"step": "a", "loss": 1}']
    + ['{"step": 21, "loss": NaN}', '{"step": 21, "loss": null}', '{"step": 3, "loss": 1}'],
)
def test_a_damaged_line_of_metrics_is_left_out_with_a_note(runs: Path, line: str) -> None:
    path = runs / "small/2/metrics.jsonl"
    path.write_text(path.read_text() + line)
    report = collect(runs)
    assert len(report.groups[0].runs[0].stages[2].lines) == 20
    assert report.notes == (f"{path}: 1 of 21 lines not readable, first line 21; left out",)


def test_metrics_of_random_bytes_are_left_out_with_a_note(runs: Path) -> None:
    path = runs / "small/2/metrics.jsonl"
    path.write_bytes(b"\xff\x00\n\xfe\n")
    assert collect(runs).notes == (f"{path}: 2 of 2 lines not readable, first line 1; left out",)


def test_a_stage_without_metrics_has_no_curve_and_a_note(runs: Path) -> None:
    path = runs / "small/2/metrics.jsonl"
    path.unlink()
    assert collect(runs).notes == (f"{path}: missing; its stage has no curve",)


def test_a_probe_fitted_to_weights_that_are_gone_is_left_out(runs: Path) -> None:
    fitted = {"small/3": weights("other")}
    path = write_probe(runs, "small/probe", {"3": 0.9}, fitted=fitted) / "manifest.json"
    report = collect(runs)
    assert not report.groups[0].runs[0].probes
    assert report.notes == (
        f"{path}: fitted to other weights of small/3 than lie there now; left out until its probe "
        "is run again",
    )


def test_a_probe_of_one_module_of_a_stage_is_held_to_the_weights_of_the_stage(runs: Path) -> None:
    write_stage(runs, "small_cpc/1", own=several("end_to_end", "resnet", "resnet"))
    fitted = {"small_cpc/1.2": weights("other")}
    path = write_probe(runs, "small_cpc/probe", {"1.2": 0.9}, fitted=fitted) / "manifest.json"
    assert collect(runs).notes == (
        f"{path}: fitted to other weights of small_cpc/1.2 than lie there now; left out until its "
        "probe is run again",
    )


def test_a_folder_whose_seed_is_no_number_is_left_out(runs: Path) -> None:
    write_stage(runs, "small@old/1")
    assert collect(runs).notes == (f"{runs}/small@old: 'old' is no seed; left out",)


def test_a_recipe_is_chosen_with_all_its_seeds(runs: Path) -> None:
    write_speech(runs, "audio", 0.6)
    assert [group.names for group in collect(runs, ["small"]).groups] == [["small", "small@3"]]


def test_a_single_run_is_chosen_by_its_seed(runs: Path) -> None:
    assert [group.names for group in collect(runs, ["small@3"]).groups] == [["small@3"]]


def test_a_run_that_is_not_there_is_refused(runs: Path) -> None:
    with pytest.raises(GimstageError) as error:
        collect(runs, ["smal"])
    assert str(error.value) == f"run 'smal': not in {runs}; did you mean 'small'?"


@pytest.mark.parametrize(
    ("folder", "found"), [("", "no finished run in it"), ("nowhere", "no such folder")]
)
def test_no_runs_at_all_are_refused(tmp_path: Path, folder: str, found: str) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(GimstageError) as error:
        collect(tmp_path / folder)
    assert str(error.value) == (
        f"{tmp_path / folder}: {found}; expected a folder RECIPE/STAGE with a manifest.json; "
        f"run `gimstage run --runs {tmp_path / folder}` first, or name another folder of runs"
    )


def test_samples_of_a_split_are_known_to_all_runs_on_it(runs: Path) -> None:
    write_stage(runs, "small_cpc/1", features=None)
    assert collect(runs).samples == {"e" * 64: 48}


def test_lines_keep_what_they_say_of_each_module(runs: Path) -> None:
    own = several("isolated", "resnet", "resnet")
    write_stage(runs, "small_simultaneous/1", own=own, lines=curves(3, 2.0, 3.0))
    stage = collect(runs, ["small_simultaneous"]).groups[0].runs[0].stages[1]
    assert dict(stage.points(2, "loss")) == pytest.approx({1: 2.9, 2: 2.8, 3: 2.7})
