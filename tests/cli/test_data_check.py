"""`gimstage data check` of somebody's own data, and the lines that it gives to paste."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.commands import document, gimstage
from PIL import Image

from gimstage.data.demo import write_demo


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def pasted(line: str) -> dict[str, object]:
    """The keys of a line that is to be pasted into a data.toml."""
    keys = line.partition(", measured")[0]
    return tomllib.loads(keys.replace(", mean", "\nmean").replace(", std", "\nstd"))


def test_images_are_counted_and_measured_gray_and_in_colour(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(12):
        Image.new("RGB", (40, 50), (255, 0, 0)).save(tmp_path / f"photos/{number}.png")
    report = document("data", "check", "photos")
    assert report["split_train"]["samples"] + report["split_test"]["samples"] == 12
    gray, colour = map(pasted, report["to_paste"])
    assert gray == {"channels": "gray", "mean": [0.298039], "std": [1.0]}
    assert colour == {"channels": "rgb", "mean": [1.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]}


def test_sound_has_one_mean_and_nothing_is_imported(tmp_path: Path) -> None:
    (tmp_path / "calls").mkdir()
    for number in range(5):
        soundfile.write(tmp_path / f"calls/{number}.wav", np.tile([0.25, -0.25], 8_000), 16_000)
    (line,) = document("data", "check", "calls")["to_paste"]
    assert pasted(line) == {"mean": 0.0, "std": 0.25}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["calls"]


def test_an_array_has_a_mean_for_each_channel(tmp_path: Path) -> None:
    values = np.stack([np.full((10, 300), 2.0), np.tile([-1.0, 1.0], (10, 150))], 1)
    np.save(tmp_path / "x.npy", values)
    (line,) = document("data", "check", "x.npy")["to_paste"]
    assert pasted(line) == {"mean": [2.0, 0.0], "std": [1.0, 1.0]}


def test_the_screen_says_how_the_splits_are_told_and_what_to_paste(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.tile([1.0, -1.0], (10, 2, 150)))
    last = gimstage("data", "check", "x.npy").stdout.splitlines()[-2:]
    assert last[0].startswith("8 train, 2 test: no split is told")
    assert last[1].startswith("for data.toml: mean = [0.0, 0.0], std = [1.0, 1.0], measured over 8")


def test_the_layout_of_stl10_is_measured_too(tmp_path: Path) -> None:
    write_demo(tmp_path / "images", unlabeled=20, train=8, test=8, seed=1)
    report = document("data", "check", "images")
    (split,) = (split for split in report["splits"] if split["name"] == "unlabeled")
    gray, _ = map(pasted, report["to_paste"])
    assert gray["mean"] == [pytest.approx(split["gray_mean"], abs=1e-3)]
    assert gray["std"] == [pytest.approx(split["gray_std"], abs=1e-3)]
