"""What is done, stale, partial or damaged, and why."""

import json
import shutil
from pathlib import Path

import pytest
from helpers.homes import CPU, at, bits, edit, states, why
from helpers.manifests import rewrite

import gimstage
from gimstage.errors import CacheError, StaleCacheError
from gimstage.inputs import output_source
from gimstage.inputs.grids import RecomputedGrids


def test_editing_a_stage_makes_it_and_what_comes_after_stale(home: Path) -> None:
    edit(home, "2_*.toml", "learning_rate = 1e-3", "learning_rate = 2e-3")
    assert states(home) == ["done", "stale", "stale", "stale"]
    assert why(home, 2) == ("stage 2.train.learning_rate: 0.001 → 0.002",)
    assert why(home, 3) == ("stage 2.train.learning_rate: 0.001 → 0.002",)


def test_editing_the_crop_makes_every_stage_stale(home: Path) -> None:
    edit(home, "data.toml", "crop_px = 56", "crop_px = 64")
    assert states(home) == ["stale"] * 4
    assert all(why(home, n) == ("data.views.crop_px: 56 → 64",) for n in (1, 2, 3))


def test_editing_the_top_stage_reruns_it_and_the_probe_only(home: Path) -> None:
    before = bits(home)
    edit(home, "3_*.toml", "steps = 12", "steps = 11")
    assert states(home) == ["done", "done", "stale", "stale"]
    at(home).run()
    after = bits(home)
    assert {name for name in after if after[name] != before[name]} == {
        "3/weights.safetensors",
        "3/objective.safetensors",
        "3/features.zarr/features/c.0.0.0.0.0.0.0",
        "3/features.zarr/zarr.json",
    }


def test_another_encoding_extracts_again_without_training_again(home: Path) -> None:
    weights = (home / "runs/tiny/3/weights.safetensors").read_bytes()
    edit(home, "3_*.toml", '"float16"', '"round5"')
    assert at(home).train_stage(3)
    assert (home / "runs/tiny/3/weights.safetensors").read_bytes() == weights


def test_other_stored_views_leave_the_first_stages_weights(home: Path) -> None:
    weights = (home / "runs/tiny/1/weights.safetensors").read_bytes()
    edit(home, "data.toml", "count = 1", "count = 2")
    assert at(home).train_stage(1)
    assert (home / "runs/tiny/1/weights.safetensors").read_bytes() == weights


def test_other_data_makes_every_stage_stale(home: Path) -> None:
    pixels = next((home / "runs/data").glob("demo-*")) / "unlabeled_X.bin"
    with pixels.open("r+b") as file:
        file.write(b"\x07\x08\x09")
    assert states(home)[:3] == ["stale"] * 3
    assert why(home, 1)[0].startswith("data_sha256: ")


def test_retraining_below_makes_what_was_trained_on_it_stale(home: Path) -> None:
    rewrite(home / "runs/tiny/2/manifest.json", upstream_weights_sha256="0" * 64)
    assert why(home, 2) == ("stage tiny/1 before it was trained again, to other weights",)


def test_codes_asked_for_later_are_stored_without_training_again(home: Path) -> None:
    weights = (home / "runs/tiny/3/weights.safetensors").stat().st_mtime_ns
    edit(home, "3_*.toml", "codes = false", "codes = true")
    assert states(home)[2] == "partial"
    assert why(home, 3) == ("trained; codes not stored yet",)
    at(home).train_stage(3)
    assert gimstage.open_features(home / "runs/tiny/3").array("codes").shape[-1] == 16
    assert (home / "runs/tiny/3/weights.safetensors").stat().st_mtime_ns == weights


def test_features_may_be_deleted_once_they_are_not_asked_for(home: Path) -> None:
    edit(home, "1_*.toml", '"features"', '"none"')
    shutil.rmtree(home / "runs/tiny/1/features.zarr/features")
    pipeline = at(home)
    assert states(home) == ["done"] * 4
    assert isinstance(
        output_source(pipeline.runs, pipeline.data, pipeline.recipe.chain(1), CPU),
        RecomputedGrids,
    )
    shutil.rmtree(home / "runs/tiny/1/features.zarr")
    assert ["features.zarr" in each.read for each in at(home).verify()] == [
        *(False, True, True),
        False,
    ]


def test_training_above_a_stage_that_is_not_done_is_refused(fresh: Path) -> None:
    with pytest.raises(StaleCacheError) as error:
        at(fresh).train_stage(2)
    assert str(error.value) == (
        "stage tiny/1: missing; expected done; run `gimstage train-stage 1 --recipe stages/tiny "
        f"--runs {fresh / 'runs'}` first"
    )


def test_training_above_a_stale_stage_is_refused_with_its_reason(home: Path) -> None:
    edit(home, "1_*.toml", "steps = 12", "steps = 13")
    with pytest.raises(StaleCacheError) as error:
        at(home).train_stage(2)
    assert str(error.value) == (
        "stage tiny/1: stale (stage 1.train.steps: 12 → 13); expected done; "
        f"run `gimstage train-stage 1 --recipe stages/tiny --runs {home / 'runs'}` first"
    )


def test_features_without_a_manifest_are_not_trusted(home: Path) -> None:
    (home / "runs/tiny/2/manifest.json").unlink()
    assert states(home)[:3] == ["done", "partial", "stale"]
    with pytest.raises(StaleCacheError):
        at(home).train_stage(3)


def test_a_manifest_of_a_newer_format_is_refused(home: Path) -> None:
    path = home / "runs/tiny/1/manifest.json"
    rewrite(path, format=99)
    with pytest.raises(CacheError) as error:
        at(home).runs.folder("tiny/1").manifest()
    assert str(error.value) == f"{path}: format 99; expected at most 2; upgrade gimstage"
    assert states(home)[0] == "stale"
    with pytest.raises(CacheError):
        at(home).train_stage(1)
    assert json.loads(path.read_text())["format"] == 99


def test_a_manifest_that_is_no_json_is_damage(home: Path) -> None:
    (home / "runs/tiny/1/manifest.json").write_text("{")
    assert states(home)[0] == "damaged"


@pytest.mark.parametrize("folder", ["2", "probe"])
def test_a_manifest_without_its_keys_is_damage(home: Path, folder: str) -> None:
    (home / f"runs/tiny/{folder}/manifest.json").write_text('{"format": 1, "stage": "tiny/2"}')
    assert states(home)[1 if folder == "2" else 3] == "damaged"
    at(home).run()
    assert states(home) == ["done"] * 4
