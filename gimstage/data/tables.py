"""Tables of labels: one row a file or a stretch of time, every cell a text or nothing.

    labels.csv  labels.tsv  labels.parquet    a row of names first, or the names of the columns

CSV is UTF-8 with or without a byte-order mark, divided by commas or, where its first line has none,
by semicolons. Imports `errors` and its neighbours only; pyarrow where a table is parquet.
"""

import csv
import io
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gimstage.data.files import reading
from gimstage.errors import DataError, nearest
from gimstage.files import open_regular

TABLES = (".csv", ".tsv", ".parquet")
MOST_BYTES = 1 << 30

Cells = tuple[str | None, ...]


@dataclass(frozen=True)
class Table:
    """The cells of a table, column by column.

    Args:
        path: its file.
        columns: the cells of each column by its name; None where a cell is empty.
        places: where each row stands, such as "line 2".
    """

    path: Path
    columns: dict[str, Cells]
    places: tuple[str, ...]

    def __len__(self) -> int:
        """The number of rows, the names not counted."""
        return len(self.places)

    def where(self, row: int) -> str:
        """The place of a row for messages: "labels.csv, line 2"."""
        return f"{self.path}, {self.places[row]}"

    def first_of(self, *names: str) -> str:
        """The first of some names that a column has.

        Raises:
            DataError: none of them is a column's; says how a column is renamed.
        """
        for name in names:
            if name in self.columns:
                return name
        found = f"no column '{names[0]}', but {', '.join(self.columns) or 'none with a name'}"
        cure = nearest(names[0], self.columns) if self.columns else "name the columns"
        old = next(iter(self.columns), "")
        if self.path.suffix.lower() != ".parquet" and re.fullmatch(r"[\w -]+", old):
            command = shlex.join(["sed", "-i", f"1s/{old}/{names[0]}/", str(self.path)])
            cure = f"if '{old}' is that column: `{command}`"
        raise DataError(str(self.path), found, f"a column '{names[0]}'", cure)


def read_table(path: Path) -> Table:
    """All cells of a table, none of them interpreted.

    Args:
        path: of the ending .csv, .tsv or .parquet.

    Raises:
        DataError: it is of another ending, cannot be read, has no row, two columns of one name,
            or a row that is longer or shorter than the first.
    """
    kind = path.suffix.lower()
    if kind not in TABLES:
        found, expected = f"a table that ends in '{kind}'", ", ".join(TABLES)
        raise DataError(str(path), found, expected, "save it as one of these")
    table = _parquet(path) if kind == ".parquet" else _text(path, tab=kind == ".tsv")
    if not len(table):
        raise DataError(str(path), "it has no row", "one row a file", "add rows, or remove it")
    return table


def _text(path: Path, *, tab: bool) -> Table:
    rows = _rows(path, tab=tab)
    _, names = next(rows, ("", []))
    names = [name.strip() for name in names]
    twice = [name for name, count in Counter(names).items() if name and count > 1]
    if twice:
        cure = "rename one of the two"
        raise DataError(str(path), f"two columns '{twice[0]}'", "every name once", cure)
    places, cells = [], []
    for place, row in rows:
        if len(row) != len(names):
            found, expected = f"{len(row)} cells", f"{len(names)}, as in the first line"
            cure = "mend the line; a cell that holds the separator stands in quotes"
            raise DataError(f"{path}, {place}", found, expected, cure)
        places.append(place)
        cells.append(tuple(cell.strip() or None for cell in row))
    columns = zip(*cells, strict=True) if cells else [()] * len(names)
    # A column without a name is the running number that data frames write.
    named = {name: cells for name, cells in zip(names, columns, strict=True) if name}
    return Table(path, named, tuple(places))


def _rows(path: Path, *, tab: bool) -> Iterator[tuple[str, list[str]]]:
    """The place and the cells of every line that is not empty."""
    with reading(path), open_regular(path, most_bytes=MOST_BYTES) as raw:
        text = io.TextIOWrapper(raw, "utf-8-sig", newline="")
        try:
            first = text.readline()
            text.seek(0)
            separator = "\t" if tab else ";" if ";" in first and "," not in first else ","
            reader = csv.reader(text, delimiter=separator, strict=True)
            for row in reader:
                if any(row):
                    yield f"line {reader.line_num:,}", row
        except UnicodeError as error:
            cure = f"save it as UTF-8: `iconv -f latin1 -t utf-8 {shlex.quote(str(path))}`"
            raise DataError(str(path), "it is not UTF-8", "a table in UTF-8", cure) from error
        except csv.Error as error:
            where = f"{path}, line {reader.line_num:,}"
            raise DataError(where, str(error), "a table", "mend the line") from error


def _parquet(path: Path) -> Table:
    try:
        import pyarrow.parquet as parquet
        from pyarrow import ArrowException, types
    except ImportError as error:
        found, cure = "it is read by pyarrow, which is missing", "`pip install 'gimstage[tables]'`"
        raise DataError(str(path), found, "pyarrow, or the table as CSV", cure) from error
    with reading(path), open_regular(path, most_bytes=MOST_BYTES) as raw:
        try:
            file = parquet.ParquetFile(raw)
            plain = [f.name for f in file.schema_arrow if not _opaque(f.type, types)]
            data = file.read(columns=plain)
        except ArrowException as error:
            found, cure = "it is no parquet that can be read", "save the table again"
            raise DataError(str(path), found, "a parquet file", cure) from error
    columns = {name: tuple(map(_cell, data[name].to_pylist())) for name in plain}
    return Table(path, columns, tuple(f"row {n:,}" for n in range(1, data.num_rows + 1)))


def _opaque(kind: Any, types: Any) -> bool:
    """Whether a column holds bytes or tables of its own, which are no labels."""
    return bool(types.is_nested(kind) or types.is_binary(kind) or types.is_large_binary(kind))


def _cell(value: Any) -> str | None:
    """A value as the text that CSV would hold; whole numbers without a point."""
    if value is None or value != value:  # the gap in a column of numbers is NaN
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() or None
