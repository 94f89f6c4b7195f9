"""Stages on sequences of several channels, from an array of somebody's own."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.homes import CPU
from helpers.recipes import Table, stages_of, toml
from helpers.rows import read, whole
from torch.testing import assert_close

from gimstage.errors import DataError, RecipeError
from gimstage.inputs.rows import RowSource
from gimstage.progress import Watch
from gimstage.recipe.recipe import Recipe
from gimstage.stack import trained_stack
from gimstage.views import Spans
from gimstage.work.base import Settings
from gimstage.work.pipeline import Pipeline

N, T, C = 20, 400, 3
DATA: Table = {
    "source": "array",
    "train_split": "train",
    "array": "set.npz/x",
    "axes": "sample channel time",
    "frame_rows": 8,
    "mean": [1.0, 0.0, -1.0],
    "std": [1.0, 2.0, 3.0],
    "views": {"crop_frames": 32},
    "stored_views": {"kind": "utterances"},
}
CONV = {"kind": "conv1d", "channels": 6, "kernel": 8, "stride": 4, "padding": 2}
GRU = {"kind": "gru", "channels": 5, "bptt": True}


def values() -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((N, C, T)) * [[1], [2], [3]] + [[1], [0], [-1]]


def pipeline(home: Path, **changes: Any) -> Pipeline:
    """Two stages on the array, which is written unless it is there."""
    if not (home / "set.npz").exists():
        np.savez(home / "set.npz", x=values(), y=np.arange(N) % 2)
    folder = home / "series"
    folder.mkdir(exist_ok=True)
    (folder / "data.toml").write_text(toml(DATA | changes))
    first = stages_of("tiny_audio")[0]
    train = first["train"] | {"steps": 4, "batch_size": 4}
    for number, module in enumerate((CONV, GRU), start=1):
        stage = first | {"input": number - 1 or "data", "module": module, "train": train}
        stage["output"] = first["output"] | {"relu": module is CONV, "encoding": "float32"}
        (folder / f"{number}_x.toml").write_text(toml(stage))
    settings = Settings(device=CPU, workers=2, max_disk=None, checkpoint_every_s=1e9)
    recipe = Recipe.load(folder)
    return Pipeline.find(recipe, home, home / "runs", settings=settings, watch=Watch())


def test_stored_rows_of_several_channels_are_those_of_whole_sequences(tmp_path: Path) -> None:
    pipe = pipeline(tmp_path)
    pipe.run()
    stack = trained_stack(pipe.runs, pipe.recipe.chain(2))
    numbers = list(map(int, pipe.data.train.ids))
    raw = (values()[numbers[1]].T - DATA["mean"]) / DATA["std"]
    codes = stack.codes(torch.from_numpy(raw).float()[None])
    for number in (1, 2):
        stored = RowSource(tmp_path / f"runs/series/{number}/features.zarr")
        assert_close(whole(stored, 1), codes[f"series/{number}"], rtol=1e-4, atol=1e-5)
        assert stored.reader.attributes["rows_per_frame"] == 2


def test_rows_outside_a_sequence_are_zeros_and_those_inside_normalised(tmp_path: Path) -> None:
    source = pipeline(tmp_path).data.source()
    rows = read(source, Spans(np.array([0]), np.array([-3]), 10))
    assert rows.shape == (1, 10, C)
    assert (rows[0, :3] == 0).all()
    assert_close(rows, torch.cat([torch.zeros(1, 3, C), whole(source, 0)[:, :7]], 1))


def test_a_label_beside_the_array_is_stored_with_every_entry(tmp_path: Path) -> None:
    data = pipeline(tmp_path, label="y").data
    assert data.labels.tolist() == [int(each) % 2 for each in data.train.ids]
    assert pipeline(tmp_path).data.labels is None


def test_the_fingerprint_tells_which_samples_a_split_has(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    before = pipeline(tmp_path).data.fingerprint("train", runs)
    assert pipeline(tmp_path).data.fingerprint("train", runs) == before
    assert pipeline(tmp_path).data.fingerprint("test", runs) != before
    assert pipeline(tmp_path, entry_frames=40).data.fingerprint("train", runs) != before


def test_other_channels_than_mean_and_std_count_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError) as info:
        pipeline(tmp_path, mean=[0.0], std=[1.0]).data.split("train")
    assert str(info.value) == (
        f"{tmp_path}/set.npz, 'x': 3 channels; expected 1, as mean and std in data.toml have "
        "numbers; write one number a channel"
    )


def test_sequences_all_shorter_than_a_crop_are_refused_by_that_name(tmp_path: Path) -> None:
    data = pipeline(tmp_path, views={"crop_frames": 51}).data
    with pytest.raises(DataError) as info:
        data.long_enough(data.split("test"))
    assert str(info.value) == (
        f"{tmp_path}, split 'test': all {len(data.split('test'))} sequences are shorter than a "
        "crop of 51 frames; expected at least one that is as long; lower crop_frames in [views], "
        "or use longer sequences"
    )


def test_rows_that_no_frame_divides_into_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as info:
        pipeline(tmp_path, frame_rows=6)
    assert str(info.value) == (
        "stage series/1 [module] stride: a row every 4 rows, all strides multiplied; expected a "
        "divisor of 6, the rows of a frame at which crops begin"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"axes": "sample chanel time"},
            ' axes: "sample chanel time"; expected sample, time, channel, each once ',
        ),
        ({"std": [1.0]}, ": mean has 3 numbers, std 1; expected one of each a channel"),
        (
            {"offsets": "y"},
            ': offsets with an axis "sample"; expected one of the two',
        ),
        (
            {"axes": "time channel"},
            ": one long recording without entry_frames; expected the frames of the pieces it is "
            "cut into",
        ),
    ],
)
def test_keys_that_contradict_each_other_are_refused(
    tmp_path: Path, changes: Table, message: str
) -> None:
    with pytest.raises(RecipeError) as info:
        pipeline(tmp_path, **changes)
    assert message in str(info.value)
