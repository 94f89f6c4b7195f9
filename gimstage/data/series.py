"""Sequences in an array of somebody's own: channels in time, with labels that lie beside it.

    sample time channel     a sequence a sample, all of one length; axes in any order
    time channel            one long recording, or several end to end, with their offsets

With `entry_rows` every sequence is cut into pieces of so many rows, which are the samples then. An
array beside it that is as long as there are sequences is a label of every sequence; one as long as
there are rows is a label of stretches of time. "split" among the labels tells train from test; else
a hash chooses a fifth of the sequences as "test", or the last fifth of a single one.

Shapes: N sequences, n rows, C channels. Imports `errors` and its neighbours only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gimstage.data.arraylabels import Told, cell_of
from gimstage.data.arrays import OpenArray, open_array
from gimstage.data.listing import in_order
from gimstage.data.splits import NO_LABEL, Column, FrameLabels, Ints, SequenceSplit
from gimstage.errors import DataError, nearest

AXES = ("sample", "time", "channel")


@dataclass(frozen=True)
class SeriesFiles:
    """Where an array of sequences lies, and how it is read.

    Args:
        root: what `--data` names.
        array: the place of the array in it.
        axes: the names of its axes, of `AXES`, in its order.
        frame_rows: rows of a frame.
        offsets: the place of an array with the first row of every sequence and, last, the number of
            rows; None where no sequences lie end to end.
        entry_rows: rows of the pieces that sequences are cut into; None where they stay whole.
        table: the path of a table of labels, a line a sequence, below `root`; None for none.
    """

    root: Path
    array: str
    axes: tuple[str, ...]
    frame_rows: int
    offsets: str | None = None
    entry_rows: int | None = None
    table: str | None = None


class Series:
    """The sequences of an array, and what is told of them.

    Args:
        files: where they lie.

    Attributes:
        channels: channels of every row, C.
        places: sequence, first row and rows of every sample, (N, 3) int64.
        sequences: how many the array holds, before they are cut.

    Raises:
        DataError: the array cannot be opened, has other axes, or offsets that do not fit it.
    """

    def __init__(self, files: SeriesFiles) -> None:
        self.files = files
        self.values = open_array(files.root, files.array).require_numbers()
        if len(self.values.shape) != len(files.axes):
            found = f"{len(self.values.shape)} axes of lengths {self.values.shape}"
            wanted = f'as many as axes = "{" ".join(files.axes)}" of data.toml names'
            raise DataError(self.values.where, found, wanted, "name every axis of the array")
        self.size = dict(zip(files.axes, self.values.shape, strict=True))
        self.channels = self.size.get("channel", 1)
        self._ends = open_array(files.root, files.offsets) if files.offsets else None
        self.offsets = self._offsets() if self._ends else None
        self.sequences = self.size.get("sample", 1)
        if self.offsets is not None:
            self.sequences = len(self.offsets) - 1
        self.places = self._places()

    @property
    def files_read(self) -> dict[str, Path]:
        """The files of the array and of its offsets, by name."""
        return self.values.files | (self._ends.files if self._ends else {})

    def _offsets(self) -> Ints:
        assert self._ends is not None
        values = np.asarray(self._ends.require_numbers().values[...])
        rows = self.size["time"]
        if values.ndim != 1 or values[0] != 0 or values[-1] != rows or (np.diff(values) < 1).any():
            found = f"shape {values.shape}, from {values.flat[0]} to {values.flat[-1]}"
            expected = f"one axis, ascending from 0 to the {rows:,} rows of the array"
            cure = "numpy.cumsum([0, *lengths]) is such an array"
            raise DataError(self._ends.where, found, expected, cure)
        return values.astype(np.int64)

    def _places(self) -> Ints:
        if self.offsets is not None:
            whole = np.stack(
                [np.zeros(self.sequences), self.offsets[:-1], np.diff(self.offsets)], 1
            )
        else:
            number = np.arange(self.sequences)
            whole = np.stack([number, 0 * number, 0 * number + self.size["time"]], 1)
        whole = whole.astype(np.int64)
        step = self.files.entry_rows
        if step is None:
            return np.column_stack([np.arange(len(whole)), whole[:, 1:]])
        cut = [
            (number, at, min(step, first + rows - at))
            for number, (_, first, rows) in enumerate(whole.tolist())
            for at in range(first, first + rows, step)
        ]
        return np.array(cut, np.int64)

    def rows(self, values: Any, place: tuple[int, int], count: int) -> NDArray[Any]:
        """Rows of an array of these axes, or of all but "channel", time first.

        Args:
            values: the array.
            place: which sequence, and the first row.
            count: how many.
        """
        number, first = place
        axes = self.files.axes[:]
        if len(values.shape) < len(axes):
            axes = tuple(name for name in axes if name != "channel")
        chosen = {"sample": number, "time": slice(first, first + count), "channel": slice(None)}
        rows = np.asarray(values[tuple(chosen[name] for name in axes)])
        turned = axes.index("time") > axes.index("channel") if "channel" in axes else False
        return rows.T if turned else rows

    @cached_property
    def told(self) -> Told:
        """What is told of the sequences."""
        files, what = self.files, "recording" if self.sequences == 1 else "sequence"
        return Told(files.root, files.array, self.sequences, what, files.table, files.offsets)

    @cached_property
    def splits(self) -> dict[str, Ints]:
        """The samples of every split, ascending."""
        return self.told.splits(self.places[:, 0])

    @cached_property
    def timed(self) -> dict[str, OpenArray]:
        """The arrays that say something of every row, by the name of the label."""
        wanted = tuple(size for name, size in self.size.items() if name != "channel")
        told = self.told
        return {n: a for n, a in told.arrays.items() if a.shape == wanted and n not in told.cells}

    @cache  # noqa: B019  # as long as the series itself, which lives as long as the data set
    def classes(self, name: str) -> tuple[str, ...]:
        """The names of the classes of a label of stretches, over all splits."""
        every = np.unique(np.asarray(self.timed[name].values[...])).tolist()
        return in_order(cell for cell in map(cell_of, every) if cell)


class SeriesSplit(SequenceSplit):
    """Some samples of the sequences of an array.

    Args:
        series: all of them.
        name: of the split.

    Raises:
        DataError: there is no such split; names those there are.
    """

    def __init__(self, series: Series, name: str) -> None:
        if name not in series.splits:
            found, known = f"there is no split '{name}'", ", ".join(series.splits)
            cure = f"{nearest(name, series.splits)}; {series.told.division}"
            raise DataError(series.values.where, found, f"one of {known}", cure)
        self.series, self.root, self.name = series, series.files.root, name
        self.numbers = series.splits[name]
        self.places = series.places[self.numbers]
        self.samples, self.channels = self.places[:, 2], series.channels

    def __len__(self) -> int:
        """The number of samples, N."""
        return len(self.numbers)

    @property
    def ids(self) -> Sequence[str]:
        """The numbers of the samples in the array, in words: "0"."""
        return list(map(str, self.numbers.tolist()))

    def read(self, index: int, start: int, out: NDArray[np.float32]) -> None:
        """Fill `out` with consecutive rows of one sequence; see `SequenceSplit.read`.

        Raises:
            DataError: the request lies outside, a chunk is damaged, or a value is not finite.
        """
        number, first, length = self.places[index].tolist()
        if start < 0 or start + len(out) > length:
            found, inside = f"rows {start:,} to {start + len(out):,}", f"within 0 to {length:,}"
            raise DataError(self._where(index), found, inside, "correct the recipe or the caller")
        values = self.series.values
        try:
            rows = self.series.rows(values.values, (number, first + start), len(out))
        except Exception as error:  # of whatever kind a damaged chunk makes its codec raise
            found = f"its rows cannot be read ({type(error).__name__})"
            raise DataError(self._where(index), found, cure="copy the array again") from error
        with np.errstate(over="ignore"):
            out[...] = rows.reshape(out.shape)
        finite = np.isfinite(out)
        if not finite.all():
            row, channel = np.argwhere(~finite)[0].tolist()
            found = (
                f"{rows.reshape(out.shape)[row, channel]} in row {start + row:,}, channel {channel}"
            )
            cure = "fill the gaps: numpy.nan_to_num(x, copy=False), then save the array again"
            raise DataError(self._where(index), found, "finite numbers", cure)

    def _where(self, index: int) -> str:
        return f"{self.series.values.where}, sample {self.numbers[index]}"

    @property
    def columns(self) -> Sequence[str]:
        """The names of the labels of sequences."""
        return self.series.told.columns

    def column(self, name: str) -> Column:
        """One label of every sample; raises as `Split.column`."""
        if name not in self.columns:
            raise self.no_column(name)
        return self.series.told.column(name, self.places[:, 0])

    def interval_columns(self) -> Sequence[str]:
        """The names of the arrays that are as long as there are rows."""
        return list(self.series.timed)

    def frame_labels(self, name: str) -> FrameLabels:
        """The label that holds in the middle of every frame; raises as `Split.frame_labels`."""
        if name not in self.series.timed:
            raise self.no_intervals(name)
        classes, step = self.series.classes(name), self.series.files.frame_rows
        number = {each: at for at, each in enumerate(classes)}
        values = {}
        for index, (sequence, first, length) in enumerate(self.places.tolist()):
            rows = self.series.rows(self.series.timed[name].values, (sequence, first), length)
            middles = rows[step // 2 :: step][: length // step].tolist()
            told = [number.get(cell_of(each) or "", NO_LABEL) for each in middles]
            values[index] = np.array(told, np.int64)
        return FrameLabels(name, classes, values)
