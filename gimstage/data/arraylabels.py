"""What is told of the samples of an array, by arrays that stand beside it or by a table.

    x.npy  digit.npy  split.npy     an array as long as there are samples is a label of theirs
    labels.csv                      or a table with a line a sample, in the order of the array

A label "split" tells train from test; else a hash of the numbers chooses a fifth as "test", or the
last fifth of a single sample that is cut into pieces. Shapes: S samples of the array, P pieces of
them, one each where none is cut. Imports `errors` and its neighbours only.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gimstage.data.arrays import OpenArray, beside, open_array
from gimstage.data.listing import SPLIT, in_order
from gimstage.data.lists import divide
from gimstage.data.splits import NO_LABEL, Column, Ints
from gimstage.data.tables import Cells, read_table
from gimstage.errors import DataError


@dataclass(frozen=True)
class Told:
    """What is told of the samples of an array.

    Args:
        root: what `--data` names.
        array: the place of the array in it.
        count: how many samples it holds, S.
        what: they are, in messages, such as "sequence".
        table: the path of a table, a line a sample, below `root`; None for none.
        leave: the place of an array beside it that is no label; None for none.
    """

    root: Path
    array: str
    count: int
    what: str
    table: str | None
    leave: str | None = None

    @cached_property
    def arrays(self) -> dict[str, OpenArray]:
        """The arrays that stand beside it, by their names; what cannot be read is none."""
        found = {}
        for name in beside(self.root, self.array):
            with suppress(DataError):
                if name != self.leave:
                    key = name.rpartition("/")[2].removesuffix(".npy")
                    found[key] = open_array(self.root, name)
        return found

    @cached_property
    def cells(self) -> dict[str, Cells]:
        """What is told of every sample, by the name of the label; None for nothing.

        Raises:
            DataError: the table has another number of lines than there are samples.
        """
        told = {
            name: tuple(map(cell_of, np.asarray(array.values[...]).tolist()))
            for name, array in self.arrays.items()
            if array.shape == (self.count,) and self.count > 1
        }
        if self.table:
            table = read_table(self.root / self.table)
            if len(table) != self.count:
                found = f"{len(table):,} lines below the names"
                expected = f"{self.count:,}, one a {self.what} in the order of the array"
                raise DataError(str(table.path), found, expected, "add or remove lines")
            told |= table.columns
        return told

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the labels that every sample may have."""
        return tuple(name for name in self.cells if name != SPLIT)

    def column(self, name: str, of: Ints) -> Column:
        """A label of some pieces, by the samples (P,) that they are of; it must be there."""
        cells = self.cells[name]
        classes = in_order(cell for cell in cells if cell is not None)
        number = {each: at for at, each in enumerate(classes)}
        values = [number.get(cells[at] or "", NO_LABEL) for at in of]
        return Column(name, classes, np.array(values, np.int64))

    def splits(self, of: Ints) -> dict[str, Ints]:
        """The pieces of every split, ascending, by the samples (P,) that all pieces are of."""
        if SPLIT in self.cells:
            told = np.array([cell or "" for cell in self.cells[SPLIT]])[of]
            return {name: np.flatnonzero(told == name) for name in in_order(told.tolist()) if name}
        if self.count == 1:
            tested = max(round(len(of) / 5), int(len(of) > 1))
            order = np.arange(len(of), dtype=np.int64)
            return {"train": order[: len(of) - tested], "test": order[len(of) - tested :]}
        lists = divide(map(str, range(self.count)), lambda _: "")
        return {name: np.flatnonzero(np.isin(of, list(map(int, lists[name])))) for name in lists}

    @property
    def division(self) -> str:
        """How the splits are told, in words."""
        if SPLIT in self.cells:
            return f"told by '{SPLIT}'"
        if self.count == 1:
            return f"no split is told, so the last fifth of the {self.what} is test"
        return "no split is told, so a hash of their numbers chose a fifth as test"


def cell_of(value: Any) -> str | None:
    """A value as a text; whole numbers without a point, None for a gap, which is NaN or empty."""
    if value is None or value != value:  # a time that is none becomes None
        return None
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() or None
