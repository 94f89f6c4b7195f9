"""Mean and deviation that a draft measures, before anything is imported."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gimstage.drafts.measure import measured
from gimstage.inputs import OwnImages
from gimstage.specs import OwnImagesSpec

KEYS = {
    "source": "images",
    "train_split": "train",
    "size_px": 24,
    "channels": "gray",
    "mean": [0.0],
    "std": [1.0],
    "views": {"crop_px": 16, "flip": False, "patch_px": 8, "stride_px": 4},
    "stored_views": {"kind": "crops", "count": 1, "seed": 0},
}


@pytest.mark.parametrize("fit", ["crop", "tile"])
def test_images_are_measured_over_the_split_that_is_asked_for(tmp_path: Path, fit: str) -> None:
    for split, value in {"train": 51, "test": 255}.items():
        (tmp_path / "own" / split).mkdir(parents=True)
        Image.fromarray(np.full((48, 48), value, np.uint8)).save(tmp_path / f"own/{split}/#1.png")
    spec = OwnImagesSpec.model_validate(KEYS | {"fit": fit})
    data = OwnImages.find(spec, tmp_path / "own", tmp_path / "runs")
    moments, _ = measured(data, data.split("train"))
    assert moments.mean == pytest.approx([0.2])
