"""Synthetic pictures: layout, determinism, and what they can teach."""

import shutil
from collections import namedtuple

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier
from sklearn.preprocessing import StandardScaler

from gimstage.data.demo import CLASS_NAMES, write_demo
from gimstage.data.pixels import normalise
from gimstage.data.stl10 import open_split
from gimstage.errors import DataError

SMALL = {"unlabeled": 12, "train": 21, "test": 10}


def contents(root):
    return {path.name: path.read_bytes() for path in root.iterdir()}


def refusal(root, **counts):
    with pytest.raises(DataError) as info:
        write_demo(root, seed=1, **SMALL | counts)
    return str(info.value)


def gray_crops(root, split):
    """Centre crops, (N, 64, 64) float32 in [0, 1], and their labels."""
    opened = open_split(root, split)
    samples, edge = np.arange(len(opened)), np.full(len(opened), 16)
    crops = opened.crops(samples, edge, edge, np.zeros(len(opened), bool), 64)
    return normalise(crops, channels="gray", mean=[0], std=[1])[:, 0].numpy(), opened.labels


def spectra(images):
    """Log power spectrum of 16-px windows, its mean and spread over each image, (N, features)."""
    windows = np.lib.stride_tricks.sliding_window_view(images, (16, 16), (1, 2))[:, ::6, ::6]
    windows = windows - windows.mean((-1, -2), keepdims=True)
    power = np.abs(np.fft.rfft2(windows * np.hanning(16) * np.hanning(16)[:, None]))
    power = np.log(power / power.sum((-1, -2), keepdims=True) + 1e-3)[..., :6].reshape(
        *windows.shape[:3], -1
    )
    return np.concatenate([power.mean((1, 2)), power.std((1, 2))], 1)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo") / "set"
    write_demo(root, seed=1, unlabeled=1, train=600, test=300)
    return root


def accuracy(root, describe):
    (train, labels), (test, truth) = gray_crops(root, "train"), gray_crops(root, "test")
    scaler = StandardScaler().fit(describe(train))
    model = RidgeClassifier(alpha=10).fit(scaler.transform(describe(train)), labels)
    return model.score(scaler.transform(describe(test)), truth)


def test_it_is_a_folder_in_the_layout_of_stl10(tmp_path):
    write_demo(tmp_path / "a" / "set", seed=1, **SMALL)
    for split, count in SMALL.items():
        opened = open_split(tmp_path / "a" / "set", split)
        assert (len(opened), opened.class_names) == (count, CLASS_NAMES)


def test_a_seed_always_gives_the_same_bytes(tmp_path):
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        write_demo(tmp_path / name, seed=seed, **SMALL)
    one, same, other = (contents(tmp_path / name) for name in ("one", "same", "other"))
    assert one == same
    assert one["train_X.bin"] != other["train_X.bin"]


def test_labels_are_balanced_and_in_no_order(root):
    labels = open_split(root, "train").labels
    assert np.bincount(labels).tolist() == [60] * 10
    assert not np.array_equal(labels, np.arange(600) % 10)


def test_no_picture_of_one_split_is_in_another(root):
    train, test = (open_split(root, split).images for split in ("train", "test"))
    assert not {image.tobytes() for image in train} & {image.tobytes() for image in test}


def test_raw_pixels_say_little_of_the_class(root):
    assert accuracy(root, lambda images: images.reshape(len(images), -1)) < 0.35


def test_local_spectra_tell_the_classes_apart(root):
    assert accuracy(root, spectra) > 0.6


def test_the_upper_half_of_a_picture_is_known_by_its_lower_half(root):
    crops = gray_crops(root, "test")[0]
    halves = [StandardScaler().fit_transform(spectra(h)) for h in (crops[:, :32], crops[:, 32:])]
    distance = np.linalg.norm(halves[0][:, None] - halves[1][None], axis=-1)
    assert (distance.argmin(1) == np.arange(300)).mean() > 20 / 300  # twenty times chance


def test_brightness_above_says_little_of_brightness_below(root):
    crops = gray_crops(root, "test")[0]
    above, below = crops[:, :16].mean((1, 2)), crops[:, 48:].mean((1, 2))
    assert abs(np.corrcoef(above, below)[0, 1]) < 0.5


def test_an_empty_folder_is_filled(tmp_path):
    write_demo(tmp_path, seed=1, **SMALL)
    assert len(contents(tmp_path)) == 6


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine").write_bytes(b"mine")
    assert refusal(tmp_path) == (
        f"{tmp_path}: it holds something already; expected a new folder; remove it first"
    )
    assert contents(tmp_path) == {"mine": b"mine"}


def test_a_split_of_no_pictures_is_refused(tmp_path):
    message = "split 'test': 0 pictures; expected at least 1; ask for more"
    assert refusal(tmp_path / "set", test=0) == message


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    usage = namedtuple("usage", "total used free")(2 * 10**9, 10**9, 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    monkeypatch.setattr("gimstage.data.demo.draw_pictures", full)
    assert refusal(tmp_path / "set") == (
        f"{tmp_path / 'set'}: it cannot be written (No space left on device); "
        "nothing written is lost: make room (1,000,000,000 bytes are free), "
        "then run the same command again"
    )
    assert contents(tmp_path) == {}
