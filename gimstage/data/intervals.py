"""Labels of stretches of time: which holds from when to when, for every frame of a sequence.

    intervals.csv          or .tsv, .parquet: path, start, end, any labels
    NAME.ctm               file, channel, start, duration, label and more, parted by spaces
    ….TextGrid             one beside each file or in folders of their own, called as it is

Times are seconds, or rows where a source has no rate. A frame has the label that holds at its
middle. Shape letters: K stretches, L frames. Imports `errors` and its neighbours only.
"""

import math
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gimstage.data.columns import PATH, Names
from gimstage.data.files import reading
from gimstage.data.kinds import ending
from gimstage.data.listing import in_order
from gimstage.data.splits import NO_LABEL, FrameLabels, Ints
from gimstage.data.tables import TABLES, read_table
from gimstage.data.textgrid import read_textgrid
from gimstage.errors import DataError
from gimstage.files import document_sha256, open_regular

CTM, TEXTGRID = ".ctm", ".textgrid"
CTM_LABEL = "label"  # what the one column of a CTM file is called
MOST_BYTES = 1 << 30

ENDS = ("end", "stop")
SLACK = 0.005  # overlaps as small as this come from rounding


class Stretch(NamedTuple):
    """A label that holds from `start` to `end`, and where that is said."""

    start: float
    end: float
    label: str
    place: str


@dataclass(frozen=True)
class Intervals:
    """The stretches of all files that have any.

    Args:
        root: the folder.
        columns: by the name of a label, then by file, in the order of time.
        unknown: how many rows or files are of no file that is read.
    """

    root: Path
    columns: dict[str, dict[str, list[Stretch]]]
    unknown: int

    @cached_property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """The classes of each column, those of all files, in order."""
        return {
            name: in_order(each.label for stretches in files.values() for each in stretches)
            for name, files in self.columns.items()
        }

    def of_split(self, column: str, ids: Sequence[str], frames: Ints, unit: float) -> FrameLabels:
        """The class of every frame of those files of a split that have stretches.

        Args:
            column: the name of the label, one of `columns`.
            ids: of the files of the split, in its order.
            frames: how many frames each has, (N,).
            unit: how long a frame is, in the unit of the stretches: seconds, or rows.
        """
        files, number = self.columns[column], dict(zip(self.classes[column], count(), strict=False))
        values = {
            index: _in_frames(files[id_], number, frames=int(frames[index]), unit=unit)
            for index, id_ in enumerate(ids)
            if id_ in files
        }
        return FrameLabels(column, self.classes[column], values)

    def sha256(self, column: str, ids: Collection[str]) -> str:
        """What is said of some files, as one digest; where it is said does not count."""
        files = self.columns.get(column, {})
        told = [[id_, [each[:3] for each in files[id_]]] for id_ in ids if id_ in files]
        return document_sha256(told)


def _in_frames(
    stretches: list[Stretch], number: dict[str, int], *, frames: int, unit: float
) -> Ints:
    """The class of every frame, (L,) int64; `NO_LABEL` where nothing holds."""
    starts, ends = (np.array([each[side] for each in stretches]) for side in (0, 1))
    labels = np.array([number[each.label] for each in stretches], np.int64)
    middles = (np.arange(frames) + 0.5) * unit
    at = np.searchsorted(starts, middles, side="right") - 1
    held = (at >= 0) & (middles < ends[at])
    return np.where(held, labels[at], NO_LABEL)


def read_intervals(root: Path, ids: Collection[str]) -> Intervals:
    """All stretches that files below a folder tell of; no column where there are no such files.

    Args:
        root: the folder.
        ids: of the files that are read.

    Raises:
        DataError: a file of stretches cannot be read, none of them is of a file that is read, a
            time is none, or two stretches of one label overlap.
    """
    names, unknown, paths = Names(ids), 0, _paths(root)
    columns: dict[str, dict[str, list[Stretch]]] = {}
    for path in paths:
        for file, column, stretch in _told(root, path):
            id_ = next((found for name in file if (found := names.find(name))), None)
            if id_ is None:
                unknown += 1
            elif stretch.end > stretch.start:  # aligners also tell of what takes no time
                columns.setdefault(column, {}).setdefault(id_, []).append(stretch)
    if paths and not columns:
        found, expected = f"it names no file below {root}", f"names such as '{min(ids)}'"
        raise DataError(str(paths[0]), found, expected, "call them as the files are called")
    for files in columns.values():
        for stretches in files.values():
            stretches.sort(key=lambda each: each[:2])
            _refuse_overlap(stretches)
    return Intervals(root, columns, unknown)


def _paths(root: Path) -> list[Path]:
    """The files that tell of stretches, in order."""
    found = [path for kind in TABLES if (path := root / f"intervals{kind}").exists()]
    for folder, folders, names in os.walk(root):
        folders.sort()
        found += [Path(folder, n) for n in sorted(names) if ending(n) in (CTM, TEXTGRID)]
    return found


Told = Iterator[tuple[tuple[str, ...], str, Stretch]]  # names a file may have, label, stretch


def _told(root: Path, path: Path) -> Told:
    """What a file tells; a TextGrid is of the file that is called like it, in its folder or not."""
    kind = ending(path.name)
    if kind == TEXTGRID:
        own = path.with_suffix("")
        for tier, stretches in read_textgrid(path).items():
            for start, end, label in stretches:
                where = f"{path}, tier '{tier}', {start:g}"
                yield (
                    (str(own.relative_to(root)), own.name),
                    tier,
                    _stretch(where, start, end, label),
                )
    elif kind == CTM:
        yield from _ctm(path)
    else:
        yield from _table(path)


def _table(path: Path) -> Told:
    table = read_table(path)
    key, start, end = (table.first_of(*names) for names in (PATH, ("start",), ENDS))
    labels = {name: cells for name, cells in table.columns.items() if name not in (key, start, end)}
    if not labels:
        found, expected = f"no column but {key}, {start} and {end}", "a column of labels"
        raise DataError(str(path), found, expected, "add it, called as the label is to be called")
    for row, file in enumerate(table.columns[key]):
        where, times = table.where(row), (table.columns[name][row] for name in (start, end))
        first, last = (_time(where, text) for text in times)
        for name, cells in labels.items():
            if (label := cells[row]) is not None:
                yield (file or "",), name, _stretch(where, first, last, label)


def _ctm(path: Path) -> Told:
    with reading(path), open_regular(path, most_bytes=MOST_BYTES) as file:
        for number, line in enumerate(file, 1):
            words = line.decode("utf-8", "replace").split()
            if not words or words[0].startswith(";;"):
                continue
            where = f"{path}, line {number:,}"
            if len(words) < 5:
                found, expected = f"{len(words)} words", "file, channel, start, duration and label"
                raise DataError(where, found, expected, "mend the line")
            start, duration = _time(where, words[2]), _time(where, words[3])
            yield (words[0],), CTM_LABEL, _stretch(where, start, start + duration, words[4])


def _time(where: str, text: str | None) -> float:
    try:
        time = float(text or "")
    except ValueError:
        time = math.nan
    if not math.isfinite(time):
        raise DataError(where, f"a time '{text or ''}'", "a number, such as 0.25", "mend the line")
    return time


def _stretch(where: str, start: float, end: float, label: str) -> Stretch:
    if start < 0 or end < start:
        found, expected = f"from {start:g} to {end:g}", "times from 0 on, the end after the start"
        raise DataError(where, found, expected, "mend the line")
    return Stretch(start, end, label, where)


def _refuse_overlap(stretches: list[Stretch]) -> None:
    for one, other in zip(stretches, stretches[1:], strict=False):
        if one.end - other.start > SLACK:
            found = f"'{other.label}' begins at {other.start:g}, before '{one.label}' ends"
            cure = f"mend it, or {one.place}, which ends at {one.end:g}"
            raise DataError(other.place, found, "one label at a time in a column", cure)
