"""The data itself, described and drawn before any stage."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.commands import document, gimstage, options
from helpers.homes import RECIPES, at

from gimstage.data.splits import Column
from gimstage.errors import DataError
from gimstage.inspection.data import _labels, _moments, draw_data


def test_images_are_told_with_their_splits_labels_and_values(finished_images: Path) -> None:
    facts = document("inspect", 0, *options(finished_images))
    pipeline = at(finished_images)
    split = pipeline.data.split("unlabeled")
    assert facts["split_unlabeled"] == {
        "samples": 48,
        "size_px": 96,
        "channels": 3,
        "dtype": "uint8",
    }
    assert set(facts) >= {"split_train", "split_test", "class_of_train", "class_of_test"}
    pixels = np.stack([split.image(index) for index in range(48)]) / 255
    assert facts["values"]["mean"] == pytest.approx(pixels.mean((0, 2, 3)), abs=1e-5)
    assert facts["values"]["std"] == pytest.approx(pixels.std((0, 2, 3)), abs=1e-5)


def test_images_are_drawn_with_and_without_labels(finished_images: Path, tmp_path: Path) -> None:
    data = at(finished_images).data
    for split in ("unlabeled", "train"):
        draw_data(data, split, tmp_path / "x.png", sample=3, title="$x")
        assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(DataError) as caught:
        draw_data(data, "unlabeled", tmp_path / "y.png", sample=48, title="x")
    expected = f"{data.root}, split 'unlabeled': no sample 48; expected 0 to 47; choose another"
    assert str(caught.value) == expected


def test_sequences_are_told_and_drawn(finished_speech: Path, tmp_path: Path) -> None:
    recipe = finished_speech / "tiny_audio"
    told = ["--recipe", recipe, "--runs", finished_speech / "runs"]
    result = gimstage("inspect", 0, *told, "--png", tmp_path / "x.png", "--sample", 1)
    assert result.exit_code == 0
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    facts = document("inspect", 0, *told)
    samples = at(finished_speech).data.split("train").samples
    assert facts["split_train"] == {
        "samples": len(samples),
        "channels": 1,
        "rows": samples.sum(),
        "shortest": samples.min(),
        "longest": samples.max(),
    }
    assert facts["speaker_of_train"]["without"] == 0


def test_what_is_not_made_is_told_as_it_is_planned_and_not_drawn(tmp_path: Path) -> None:
    shutil.copytree(RECIPES / "tiny", tmp_path / "tiny")
    facts = document("inspect", 0, *options(tmp_path))
    assert (facts["made"], facts["split_unlabeled"]["samples"]) == (False, 48)
    assert "values" not in facts
    result = gimstage("inspect", 0, *options(tmp_path), "--png", tmp_path / "x.png")
    (folder,) = {facts["path"]}
    assert result.stderr == (
        f"error {folder}: not decoded or written yet; expected samples to draw; run `gimstage "
        f"train-stage 1 --recipe {tmp_path}/tiny --runs {tmp_path}/runs`, which makes it first\n"
    )
    assert not (tmp_path / "runs").exists()


def test_classes_are_counted_with_the_samples_that_have_none() -> None:
    column = Column("kind", ("a", "b", "c"), np.array([0, 0, -1, 1, 0]))
    assert _labels(column) == {"classes": 3, "fewest": "c (0)", "most": "a (3)", "without": 1}


def test_moments_are_those_of_all_samples_together() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(2, 3, (2, n)) for n in (5, 1, 9)]
    every = np.concatenate(parts, 1)
    found = _moments(iter(parts))
    for name, values in (("mean", every.mean(1)), ("std", every.std(1)), ("max", every.max(1))):
        assert found[name] == pytest.approx(values, abs=1e-5)
