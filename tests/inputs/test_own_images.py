"""Image files of somebody's own, from a folder to batches."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gimstage.errors import DataError
from gimstage.inputs import OwnImages, PixelSource
from gimstage.progress import Watch
from gimstage.specs import OwnImagesSpec

TABLE: dict[str, Any] = {
    "source": "images",
    "train_split": "train",
    "size_px": 24,
    "fit": "crop",
    "channels": "gray",
    "mean": [0.5],
    "std": [0.25],
    "label": "class",
    "views": {"crop_px": 16, "flip": True, "patch_px": 8, "stride_px": 4},
    "stored_views": {"kind": "crops", "count": 1, "seed": 1},
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six images of two classes in two splits, of several sizes and kinds."""
    rng = np.random.default_rng(1)
    for number in range(6):
        folder = tmp_path / "photos" / ("test" if number == 5 else "train") / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        height, width = 24 + 10 * number, 54
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
        image.save(folder / f"{number}.{('png', 'jpg')[number % 2]}")
    return tmp_path / "photos"


def images(folder: Path, **keys: Any) -> OwnImages:
    spec = OwnImagesSpec.model_validate(TABLE | keys)
    return OwnImages.find(spec, folder, folder.parent / "runs")


def made(folder: Path, **keys: Any) -> OwnImages:
    data = images(folder, **keys)
    data.make(Watch())
    return data


def test_files_become_squares_in_the_order_of_their_names(photos: Path) -> None:
    train = made(photos).split("train")
    assert list(train.ids) == [f"train/{n}" for n in ("a/0.png", "a/2.png", "a/4.png")] + [
        f"train/{n}" for n in ("b/1.jpg", "b/3.jpg")
    ]
    assert train.image(4).shape == (1, 24, 24)


@pytest.mark.parametrize("fit", ["crop", "tile"])
def test_what_is_planned_of_a_split_is_what_is_made(photos: Path, fit: str) -> None:
    planned, split = images(photos, fit=fit).split("train"), made(photos, fit=fit).split("train")
    assert planned.ids == split.ids
    assert len(planned) == len(split) == (5 if fit == "crop" else 33)
    assert (planned.column("class").values == split.column("class").values).all()


def test_what_is_only_planned_has_no_pixels(photos: Path) -> None:
    with pytest.raises(DataError) as info:
        images(photos).split("train").image(0)
    assert str(info.value) == (
        f"{photos}: the images are not imported yet; any command that trains or probes imports them"
    )


def test_squares_are_what_a_stage_reads(photos: Path) -> None:
    data = made(photos, fit="tile")
    source = data.source()
    assert isinstance(source, PixelSource)
    crops = data.spec.live_views().centre(np.arange(3, dtype=np.int64))
    raw = source.fill(source.buffer(3, 3), crops)
    with Image.open(photos / "train/a/0.png") as image:
        gray = np.asarray(image.convert("L"))
    assert (raw[0, 0].numpy() == gray[4:20, 4:20]).all()
    assert (raw[2, 0].numpy() == gray[4:20, 34:50]).all()  # the last tile ends where the image does
    assert source.normalised(raw)[0, 0, 0, 0] == pytest.approx((gray[4, 4] / 255 - 0.5) / 0.25)


def test_classes_are_the_same_in_every_split(photos: Path) -> None:
    data = made(photos)
    assert data.split("train").column("class").classes == ("a", "b")
    assert data.split("test").column("class").values.tolist() == [1]


def test_one_broken_file_is_named_before_anything_is_imported(photos: Path) -> None:
    (photos / "train/a/2.png").write_bytes(b"")
    data = images(photos)
    with pytest.raises(DataError) as info:
        data.make(Watch())
    assert str(info.value) == (
        f"{photos}: 1 of 6 files cannot be read: 1 × empty (train/a/2.png); expected files "
        'that are whole; write on_bad = "skip" into data.toml to leave them out, or remove them'
    )
    assert not data.folder.exists()


def test_broken_files_are_left_out_where_the_recipe_says_so(photos: Path) -> None:
    (photos / "train/a/2.png").write_bytes(b"")
    path = photos / "train/b/1.jpg"
    path.write_bytes(path.read_bytes()[:-500])
    data = made(photos, on_bad="skip")
    assert list(data.split("train").ids) == ["train/a/0.png", "train/a/4.png", "train/b/3.jpg"]
    assert data.split("train").column("class").values.tolist() == [0, 0, 1]
    assert data.notes() == [
        "5 train, 1 test: told by the folders",
        "left out: 1 × empty (train/a/2.png)",
        "left out: 1 × cut short or damaged (train/b/1.jpg)",
    ]


def test_a_split_of_which_nothing_can_be_read_is_refused(photos: Path) -> None:
    (photos / "test/b/5.jpg").write_bytes(b"")
    with pytest.raises(DataError) as info:
        made(photos, on_bad="skip").split("test")
    assert str(info.value) == (
        f"{photos}, split 'test': none of its files can be read; expected one at least; "
        "see what `gimstage data check` says"
    )


def test_a_recipe_without_data_is_told_what_it_needs(photos: Path) -> None:
    with pytest.raises(DataError) as info:
        OwnImages.find(OwnImagesSpec.model_validate(TABLE), None, photos)
    assert str(info.value) == (
        "--data: not given; expected the folder that holds image files, such as .jpg, .png, .tif "
        "or .webp; add --data DIR"
    )


def test_gray_files_of_16_bits_are_kept_whole(photos: Path) -> None:
    deep = np.arange(24 * 24, dtype=np.uint16).reshape(24, 24) * 100
    Image.fromarray(deep).save(photos / "train/a/0.png")
    split = made(photos).split("train")
    assert (split.dtype, split.scale) == (np.uint16, 65535)
    assert (split.image(0)[0] == deep).all()


def test_how_files_are_found_is_no_part_of_what_they_are(photos: Path) -> None:
    table = OwnImagesSpec.model_validate(TABLE | {"on_bad": "skip", "table": "labels.csv"})
    assert table.identity() == OwnImagesSpec.model_validate(TABLE).identity()


def test_labels_have_a_digest_of_their_own_and_the_fingerprint_counts_none(photos: Path) -> None:
    runs = photos.parent / "runs"
    before = made(photos)
    first = before.fingerprint("train", runs), before.learned_sha256("sample")
    rows = [f"{id_},{id_.split('/')[0]},{n % 2}" for n, id_ in enumerate(before.originals)]
    (photos / "labels.csv").write_text("path,split,class\n" + "\n".join(rows) + "\n")
    after = made(photos)
    assert after.fingerprint("train", runs) == first[0]
    assert after.learned_sha256("sample") != first[1]
    assert made(photos, label=None).learned_sha256("sample") is None


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.symlink_to("nowhere"), "a link that leads nowhere"),
        (os.mkfifo, "no regular file"),
    ],
)
def test_what_is_no_file_is_a_bad_file(
    photos: Path, make: Callable[[Path], None], why: str
) -> None:
    make(photos / "train/a/9.png")
    with pytest.raises(DataError) as caught:
        made(photos)
    assert str(caught.value) == (
        f"{photos}: 1 of 7 files cannot be read: 1 × {why} (train/a/9.png); expected files that "
        'are whole; write on_bad = "skip" into data.toml to leave them out, or remove them'
    )
    assert len(made(photos, on_bad="skip").split("train")) == 5
