from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.manifests import random, write_store
from torch import Tensor

from gimstage.cache import FeatureReader
from gimstage.report import neurons
from gimstage.report.neurons import TopK, search

LENGTHS = (9, 21, 3, 16, 12)  # rows of each utterance
PER_FRAME = 4


def store_at(path: Path, arrays: dict[str, Tensor], **about: Any) -> Path:
    write_store(path, arrays, **about)
    return path


@pytest.fixture
def grids() -> Tensor:
    return random(11, 2, 3, 3, 5, 2, 2)


@pytest.fixture
def store(tmp_path: Path, grids: Tensor) -> Path:
    return store_at(tmp_path / "features.zarr", {"features": grids})


@pytest.fixture
def speech(tmp_path: Path) -> tuple[Path, Tensor]:
    rows = random(sum(LENGTHS), 3)
    offsets = np.cumsum([0, *LENGTHS]).astype(np.int64)
    small = {"offsets": offsets}
    path = store_at(tmp_path / "a.zarr", {"features": rows}, small=small, rows_per_10_ms=PER_FRAME)
    return path, rows


def by_hand(pooled: Tensor, keep: int) -> tuple[Tensor, np.ndarray[Any, Any]]:
    """The k best samples of every channel and their best places, of pooled (N, V, G, G, C)."""
    flat = pooled.flatten(1, 3)
    best, at = flat.max(1)
    order = best.argsort(stable=True, dim=0, descending=True)[:keep]
    inside = np.unravel_index(at.gather(0, order).numpy(), pooled.shape[1:4])
    return best.gather(0, order), np.stack([order.numpy(), *inside], -1)


@pytest.mark.parametrize("block_bytes", [1, 2000, 10**9])
def test_one_pass_finds_what_sorting_everything_finds(
    store: Path, grids: Tensor, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neurons, "BLOCK_BYTES", block_bytes)
    found = search(FeatureReader(store), 4)
    values, places = by_hand(grids.mean((-2, -1)), 4)
    torch.testing.assert_close(found.values, values)
    assert np.array_equal(found.places, places)


def test_the_spread_is_that_of_all_places(store: Path, grids: Tensor) -> None:
    pooled = grids.mean((-2, -1)).flatten(0, 3).double()
    spread = search(FeatureReader(store), 4).spread
    torch.testing.assert_close(spread, pooled.std(0, correction=0))


def test_codes_are_looked_at_where_they_are_stored(tmp_path: Path, grids: Tensor) -> None:
    codes = random(11, 2, 3, 3, 5)
    path = store_at(tmp_path / "both.zarr", {"features": grids, "codes": codes})
    values, places = by_hand(codes, 2)
    found = search(FeatureReader(path), 2)
    assert torch.equal(found.values, values)
    assert np.array_equal(found.places, places)


def test_memory_is_a_block_however_long_the_store_is(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    read = FeatureReader.read

    def spy(self: FeatureReader, name: str, out: Tensor, starts: Any) -> None:
        sizes.append(out.nbytes)
        read(self, name, out, starts)

    monkeypatch.setattr(FeatureReader, "read", spy)
    monkeypatch.setattr(neurons, "BLOCK_BYTES", 3000)
    search(FeatureReader(store), 4)
    assert max(sizes) <= 3000
    assert sum(sizes) == 11 * 2 * 9 * 5 * 4 * 4  # and every byte is read once


@pytest.mark.parametrize("tile_frames", [1, 2, 400])
def test_speech_is_searched_by_the_means_of_ten_milliseconds(
    speech: tuple[Path, Tensor], tile_frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neurons, "TILE_FRAMES", tile_frames)
    path, rows = speech
    best = []
    for entry in rows.split(LENGTHS):
        frames = torch.stack([part.mean(0) for part in entry.split(PER_FRAME)])
        best.append(frames.max(0))
    values, order = torch.stack([b.values for b in best]).sort(0, descending=True)
    frame = torch.stack([b.indices for b in best]).gather(0, order)
    found = search(FeatureReader(path), 2)
    torch.testing.assert_close(found.values, values[:2])
    assert np.array_equal(found.places, torch.stack([order, frame], -1)[:2].numpy())


def test_fewer_samples_than_asked_for_leave_places_empty(tmp_path: Path, grids: Tensor) -> None:
    path = store_at(tmp_path / "two.zarr", {"features": grids[:2]})
    values = search(FeatureReader(path), 4).values
    assert torch.isfinite(values).sum(0).tolist() == [2] * 5


def test_of_equal_activations_the_first_sample_stays() -> None:
    best = TopK(2, channels=1)
    for sample in range(5):
        best.offer(torch.ones(1, 1), torch.tensor([[sample]]))
    assert best.places.flatten().tolist() == [0, 1]


def test_the_most_varied_channels_are_chosen_and_none_that_never_moves(
    tmp_path: Path, grids: Tensor
) -> None:
    scaled = grids * torch.tensor([1.0, 0.0, 3.0, 2.0, 0.0])[:, None, None]
    path = store_at(tmp_path / "scaled.zarr", {"features": scaled})
    assert search(FeatureReader(path), 1).varied(8) == [2, 3, 0]


def test_progress_ends_with_all_rows(store: Path) -> None:
    told: list[tuple[int, int]] = []
    search(FeatureReader(store), 1, lambda done, total: told.append((done, total)))
    assert told[-1] == (11, 11)
