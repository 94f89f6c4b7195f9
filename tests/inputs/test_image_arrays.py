"""Images in arrays of somebody's own, mapped or imported, from the disk to batches."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from gimstage.data import image_arrays
from gimstage.errors import DataError
from gimstage.inputs import ArrayImages
from gimstage.progress import Watch
from gimstage.specs import ImageArraySpec

RNG = np.random.default_rng(5)
X = RNG.integers(0, 256, (10, 3, 24, 24), np.uint8)
TABLE: dict[str, Any] = {
    "source": "image_array",
    "train_split": "train",
    "array": "x.npy",
    "axes": "sample channel y x",
    "size_px": 24,
    "channels": "rgb",
    "mean": [0.5] * 3,
    "std": [0.25] * 3,
    "views": {"crop_px": 16, "flip": True, "patch_px": 8, "stride_px": 4},
    "stored_views": {"kind": "crops", "count": 1, "seed": 1},
}
MONO: dict[str, Any] = {"channels": 1, "mean": [0.0], "std": [1.0]}


def images(root: Path, **keys: Any) -> ArrayImages:
    return ArrayImages.find(ImageArraySpec.model_validate(TABLE | keys), root, root / "runs")


def made(root: Path, **keys: Any) -> ArrayImages:
    data = images(root, **keys)
    data.make(Watch())
    return data


def every(data: ArrayImages) -> NDArray[Any]:
    """All squares in their order, from whichever split they are in."""
    found = {}
    for name, numbers in data.squares.splits.items():
        split = data.split(name)
        found |= {int(n): split.image(i) for i, n in enumerate(numbers)}
    return np.stack([found[n] for n in range(len(found))])


def saved(path: Path, values: NDArray[Any], **settings: Any) -> Path:
    """An array as npy, or as Zarr where the name says so."""
    if path.suffix == ".npy":
        np.save(path, values)
    else:
        zarr.create_array(path, data=values, **settings)
    return path


def test_images_of_an_npy_are_cut_from_where_they_lie(tmp_path: Path) -> None:
    saved(tmp_path / "x.npy", X)
    data = made(tmp_path)
    assert (every(data) == X).all()
    assert not (tmp_path / "runs").exists()
    train = data.split("train")
    assert (train.size_px, train.channels, str(train.dtype), train.scale) == (24, 3, "uint8", 255)
    cut = train.crops(*(np.array([n]) for n in (1, 3, 2, 1)), size_px=16)
    assert (cut[0].numpy() == X[train.numbers[1], :, 3:19, 2:18][..., ::-1]).all()


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("chunks", [(4, 1, 10, 24), (1, 3, 24, 24), (10, 3, 24, 24)])
def test_images_of_zarr_are_imported_once(
    tmp_path: Path, version: int, chunks: tuple[int, ...]
) -> None:
    saved(tmp_path / "x.zarr", X, chunks=chunks, zarr_format=version)
    data = images(tmp_path, array="x.zarr")
    assert not data.is_made
    planned = {name: data.split(name).ids for name in data.squares.splits}
    data.make(Watch())
    assert (every(data) == X).all()
    assert {name: data.split(name).ids for name in data.squares.splits} == planned
    (folder,) = (tmp_path / "runs/data").glob("*.zarr")
    assert (zarr.open_group(folder, mode="r")["images"][:] == X).all()
    assert images(tmp_path, array="x.zarr").is_made


@pytest.mark.parametrize("block_bytes", [1, 1 << 26])
def test_one_large_image_becomes_squares_that_cover_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(image_arrays, "_BLOCK_BYTES", block_bytes)
    image = RNG.integers(0, 60_000, (75, 50), np.uint16)
    saved(tmp_path / "x.zarr", image, chunks=(64, 16))
    keys = MONO | {"array": "x.zarr", "axes": "y x"}
    data = made(tmp_path, **keys)
    places = [(y, x) for y in (0, 24, 48, 51) for x in (0, 24, 26)]
    tiles = np.stack([image[None, y : y + 24, x : x + 24] for y, x in places])
    assert (every(data) == tiles).all()
    assert data.split("train").ids[-1] == "0:51,0"
    assert data.split("train").scale == 65535
    assert data.notes()[0] == (
        "10 train, 2 test: no split is told, so the last fifth of the image is test"
    )
    saved(tmp_path / "x.npy", image)
    assert (every(images(tmp_path, **keys | {"array": "x.npy"})) == tiles).all()


def test_axes_may_stand_in_any_order_and_others_are_samples(tmp_path: Path) -> None:
    stack = RNG.normal(size=(2, 24, 24, 3, 2)).astype(">f8")
    saved(tmp_path / "x.zarr", stack)
    keys = {"axes": "t y x z channel", "channels": 2, "mean": [0.0] * 2, "std": [1.0] * 2}
    squares = every(made(tmp_path, array="x.zarr", **keys))
    assert squares.dtype == np.float32
    assert squares == pytest.approx(stack.transpose(0, 3, 4, 1, 2).reshape(6, 2, 24, 24), rel=1e-6)


def test_the_finest_level_of_a_microscope_is_an_array_of_a_group(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "cells.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=X[:1, :1])
    group.create_array("1", data=X[:1, :1, ::2, ::2])
    keys = MONO | {"array": "0", "axes": "t channel y x"}
    data = images(tmp_path / "cells.zarr", **keys)
    assert data.squares.size == {"t": 1, "channel": 1, "y": 24, "x": 24}
    with pytest.raises(DataError) as caught:
        images(tmp_path / "cells.zarr", **keys | {"array": "."})
    assert str(caught.value) == (
        f"{tmp_path}/cells.zarr: a folder, and no array; expected one of 0, 1; "
        'array = "0" in data.toml'
    )


def test_arrays_beside_it_are_labels_and_tell_the_splits(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", x=X, digit=np.arange(10) % 3, split=["train", "test"] * 5)
    data = images(tmp_path, array="set.npz/x", label="digit")
    assert data.split("test").column("digit").values.tolist() == [1, 0, 2, 1, 0]
    assert data.labels is not None
    assert data.labels.tolist() == [0, 2, 1, 0, 2]


@pytest.mark.parametrize("name", ["x.npy", "x.zarr"])
def test_labels_have_a_digest_of_their_own(tmp_path: Path, name: str) -> None:
    saved(tmp_path / name, X)
    digests = set()
    for labels in (np.arange(10) % 3, np.arange(10) % 2):
        np.save(tmp_path / "digit.npy", labels)
        data = made(tmp_path, array=name, label="digit")
        digests.add((data.fingerprint("test", tmp_path), data.learned_sha256("sample")))
    (one, first), (other, second) = digests
    assert one == other
    assert first != second


def refusal(root: Path, **keys: Any) -> str:
    with pytest.raises(DataError) as caught:
        every(made(root, **keys))
    return str(caught.value)


def test_images_smaller_than_a_square_are_refused(tmp_path: Path) -> None:
    saved(tmp_path / "x.npy", X)
    assert refusal(tmp_path, size_px=32) == (
        f"{tmp_path}/x.npy: images of 24 × 24 px; expected at least 32 × 32; "
        "lower size_px to 24 in data.toml, and crop_px with it"
    )


def test_other_axes_and_other_channels_are_refused(tmp_path: Path) -> None:
    saved(tmp_path / "x.npy", X)
    assert refusal(tmp_path, axes="channel y x") == (
        f"{tmp_path}/x.npy: 4 axes of lengths (10, 3, 24, 24); expected as many as "
        'axes = "channel y x" of data.toml names; name every axis of the array'
    )
    assert refusal(tmp_path, channels="gray", mean=[0.5], std=[1.0]) == (
        f"{tmp_path}/x.npy: 3 channels; expected 1; "
        "channels = 3 in data.toml, and so many of mean and std"
    )


@pytest.mark.parametrize("name", ["x.npy", "x.zarr"])
def test_a_value_that_is_no_number_is_named(tmp_path: Path, name: str) -> None:
    values = X[:, :1].astype(np.float32)
    values[3, 0, 5, 6] = np.nan
    saved(tmp_path / name, values)
    assert refusal(tmp_path, array=name, **MONO) == (
        f"{tmp_path}/{name}, image 3: nan in channel 0; expected finite numbers; "
        "fill the gaps: numpy.nan_to_num(x, copy=False), then save the array again"
    )


def test_a_chunk_that_cannot_be_decoded_is_a_message(tmp_path: Path) -> None:
    saved(tmp_path / "x.zarr", X, chunks=(5, 3, 24, 24))
    (tmp_path / "x.zarr/c/1/0/0/0").write_bytes(b"no chunk")
    message = refusal(tmp_path, array="x.zarr")
    assert message.startswith(f"{tmp_path}/x.zarr, image 5: its pixels cannot be read (")
    assert message.endswith("); copy the array again")
