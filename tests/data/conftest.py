"""Small valid folders: in STL-10's layout, of random pixels, and in LibriSpeech's, of noise."""

from pathlib import Path

import numpy as np
import pytest
from helpers.sounds import LABELS, SAMPLES, TEST, TRAIN, tone, write

COUNTS = {"train": 6, "test": 4, "unlabeled": 5}


@pytest.fixture
def pixels():
    """The images of every split in reading order, (n, 3, 96, 96) uint8."""
    rng = np.random.default_rng(0)
    return {
        split: rng.integers(0, 256, (count, 3, 96, 96), np.uint8) for split, count in COUNTS.items()
    }


@pytest.fixture
def folder(tmp_path: Path, pixels):
    """The folder that holds them, labels 1 2 3 1 2 3 … and the names cat, dog, owl."""
    root = tmp_path / "set"
    root.mkdir()
    for split, images in pixels.items():
        (root / f"{split}_X.bin").write_bytes(images.transpose(0, 1, 3, 2).tobytes())
        if split != "unlabeled":
            labels = np.arange(len(images)) % 3 + 1
            (root / f"{split}_y.bin").write_bytes(labels.astype(np.uint8).tobytes())
    (root / "class_names.txt").write_text("cat\ndog\nowl\n")
    return root


@pytest.fixture
def sounds():
    """What every file holds, 16-bit steps on the scale -1 … 1."""
    rng = np.random.default_rng(0)
    return {
        id_: rng.integers(-(2**15), 2**15, SAMPLES).astype(np.float32) / 2**15
        for id_ in TRAIN + TEST
    }


@pytest.fixture
def root(tmp_path, sounds):
    """A folder of six utterances, its lists beside the audio; no phone labels."""
    root = tmp_path / "set"
    for id_, sound in sounds.items():
        write(root, id_, sound)
    (root / "lists").mkdir()
    for name, ids in (("train", TRAIN), ("test", TEST)):
        (root / "lists" / f"{name}_split.txt").write_text("\n".join(ids) + "\n")
    return root


@pytest.fixture
def train_list(root):
    return root / "lists" / "train_split.txt"


@pytest.fixture
def phone_file(root):
    """Labels 0 1 2 … for two utterances of train."""
    path = root / "lists" / "converted_aligned_phones.txt"
    labels = " ".join(map(str, range(LABELS)))
    path.write_text(f"84-1-0001 {labels}\n19-2-0000 {labels}\n")
    return path


@pytest.fixture
def unlisted(root):
    """The folder without its lists, and ten utterances more of one speaker."""
    for name in ("train", "test"):
        (root / "lists" / f"{name}_split.txt").unlink()
    for number in range(10):
        write(root, f"7-1-{number:04}", tone(800))
    return root
