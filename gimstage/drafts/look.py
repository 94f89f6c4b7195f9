"""A look at some data: which source reads it, and the facts that a recipe depends on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gimstage.data.kinds import Kind
from gimstage.data.sources import source_in
from gimstage.data.splits import ImageSplit, SequenceSplit, Split
from gimstage.drafts.choices import CHOICES
from gimstage.drafts.facts import (
    TEST_SPLITS,
    Choice,
    Facts,
    ImageFacts,
    SequenceFacts,
    Task,
    train_split_of,
)
from gimstage.drafts.measure import measured, splits_of, told_apart
from gimstage.drafts.page import Table
from gimstage.inputs import DataSet, find_data
from gimstage.specs import DATA_SPECS

OWN_TASKS: dict[str, tuple[Task, ...]] = {
    "stl10": (Task("class", {"task": "class"}, ("class",)),),
    "librispeech": (
        Task("speaker", {"task": "speaker"}, ("speaker",)),
        Task("phone", {"task": "phone"}, ("phone",)),
    ),
}
OWN_TASKS_LIKE = ("class", "speaker")
NARROW: dict[Kind, Table] = {
    "images": {
        "views": {"crop_px": 1, "patch_px": 1, "stride_px": 1, "flip": False},
        "stored_views": {"kind": "crops", "count": 1, "seed": 0},
    },
    "speech": {"views": {"crop_frames": 1}, "stored_views": {"kind": "utterances"}},
}


@dataclass(frozen=True)
class Found:
    """Some data as its source gives it.

    Args:
        choice: what was chosen for the source.
        data: the data set, which trains on the split that suits best.
        splits: by name; planned ones where the data has still to be imported.
    """

    choice: Choice
    data: DataSet
    splits: dict[str, Split]

    @property
    def train(self) -> Split:
        """The split that a recipe trains on."""
        return self.splits[self.data.spec.train_split]


def find_in(folder: Path, runs: Path, base: Table) -> Found:
    """The data in a folder; nothing is written.

    Args:
        folder: with the data, or an array.
        runs: the folder of all runs, in which an import may lie already.
        base: the data.toml of the recipe that will be made to fit.

    Raises:
        DataError: no source reads what lies there, or none of its files.
    """
    source = source_in(folder)
    choice = CHOICES[source](folder, base)
    splits = splits_of(_opened(source, choice, folder, runs, "train"))
    train_split = train_split_of({name: len(split) for name, split in splits.items()})
    return Found(choice, _opened(source, choice, folder, runs, train_split), splits)


def look_at(folder: Path, runs: Path, base: Table) -> Facts:
    """What lies in a folder, of which at most a few hundred samples are decoded; as `find_in`."""
    found = find_in(folder, runs, base)
    moments, over = measured(found.data, found.train)
    source = found.data.spec.source
    settings: dict[str, Any] = {
        "folder": folder,
        "source": (source, found.choice.why),
        "splits": {name: len(split) for name, split in found.splits.items()},
        "moments": moments,
        "measured": over,
        "tasks": _tasks(source, found.splits),
        "keys": found.choice.keys,
        "listed": found.choice.listed,
    }
    if isinstance(found.train, ImageSplit):
        return ImageFacts(**settings, size_px=found.train.size_px)
    assert isinstance(found.train, SequenceSplit)
    spec: Any = found.data.spec
    frames, rows = found.train.samples // spec.frame_rows, spec.frame_rows
    return SequenceFacts(**settings, frame_rows=rows, frames=frames, rate_hz=spec.rate_hz)


def _opened(source: str, choice: Choice, folder: Path, runs: Path, train_split: str) -> DataSet:
    """The data as the source finds it, whatever a recipe may do with it later."""
    spec = DATA_SPECS[source]
    keys = {key: value for key, (value, _) in choice.keys.items()}
    moments: Table = {"mean": [0.0] * choice.channels, "std": [1.0] * choice.channels}
    if not choice.listed:
        moments = {key: values[0] for key, values in moments.items()}
    table = {"source": source, "train_split": train_split, **keys, **moments, **NARROW[spec.kind]}
    return find_data(spec.model_validate(table), folder, runs)


def _tasks(source: str, splits: dict[str, Split]) -> tuple[Task, ...]:
    """What can be told of samples in training and in test: the layouts' own labels, or columns."""
    if source in OWN_TASKS:
        return OWN_TASKS[source]
    train = splits.get("train")
    test = next((splits[name] for name in TEST_SPLITS if name in splits), None)
    if train is None or test is None:
        return ()
    like = ("label", *OWN_TASKS_LIKE)
    columns = [
        Task(name, {"task": "label", "label": name}, like) for name in told_apart(train, test)
    ]
    stretches = train.interval_columns() if isinstance(train, SequenceSplit) else ()
    return (
        *columns,
        *(Task(name, {"task": "frames", "label": name}, ("frames", "phone")) for name in stretches),
    )
