"""Arrays opened in place: npy, npz and Zarr, and those that cannot be read."""

from pathlib import Path

import numpy as np
import pytest
import zarr

from gimstage.data.arrays import beside, open_array
from gimstage.errors import DataError

VALUES = np.arange(24, dtype=">i2").reshape(4, 3, 2)


def refusal(root: Path, inside: str) -> str:
    with pytest.raises(DataError) as info:
        open_array(root, inside).require_numbers()
    return str(info.value).replace(str(root), "DATA")


def zarr_array(path: Path, *, zarr_format: int, **more: object) -> None:
    settings = {"chunks": (2, 3, 2), "zarr_format": zarr_format} | more
    zarr.create_array(path, data=VALUES.astype("i2"), **settings)  # type: ignore[arg-type]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    np.save(tmp_path / "plain.npy", VALUES)
    np.save(tmp_path / "turned.npy", np.asfortranarray(VALUES))
    np.savez(tmp_path / "set.npz", x=VALUES, y=np.arange(4))
    np.savez_compressed(tmp_path / "small.npz", x=VALUES)
    zarr_array(tmp_path / "two.zarr", zarr_format=2)
    zarr_array(tmp_path / "three.zarr", zarr_format=3, shards=(4, 3, 2))
    zarr.create_group(tmp_path / "group.zarr", zarr_format=3)
    zarr_array(tmp_path / "group.zarr/0", zarr_format=3)
    return tmp_path


PLACES = ("plain.npy", "turned.npy", "set.npz/x", "small.npz/x", "two.zarr", "three.zarr")


@pytest.mark.parametrize("place", [*PLACES, "group.zarr/0"])
def test_an_array_of_every_kind_is_cut_alike(root: Path, place: str) -> None:
    opened = open_array(root, place)
    assert opened.shape == VALUES.shape
    assert np.array_equal(opened.values[1:3, :, 0], VALUES[1:3, :, 0])
    assert all(path.is_file() for path in opened.files.values())


def test_the_data_may_be_the_array_itself(root: Path) -> None:
    assert open_array(root / "plain.npy", ".").files == {"plain.npy": root / "plain.npy"}
    assert set(open_array(root / "two.zarr", ".").files) == {".zarray", "0.0.0", "1.0.0"}
    assert open_array(root / "set.npz", "x").shape == VALUES.shape


def test_members_of_an_npz_file_are_mapped_not_read(root: Path) -> None:
    assert isinstance(open_array(root, "set.npz/x").values.base, np.memmap)


def test_what_lies_beside_an_array_is_named_as_the_array_is(root: Path) -> None:
    assert list(beside(root, "set.npz/x")) == ["set.npz/y"]
    assert list(beside(root / "set.npz", "x")) == ["y"]
    assert list(beside(root, "two.zarr")) == ["plain.npy", "three.zarr", "turned.npy"]
    assert list(beside(root / "plain.npy", ".")) == []


def test_an_array_that_is_not_there_is_refused_with_those_that_are(root: Path) -> None:
    assert refusal(root, "set.npz/z") == (
        "DATA/set.npz: there is no 'z'; expected one of x, y; choose from: x, y"
    )
    assert refusal(root, "group.zarr") == (
        'DATA/group.zarr: a folder, and no array; expected one of 0; array = "0" in data.toml'
    )
    assert refusal(root, "plains.npy").endswith("did you mean 'plain.npy'?")


def test_objects_texts_and_complex_numbers_are_refused(root: Path) -> None:
    np.save(root / "ragged.npy", np.array([[1], [2, 3]], object), allow_pickle=True)
    np.save(root / "complex.npy", np.ones(3, complex))
    assert refusal(root, "ragged.npy") == (
        "DATA/ragged.npy: Python objects; expected integers or real numbers; "
        "save it as numbers: numpy.stack(x).astype('float32'), or ragged with offsets"
    )
    assert refusal(root, "complex.npy") == (
        "DATA/complex.npy: dtype complex128; expected integers or real numbers; "
        "save it as such: x.astype('float32')"
    )


def test_a_file_that_was_cut_short_is_refused(root: Path) -> None:
    (root / "plain.npy").write_bytes((root / "plain.npy").read_bytes()[:-2])
    (root / "set.npz").write_bytes((root / "set.npz").read_bytes()[:90])
    for place in ("plain.npy", "set.npz/x"):
        assert "it is cut short or damaged" in refusal(root, place)


def test_a_missing_chunk_is_refused(root: Path) -> None:
    (root / "two.zarr/1.0.0").unlink()
    assert refusal(root, "two.zarr") == (
        "DATA/two.zarr: 1 of 2 chunks are missing, first 1.0.0; expected every chunk; copy the "
        "array again; or, if these were left out for being empty, write it after "
        "zarr.config.set({'array.write_empty_chunks': True})"
    )


def test_metadata_that_zarr_cannot_read_is_refused(root: Path) -> None:
    (root / "three.zarr/zarr.json").write_text("{")
    assert refusal(root, "three.zarr").startswith(
        "DATA/three.zarr: it is cut short or damaged (JSONDecodeError"
    )
