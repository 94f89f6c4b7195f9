"""Data sets of torchvision's, written out as PNG with a table."""

import csv
import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.commands import gimstage
from PIL import Image
from torchvision import datasets

from gimstage.data.foreign import open_foreign, write_foreign
from gimstage.errors import DataError
from gimstage.progress import Watch

RNG = np.random.default_rng(3)
PIXELS = RNG.integers(0, 256, (12, 32, 32, 3), np.uint8)
LABELS = [0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 1, 0]


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve images as CIFAR-10 lies on a disk, with checksums of their own: two a file."""
    folder = tmp_path / "sets/cifar-10-batches-py"
    folder.mkdir(parents=True)

    def put(name: str, content: Any) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    parts = []
    for number in range(6):
        own = slice(2 * number, 2 * number + 2)
        planes = PIXELS[own].transpose(0, 3, 1, 2).reshape(2, -1)
        name = f"data_batch_{number + 1}" if number < 5 else "test_batch"
        parts.append(put(name, {"data": planes, "labels": LABELS[own]}))
    meta = put("batches.meta", {"label_names": ["cat", "dog"]})
    monkeypatch.setattr(datasets.CIFAR10, "train_list", parts[:5])
    monkeypatch.setattr(datasets.CIFAR10, "test_list", parts[5:])
    told = {"filename": meta[0], "key": "label_names", "md5": meta[1]}
    monkeypatch.setattr(datasets.CIFAR10, "meta", told)
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("inside", [True, False])
def test_the_pixels_and_classes_of_cifar_come_out_as_they_were(
    cifar: Path, tmp_path: Path, inside: bool
) -> None:
    source = cifar if inside else cifar.parent
    written = write_foreign(open_foreign(source), tmp_path / "out", Watch())
    assert str(written) == (
        f"CIFAR10 of torchvision is in {tmp_path}/out: train 10, test 2; labels: class"
    )
    told = rows(tmp_path / "out")
    assert [row["class"] for row in told] == [["cat", "dog"][label] for label in LABELS]
    assert [row["split"] for row in told] == ["train"] * 10 + ["test"] * 2
    for row, pixels in zip(told, PIXELS, strict=True):
        with Image.open(tmp_path / "out" / row["path"]) as image:
            assert (np.asarray(image) == pixels).all()


def test_what_torchvision_does_not_vouch_for_is_not_unpickled(cifar: Path, tmp_path: Path) -> None:
    (cifar / "test_batch").write_bytes(pickle.dumps({"data": PIXELS[:1], "labels": [0]}))
    with pytest.raises(DataError) as caught:
        open_foreign(cifar)
    assert str(caught.value) == (
        f"{cifar}: torchvision cannot read it (Dataset not found or corrupted. You can use "
        "download=True to download it); expected the files of CIFAR10 of torchvision, below its "
        "root; images of one class each; fetch the set again"
    )


def test_images_like_mnists_are_found_by_their_names(tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST/raw"
    raw.mkdir(parents=True)
    for name, count in (("train", 3), ("t10k", 2)):
        images = RNG.integers(0, 256, (count, 28, 28), np.uint8)
        head = np.array([0x803, count, 28, 28], ">i4").tobytes()
        (raw / f"{name}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = np.array([0x801, count], ">i4").tobytes()
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(head + bytes(range(count)))
    result = gimstage("data", "import", raw, tmp_path / "out")
    assert result.stdout == (
        f"FashionMNIST of torchvision is in {tmp_path}/out: train 3, test 2; labels: class\n"
        f"`gimstage init NAME --data {tmp_path}/out` writes a recipe for it\n"
    )
    assert [row["class"] for row in rows(tmp_path / "out")[3:]] == ["T-shirt/top", "Trouser"]


def test_a_class_that_torchvision_lacks_is_refused_with_the_nearest(tmp_path: Path) -> None:
    result = gimstage("data", "import", tmp_path, tmp_path / "out", "--torchvision", "Food102")
    assert result.stderr == (
        "error --torchvision: 'Food102'; expected a class of torchvision.datasets; "
        "did you mean 'Food101'?\n"
    )
    assert result.exit_code == 1


def test_a_data_set_beside_the_folder_that_was_named_is_not_taken(cifar: Path) -> None:
    (cifar.parent / "mine").mkdir()
    with pytest.raises(DataError) as caught:
        open_foreign(cifar.parent / "mine")
    assert str(caught.value) == (
        f"{cifar.parent}/mine: no file at all; expected a data set of torchvision, parquet or "
        "arrow files, or tar archives; name a data set of torchvision with --torchvision, such as "
        "--torchvision Food101"
    )
