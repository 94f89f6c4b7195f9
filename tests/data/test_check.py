"""The report on a folder and its contact sheet."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from gimstage.data.check import check, contact_sheet
from gimstage.errors import DataError


def test_the_report_counts_images_bytes_and_labels(folder):
    train, test, unlabeled = check(folder).splits
    assert (train.name, train.images, train.bytes) == ("train", 6, 6 * 27_648)
    assert (test.name, test.labels) == ("test", {"cat": 2, "dog": 1, "owl": 1})
    assert (unlabeled.name, unlabeled.images, unlabeled.labels) == ("unlabeled", 5, None)


def test_the_report_measures_brightness(folder, pixels):
    gray = [Image.fromarray(image.transpose(1, 2, 0)).convert("L") for image in pixels["test"]]
    values = np.stack([np.asarray(image) for image in gray]) / 255
    report = check(folder).splits[1]
    assert report.gray_mean == pytest.approx(values.mean(), rel=1e-6)
    assert report.gray_std == pytest.approx(values.std(), rel=1e-6)
    assert report.sampled == 4


def test_brightness_is_taken_from_images_spread_over_a_large_split(folder):
    stored = np.zeros((1500, 27_648), np.uint8)
    stored[750:] = 255
    (folder / "unlabeled_X.bin").write_bytes(stored.tobytes())
    report = check(folder).splits[2]
    assert (report.sampled, report.gray_mean, report.gray_std) == (1000, 0.5, 0.5)


def test_the_report_is_json(folder):
    report = check(folder).to_json()
    assert json.loads(json.dumps(report))["splits"][0]["labels"] == {"cat": 2, "dog": 2, "owl": 2}
    assert report["root"] == str(folder)


def test_a_damaged_folder_is_not_reported_on(folder):
    (folder / "test_y.bin").write_bytes(b"\x01")
    with pytest.raises(DataError, match="1 labels for 4 images"):
        check(folder)


def test_the_sheet_shows_each_class_in_its_row(tmp_path, folder, pixels):
    contact_sheet(folder, tmp_path / "sheet.png", columns=2)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB")).astype(int)
    corner = sheet.shape[0] - 4 * 98, sheet.shape[1] - (4 * 98 + 24)  # four rows and columns
    for split, index, row, left in (("train", 4, 1, 98), ("test", 2, 2, 2 * 98 + 24)):
        top, left = corner[0] + row * 98, corner[1] + left
        shown = sheet[top : top + 96, left : left + 96]
        assert np.array_equal(shown, pixels[split][index].transpose(1, 2, 0))


def test_a_sheet_that_cannot_be_written_is_a_refusal(tmp_path, folder):
    with pytest.raises(DataError) as info:
        contact_sheet(folder, tmp_path / "nowhere" / "sheet.png", columns=1)
    assert str(info.value) == (
        f"{tmp_path / 'nowhere' / 'sheet.png'}: it cannot be written (No such file or directory); "
        "choose another place"
    )


def test_importing_the_package_loads_neither_matplotlib_nor_torchvision():
    code = (
        "import sys, gimstage.data.check, gimstage.data.demo, gimstage.data.download\n"
        "print(sorted({'matplotlib', 'torchvision'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_splits_that_are_not_there_are_named(tmp_path, folder):
    for name in ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin", "class_names.txt"):
        (folder / name).unlink()
    report = check(folder)
    assert [split.name for split in report.splits] == ["unlabeled"]
    assert report.absent == ("train", "test")
    contact_sheet(folder, tmp_path / "sheet.png", columns=2)
    assert (tmp_path / "sheet.png").exists()


def test_black_images_are_counted(folder):
    path = folder / "test_X.bin"
    path.write_bytes(bytes(27_648) + path.read_bytes()[27_648:])
    assert [split.blank for split in check(folder).splits] == [0, 1, 0]


def test_pictures_that_are_not_read_are_counted_by_folder_and_reason(folder):
    (folder / "more").mkdir()
    for name in ("a.jpg", "more/b.PNG", "more/c.png", "val_X.bin"):
        (folder / name).write_bytes(b"x")
    report = check(folder)
    assert report.left == {
        ".": {".jpg, not STL-10's layout": 1, "val_X.bin, no split of STL-10's layout here": 1},
        "more": {".png, not STL-10's layout": 2},
    }
    assert report.notes == (
        "left in .: 1 .jpg, not STL-10's layout; 1 val_X.bin, no split of STL-10's layout here",
        "left in more: 2 .png, not STL-10's layout",
    )
