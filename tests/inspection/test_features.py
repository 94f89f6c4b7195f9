"""Stored features, described and drawn."""

from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from helpers.homes import at
from helpers.rows import features

from gimstage.errors import CacheError
from gimstage.inspection.features import _mosaic, _statistics, describe, draw


@pytest.fixture(scope="module")
def finished(finished_speech: Path) -> Path:
    """The small recipe is that of speech."""
    return finished_speech


def test_a_stored_sequence_is_drawn(finished: Path, tmp_path: Path) -> None:
    for number in (1, 6):
        draw(features(finished, number), at(finished).data, tmp_path / "x.png", sample=2, title="x")
        assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(CacheError) as caught:
        draw(features(finished, 6), at(finished).data, tmp_path / "y.png", sample=15, title="y")
    assert str(caught.value) == f"{features(finished, 6)}: no sample 15; expected 0 to 14"


def test_statistics_are_those_of_all_values_together() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(2, 3, (n, 5)).astype(np.float32).clip(0) for n in (3, 1, 8)]
    found = _statistics(map(torch.from_numpy, parts))
    every = np.concatenate(parts).astype(np.float64)
    assert found == pytest.approx(
        {
            "min": every.min(),
            "max": every.max(),
            "mean": every.mean(),
            "std": every.std(),
            "zeros": (every == 0).mean(),
        }
    )


def test_a_constant_has_no_deviation() -> None:
    assert _statistics([torch.full((7,), 0.1)])["std"] == pytest.approx(0, abs=1e-8)


def test_maps_are_laid_out_as_their_patches_lie() -> None:
    features = torch.arange(2 * 3 * 4 * 5 * 6).float().reshape(2, 3, 4, 5, 6)
    mosaic = _mosaic(features)
    assert mosaic.shape == (4, 2 * 5, 3 * 6)
    for row, column, channel in ((0, 0, 0), (1, 2, 3), (0, 2, 1)):
        cut = mosaic[channel, row * 5 : row * 5 + 5, column * 6 : column * 6 + 6]
        assert np.array_equal(cut, features[row, column, channel].numpy())


def test_images_are_described_with_all_that_their_store_says(finished_images: Path) -> None:
    pipeline = at(finished_images)
    manifest = pipeline.runs.require(pipeline.recipe.chain(2))
    path = finished_images / "runs/tiny/2/features.zarr"
    facts = describe(path, manifest)
    stored = zarr.open_group(path, mode="r")["features"]
    assert facts["shape"] == [*stored.shape]
    assert facts["dimensions"] == ["sample", "view", "row", "column", "channel", "y", "x"]
    assert facts["bytes"] == sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
    assert facts["values"]["max"] <= stored[:].max()
    assert (facts["dtype"], facts["encoding"]) == ("float16", "float16")


def test_a_sample_that_is_not_there_is_refused(finished_images: Path, tmp_path: Path) -> None:
    path = finished_images / "runs/tiny/2/features.zarr"
    with pytest.raises(CacheError) as caught:
        draw(path, at(finished_images).data, tmp_path / "x.png", sample=48, title="x")
    assert str(caught.value) == f"{path}: no sample 48; expected 0 to 47"
    assert not (tmp_path / "x.png").exists()


def test_a_stage_that_stores_nothing_has_nothing_to_describe(finished_images: Path) -> None:
    pipeline = at(finished_images)
    manifest = pipeline.runs.require(pipeline.recipe.chain(2))
    with pytest.raises(CacheError) as caught:
        describe(finished_images / "nowhere", manifest)
    assert str(caught.value) == (
        "stage tiny/2: stores no features; expected a features.zarr; "
        'set store = "features" in its [output], then run `gimstage extract 2 --recipe stages/tiny`'
    )
