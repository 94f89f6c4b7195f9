"""Large synthetic images as data: drawn when worked on, gone on with, looked at without."""

from pathlib import Path

import numpy as np
import pytest

from gimstage.data.demo_large import draw_large, large_labels
from gimstage.inputs import LargeImages, find_data
from gimstage.progress import Interrupted, Watch
from gimstage.specs import DemoLargeSpec

SPEC = DemoLargeSpec.model_validate(
    {
        "source": "demo_large",
        "train_split": "train",
        "channels": "gray",
        "mean": [0.5],
        "std": [0.08],
        "views": {"crop_px": 64, "flip": False},
        "size_px": 128,
        "demo": {"seed": 1, "train": 4, "test": 2},
    }
)


class Stopping(Watch):
    """A watch that asks to stop when it is looked at for the third time."""

    looks = 0

    def leave_if_asked(self) -> None:
        self.looks += 1
        if self.looks == 3:
            raise Interrupted


def data_of(runs: Path) -> LargeImages:
    data = find_data(SPEC, None, runs)
    assert isinstance(data, LargeImages)
    return data


def test_looking_draws_nothing(tmp_path: Path) -> None:
    data = data_of(tmp_path)
    assert (data.is_made, len(data.train), len(data.split("test"))) == (False, 4, 2)
    assert list(tmp_path.iterdir()) == []


def test_what_is_drawn_is_what_each_split_reads(tmp_path: Path) -> None:
    data = data_of(tmp_path)
    data.make(Watch())
    for split in ("train", "test"):
        for number, label in enumerate(large_labels(1, split, len(data.split(split)))):
            drawn = draw_large(1, split, number, label=int(label), size_px=128)
            assert np.array_equal(data.split(split).image(number), drawn)


def test_a_drawing_that_was_stopped_is_gone_on_with(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        data_of(tmp_path / "stopped").make(Stopping())
    assert not data_of(tmp_path / "stopped").is_made
    for runs in ("stopped", "whole"):
        data_of(tmp_path / runs).make(Watch())
    chunks = [data_of(tmp_path / runs).files("train") for runs in ("stopped", "whole")]
    assert [{n: p.read_bytes() for n, p in each.items()} for each in chunks][0] == {
        name: path.read_bytes() for name, path in chunks[1].items()
    }


def test_the_splits_have_fingerprints_of_their_own(tmp_path: Path) -> None:
    data = data_of(tmp_path)
    data.make(Watch())
    assert data.fingerprint("train", tmp_path) != data.fingerprint("test", tmp_path)
