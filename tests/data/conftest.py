"""A small valid folder in STL-10's layout, of random pixels."""

from pathlib import Path

import numpy as np
import pytest

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
