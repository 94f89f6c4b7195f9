"""Columns of numbers in a table, as an accelerometer or a logger writes them, read into memory.

    acc.csv      t,x,y,z,activity     one row of names, then a row a moment
    acc.tsv      the same between tabs

Columns that are asked for together are an array (row, column); one alone is an array (row,), and
may hold texts, for it may be a label. Imports `errors` and its neighbours only.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gimstage.data.files import reading
from gimstage.errors import DataError, nearest

ENDINGS = (".csv", ".tsv")
MOST_BYTES = 1 << 31
# What is no channel, unless it is asked for: labels by their usual names, and the time.
LABELS = ("label", "class", "activity", "state", "target", "split", "subject", "y_true")
TIMES = ("t", "time", "timestamp", "seconds", "datetime", "date", "index", "")

_LOOKED_AT = 1_000  # rows, to see which columns hold numbers


def names_in(path: Path) -> list[str]:
    """The names of the columns, the first row; raises DataError where it cannot be read."""
    with reading(path), path.open(encoding="utf-8-sig", errors="replace") as file:
        first = file.readline()
    return [name.strip().strip('"') for name in first.rstrip("\r\n").split(_separator(path, first))]


def channels_in(path: Path) -> str:
    """The columns that are taken for channels, joined by commas; empty where none holds numbers."""
    names = names_in(path)
    head = _loaded(path, tuple(range(len(names))), "U", _LOOKED_AT)
    with_numbers = [name for name, cells in zip(names, head.T, strict=True) if _numeric(cells)]
    known = {*LABELS, *TIMES}
    return ",".join(name for name in with_numbers if name.lower() not in known)


def others_in(path: Path, asked: str) -> list[str]:
    """The columns that stand beside some, or beside those of `channels_in`, but for the time."""
    known = {*(asked or channels_in(path)).split(","), *TIMES}
    return [name for name in names_in(path) if name not in known and name.lower() not in TIMES]


def columns_of(path: Path, asked: str) -> NDArray[Any]:
    """Some columns of a table: (row, column) float64, or (row,) of one alone, texts if need be.

    Args:
        path: of the table.
        asked: the names of the columns, joined by commas; those of `channels_in` where empty.

    Raises:
        DataError: there is no such column, the table is too large, or a cell is no number.
    """
    if (size := path.stat().st_size) > MOST_BYTES:
        found, cure = f"{size:,} bytes of text", "save it as an array once, with numpy.save"
        raise DataError(str(path), found, f"at most {MOST_BYTES:,}", cure)
    names = names_in(path)
    wanted = (asked or channels_in(path)).split(",")
    for name in wanted:
        if name not in names:
            known = ", ".join(names)
            found = f"there is no column '{name}'"
            raise DataError(str(path), found, f"one of {known}", nearest(name, names))
    columns = tuple(names.index(name) for name in wanted)
    if len(columns) == 1 and not _numeric(_loaded(path, columns, "U", _LOOKED_AT)[:, 0]):
        return _loaded(path, columns, "U")[:, 0]
    values = _loaded(path, columns, "f8")
    return values if "," in asked or not asked else values[:, 0]


@lru_cache(maxsize=8)
def _loaded(
    path: Path, columns: Sequence[int], dtype: str, rows: int | None = None
) -> NDArray[Any]:
    """The cells of some columns, (row, column); raises as `columns_of`."""
    with (
        reading(path),
        path.open(encoding="utf-8-sig", errors="replace") as file,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", UserWarning)  # of a table without a row, refused below
        separator = _separator(path, file.readline())
        try:
            values: NDArray[Any] = np.loadtxt(
                file,
                dtype,
                comments=None,
                delimiter=separator,
                usecols=columns,
                max_rows=rows,
                ndmin=2,
                quotechar='"',
            )
        except ValueError as error:
            found = str(error).partition("\n")[0].rstrip(".")
            cure = 'name the columns that hold numbers, such as array = "FILE/x,y,z" in data.toml'
            raise DataError(str(path), found, "a number in every cell", cure) from error
    if not len(values):
        raise DataError(str(path), "it has no row", "a row of names, then numbers", "fill it")
    return values


def _numeric(cells: NDArray[Any]) -> bool:
    try:
        cells.astype(np.float64)
    except ValueError:
        return False
    return True


def _separator(path: Path, first: str) -> str:
    if path.suffix.lower() == ".tsv":
        return "\t"
    return ";" if ";" in first and "," not in first else ","
