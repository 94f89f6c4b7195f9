"""Excerpts of sequences of several channels."""

from pathlib import Path

import numpy as np

from gimstage.inputs import SeriesSet
from gimstage.report.excerpts import SNIPPET_FRAMES, Traces, excerpts_of
from gimstage.specs import SeriesDataSpec

SERIES = {
    "source": "array",
    "train_split": "train",
    "array": "x.npy",
    "axes": "sample time channel",
    "frame_rows": 4,
    "mean": [1.0, 1.0],
    "std": [2.0, 2.0],
    "views": {"crop_frames": 8},
    "stored_views": {"kind": "utterances"},
}


def test_an_excerpt_of_channels_in_time_has_its_frame_in_the_middle(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    values = np.ones((5, 400, 2))
    values[:, 50 * 4, 1] = 5  # the first row of frame 50
    np.save(tmp_path / "x.npy", values)
    traces = excerpts_of(SeriesSet(SeriesDataSpec.model_validate(SERIES), tmp_path))
    assert isinstance(traces, Traces)
    image = traces.cut(np.array([2, 50]))
    assert image.shape == (2, SNIPPET_FRAMES * 4)
    assert np.argwhere(image).tolist() == [[1, SNIPPET_FRAMES * 4 // 2]]
    axes = Figure().subplots()
    traces.draw(axes, image, 2.0)
    assert len(axes.lines) == 3
