"""What arrays are taken for where nobody says what their axes are."""

from pathlib import Path

import numpy as np
import pytest

from gimstage.data.arraykinds import image_axes, largest_of, numbers_in
from gimstage.data.arrays import OpenArray
from gimstage.data.sources import source_in
from gimstage.errors import DataError


def axes(shape: tuple[int, ...], dtype: str) -> str | None:
    values = np.broadcast_to(np.zeros(1, dtype), shape)
    return image_axes(OpenArray("x", values, {}))


@pytest.mark.parametrize(
    ("shape", "dtype", "found"),
    [
        ((100, 3, 96, 96), "uint8", "sample channel y x"),
        ((100, 96, 96, 3), "float32", "sample y x channel"),
        ((100, 28, 28), "uint8", "sample y x"),
        ((3, 8192, 8192), "uint8", "channel y x"),
        ((8192, 8192, 3), "uint8", "y x channel"),
        ((5000, 5000), "uint16", "y x"),
        ((1, 2, 30, 512, 512), "uint16", "t channel z y x"),
    ],
)
def test_arrays_of_pixels_are_images(shape: tuple[int, ...], dtype: str, found: str) -> None:
    assert axes(shape, dtype) == found


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((100, 1000, 8), "float32"),
        ((100, 1000, 3), "uint16"),
        ((100, 1000, 64), "uint16"),
        ((100_000, 8), "uint8"),
        ((100_000, 64), "int16"),
        ((100_000,), "uint8"),
        ((2, 2, 2, 2, 2, 2), "uint8"),
    ],
)
def test_arrays_of_other_numbers_or_lengths_are_sequences(
    shape: tuple[int, ...], dtype: str
) -> None:
    assert axes(shape, dtype) is None


def test_the_largest_array_tells_the_source(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((9, 28, 28), "u1"), eeg=np.zeros((99, 8)), t=["a"])
    assert sorted(numbers_in(tmp_path / "x.npz")) == ["eeg", "x"]
    assert source_in(tmp_path / "x.npz") == source_in(tmp_path) == "image_array"
    np.save(tmp_path / "eeg.npy", np.zeros((9999, 8)))
    assert source_in(tmp_path) == "array"


def test_a_place_without_numbers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        largest_of({}, tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: no array of numbers; expected one at least; "
        "save numbers with numpy.save, or with zarr"
    )


def test_a_container_of_samples_is_to_be_written_out_first(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        source_in(tmp_path)
    assert str(caught.value).endswith(
        f"; write its samples out to a new folder: `gimstage data import {tmp_path} NEW`"
    )


def test_an_npz_file_that_is_none_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"none")
    with pytest.raises(DataError) as caught:
        source_in(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/x.npz: it is cut short or damaged (")
