"""A look at the data of a recipe as its stages read it: splits, labels, values, samples drawn.

Looking imports nothing: of data that is not made yet, what is planned is told, and nothing is
drawn. Shape letters: C channels, n rows in time.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gimstage.data.moments import Moments
from gimstage.data.spectrogram import spectrogram
from gimstage.data.splits import NO_LABEL, Column, ImageSplit, SequenceSplit, Split
from gimstage.errors import DataError
from gimstage.errors.commands import on_recipe, pasted
from gimstage.inputs import DataSet

LOOKED_AT = 64  # samples behind the values
LOOKED_ROWS = 20_000  # of each sequence
CELL_PX = 96  # of an image drawn, at most
CLASSES = 10  # rows of the sheet
COLUMNS = 10  # images in each
STRETCHES = 6  # sequences drawn
SHOWN_ROWS = 1000  # of each, at most; of sound, frames
TRACED = 16  # channels of each
HEARD_HZ = 4000  # a single channel of so many rows a second is drawn as sound


def describe_data(data: DataSet, names: Sequence[str]) -> dict[str, Any]:
    """Where data lies, what its splits hold and how they are labelled, as plain JSON values.

    Args:
        data: the data set.
        names: of the splits to describe, that trained on first.

    Raises:
        DataError: a split cannot be read.
    """
    splits = [data.split(name) for name in names]
    facts: dict[str, Any] = {
        "path": str(data.root),
        "source": data.spec.source,
        "title": data.title,
        "made": data.is_made,
    }
    facts |= {f"split_{split.name}": _form(split) for split in splits}
    for split in splits:
        told = (split.column(name) for name in split.columns)
        facts |= {f"{column.name}_of_{split.name}": _labels(column) for column in told}
    if data.is_made:
        facts["values"] = _moments(_looked_at(splits[0]))
    return facts


def draw_data(data: DataSet, name: str, png: Path, *, sample: int, title: str) -> None:
    """Draw samples of a split: a sheet of images, or stretches of sequences over time.

    Args:
        data: the data set.
        name: of the split.
        png: the file to write.
        sample: the first sample that is drawn; those after it follow.
        title: the title of the figure.

    Raises:
        DataError: there is no such sample, or the data is not made yet.
    """
    from matplotlib.figure import Figure

    if not data.is_made:
        cure = f"run {pasted(on_recipe('train-stage', '1'))}, which makes it first"
        raise DataError(str(data.root), "not decoded or written yet", "samples to draw", cure)
    split = data.split(name)
    if sample >= len(split):
        where = f"{split.root}, split '{split.name}'"
        raise DataError(where, f"no sample {sample}", f"0 to {len(split) - 1}", "choose another")
    figure = Figure(figsize=(11, 11.6), layout="constrained")
    if isinstance(split, ImageSplit):
        _draw_sheet(figure, split, sample)
    else:
        assert isinstance(split, SequenceSplit), "there are images and sequences"
        _draw_stretches(figure, split, sample, data.spec)
    figure.suptitle(f"{title}, split {split.name}, samples from {sample}", parse_math=False)
    figure.savefig(png, dpi=100, format="png")


def _form(split: Split) -> dict[str, Any]:
    """The number of samples and their sizes."""
    facts: dict[str, Any] = {"samples": len(split)}
    if isinstance(split, ImageSplit):
        facts |= {"size_px": split.size_px, "channels": split.channels, "dtype": str(split.dtype)}
    if isinstance(split, SequenceSplit):
        rows = split.samples
        facts |= {"channels": split.channels, "rows": int(rows.sum())}
        facts |= {"shortest": int(rows.min()), "longest": int(rows.max())}
    return facts


def _labels(column: Column) -> dict[str, Any]:
    """How many classes a label has and how many samples they have, "without" being none."""
    told = column.values[column.values != NO_LABEL]
    counts = np.bincount(told, minlength=len(column.classes))
    few, many = int(counts.argmin()), int(counts.argmax())
    return {
        "classes": len(column.classes),
        "fewest": f"{column.classes[few]} ({counts[few]:,})",
        "most": f"{column.classes[many]} ({counts[many]:,})",
        "without": len(column.values) - len(told),
    }


def _looked_at(split: Split) -> Iterator[NDArray[np.float64]]:
    """Values of some samples spread over a split, (C, …) float64, on the scale they are read at."""
    for index in np.unique(np.linspace(0, len(split) - 1, LOOKED_AT).astype(np.int64)).tolist():
        if isinstance(split, ImageSplit):
            yield split.image(index).astype(np.float64) / split.scale
        elif isinstance(split, SequenceSplit):
            yield _beginning(split, index, LOOKED_ROWS).T.astype(np.float64)


def _moments(samples: Iterable[NDArray[np.float64]]) -> dict[str, Any]:
    """Least, largest, mean and standard deviation of every channel, one sample at a time."""
    moments, lows, highs = Moments(), [], []
    for values in samples:
        moments.add(values)
        flat = values.reshape(len(values), -1)
        lows.append(flat.min(1))
        highs.append(flat.max(1))
    found = {"min": np.min(lows, 0), "max": np.max(highs, 0)}
    found |= {"mean": moments.mean, "std": moments.std}
    return {name: [round(float(v), 5) for v in each] for name, each in found.items()}


def _beginning(split: SequenceSplit, index: int, most: int) -> NDArray[np.float32]:
    """The first rows of a sequence, (n, C)."""
    rows = np.empty((min(int(split.samples[index]), most), split.channels), np.float32)
    split.read(index, 0, rows)
    return rows


def _draw_sheet(figure: Any, split: ImageSplit, sample: int) -> None:
    """Images in rows, one a class where there are labels, else in the order they lie in."""
    rows = _rows_of_sheet(split, sample)
    axes = figure.subplots(len(rows), COLUMNS, squeeze=False)
    for name, indices, line in zip(rows, rows.values(), axes, strict=True):
        for axis, index in zip(line, indices, strict=False):
            axis.imshow(_picture(split, index), cmap="gray", vmin=0, vmax=1)
            axis.set_title(str(index), fontsize=7)
        line[0].text(0, -0.08, name, fontsize=8, transform=line[0].transAxes, va="top")
        for axis in line:
            axis.set_axis_off()


def _rows_of_sheet(split: ImageSplit, sample: int) -> dict[str, list[int]]:
    """The images of every row of the sheet by its name, those from a sample on."""
    if split.columns:
        column = split.column(split.columns[0])
        found = {
            name: sample + np.flatnonzero(column.values[sample:] == number)[:COLUMNS]
            for number, name in enumerate(column.classes[: 10 * CLASSES])
        }
        rows = {name: own.tolist() for name, own in found.items() if len(own)}
        if rows:
            return dict(list(rows.items())[:CLASSES])
    every = list(range(sample, min(len(split), sample + CLASSES * COLUMNS)))
    return {f"from {every[at]}": every[at:][:COLUMNS] for at in range(0, len(every), COLUMNS)}


def _picture(split: ImageSplit, index: int) -> NDArray[np.float32]:
    """An image for the eye: (y, x, 3) of three channels, else (y, x) of their mean, in 0 … 1."""
    image = torch.from_numpy(split.image(index).astype(np.float32) / np.float32(split.scale))
    if split.size_px > CELL_PX:
        image = torch.nn.functional.adaptive_avg_pool2d(image, CELL_PX)
    shown = image.permute(1, 2, 0) if split.channels == 3 else image.mean(0)
    picture: NDArray[np.float32] = shown.clamp(0, 1).numpy()
    return picture


def _draw_stretches(figure: Any, split: SequenceSplit, sample: int, spec: Any) -> None:
    """The beginnings of some sequences: spectrograms of sound, or channels one above another."""
    chosen = range(sample, min(len(split), sample + STRETCHES))
    heard = split.channels == 1 and (spec.rate_hz or 0) >= HEARD_HZ
    hop = spec.frame_rows if heard else 1
    axes = figure.subplots(len(chosen), 1, squeeze=False)[:, 0]
    for axis, index in zip(axes, chosen, strict=True):
        rows = _beginning(split, index, SHOWN_ROWS * hop)
        seconds = len(rows) / spec.rate_hz if spec.rate_hz else None
        if heard:
            _draw_level(axis, spectrogram(rows[:, 0], hop_samples=hop), spec.rate_hz, seconds)
        else:
            _draw_channels(axis, rows[:, :TRACED], seconds)
        told = ", ".join([split.ids[index], *_told(split, index)])
        axis.set_title(f"{index}: {told}", fontsize=8, loc="left", parse_math=False)


def _draw_level(axis: Any, level: NDArray[np.float32], rate_hz: float, seconds: Any) -> None:
    """A spectrogram, bright where it is loud."""
    axis.imshow(
        level,
        aspect="auto",
        origin="lower",
        extent=(0, seconds, 0, rate_hz / 2000),
        vmin=level.max() - 70,
        cmap="magma",
    )
    axis.set(xlabel="seconds", ylabel="kHz")


def _draw_channels(axis: Any, rows: NDArray[np.float32], seconds: float | None) -> None:
    """Channels over time, one above another."""
    apart = 6 * (float(rows.std()) or 1.0)
    time = np.linspace(0, len(rows) if seconds is None else seconds, len(rows), endpoint=False)
    axis.plot(time, rows + apart * np.arange(rows.shape[1]), linewidth=0.6)
    unit = "rows" if seconds is None else "seconds"
    axis.set(xlabel=unit, ylabel=f"{rows.shape[1]} channels", yticks=[])


def _told(split: Split, index: int) -> Iterator[str]:
    """What the labels say of a sample."""
    for name in split.columns:
        column = split.column(name)
        if column.values[index] != NO_LABEL:
            yield f"{name} {column.classes[column.values[index]]}"
