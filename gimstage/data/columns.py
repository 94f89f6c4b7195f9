"""Labels of files by name: from the rows of a table, from what their paths look like, from folders.

Everywhere a column is what it says of each file, by the file's id; a file of which it says nothing
is not in it. Imports `errors` and its neighbours only.
"""

import os
import re
import unicodedata
from collections.abc import Collection
from functools import cached_property
from pathlib import Path

from gimstage.data.kinds import Left, ending
from gimstage.data.tables import Table, read_table
from gimstage.errors import DataError

PATH = ("path", "file", "filename", "file_name")  # what the column of the files may be called

_WILD = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
_PIECES = re.compile(r"\*\*/|\*\*|\*|\?|\{[^{}]*\}|[^*?{}]+|[{}]")

Told = dict[str, str]  # what a column says, by id
Columns = dict[str, Told]


def by_table(
    path: Path, ids: Collection[str], endings: Collection[str], left: Left
) -> tuple[Collection[str], Columns]:
    """The files that have a row in a table, and the columns of it.

    A path is one below the root; its folders, its ending or both may be missing where the rest of
    it names one file. A row of a file of another ending is counted as left.

    Args:
        path: the table.
        ids: of the files that are read.
        endings: of the files that are read.
        left: added to.

    Raises:
        DataError: the table cannot be read, names a file twice, or one that is not there.
    """
    table = read_table(path)
    key = table.first_of(*PATH)
    rows = _rows(table, key, ids, endings, left)
    columns = {
        name: {id_: cell for id_, row in rows.items() if (cell := cells[row]) is not None}
        for name, cells in table.columns.items()
        if name != key
    }
    return rows, columns


def by_pattern(pattern: str, ids: Collection[str]) -> Columns:
    """What the names in the braces of a pattern stand for in every path that ends as it says.

    A name stands for as few letters as will do, one at least, and for no folder's boundary.

    Args:
        pattern: such as "{speaker}/{session}_{take}.wav"; `*` and `?` are anything within a name,
            `**` any folders.
        ids: of the files that are read.

    Raises:
        DataError: it is no pattern, or no path ends as it says.
    """
    expression = _compiled(pattern)
    columns: Columns = {name: {} for name in expression.groupindex}
    for id_ in ids:
        if match := expression.fullmatch(id_):
            for name, text in match.groupdict().items():
                columns[name][id_] = text
    if not any(columns.values()):
        where, found = f'pattern = "{pattern}"', f"none of {len(ids):,} paths ends so"
        cure = "correct pattern in data.toml"
        raise DataError(where, found, f"the end of paths such as '{min(ids)}'", cure)
    return columns


def _compiled(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression of whole paths.

    Raises:
        DataError: a brace is alone, a name is none or there twice, or there is no name.
    """
    where, cure = f'pattern = "{pattern}"', "correct pattern in data.toml"
    text, names = "(?:.*/)?", []
    for piece in _PIECES.findall(normal(pattern)):
        if piece[0] not in "{}":
            text += _WILD.get(piece) or re.escape(piece)
            continue
        names.append(name := piece[1:-1])
        if len(piece) < 3 or not name.isidentifier() or name in names[:-1]:
            found, expected = f"'{piece}'", "names in braces, each once, such as {speaker}"
            raise DataError(where, found, expected, cure)
        text += f"(?P<{name}>[^/]+?)"
    if not names:
        raise DataError(where, "no name in braces", "at least one, such as {speaker}", cure)
    return re.compile(text, re.DOTALL)


def by_folder(ids: Collection[str], depth: int) -> Columns:
    """The class of every file: the folder that holds it; none unless there are two such folders.

    Args:
        ids: of the files that are read.
        depth: how many folders at the root are those of splits, 0 or 1.
    """
    folders = {id_: id_.split("/")[depth:-1] for id_ in ids}
    told = {id_: parts[-1] for id_, parts in folders.items() if parts}
    return {"class": told} if len(set(told.values())) > 1 else {}


def normal(path: str) -> str:
    """A path as text that is the same on every disk: composed letters, odd bytes written out."""
    if path.isascii():
        return path
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return unicodedata.normalize("NFC", text)


def _rows(
    table: Table, key: str, ids: Collection[str], endings: Collection[str], left: Left
) -> dict[str, int]:
    """The row of every file that has one; raises as `by_table`."""
    rows: dict[str, int] = {}
    missing: list[int] = []
    names = Names(ids)
    for row, cell in enumerate(table.columns[key]):
        if cell is None:
            cure = "give the path of its file, or remove the row"
            raise DataError(table.where(row), f"no {key}", "a path in every row", cure)
        id_ = names.find(cell)
        if id_ is None and (kind := ending(Path(cell).name)) and kind not in endings:
            left[".", f"{kind}, a row of {table.path.name}"] += 1
        elif id_ is None:
            missing.append(row)
        elif id_ in rows:
            found = f"'{cell}' is on {table.places[rows[id_]]} too"
            raise DataError(table.where(row), found, "a row a file", "remove one of the two")
        else:
            rows[id_] = row
    if missing or not rows:
        raise _missing(table, key, missing, ids)
    return rows


def _missing(table: Table, key: str, missing: list[int], ids: Collection[str]) -> DataError:
    """What to say of rows without a file; where most are, the paths are wrong rather than files."""
    if not missing:
        found = f"no row of {len(table):,} names a file that is read"
        return DataError(str(table.path), found, f"paths such as '{min(ids)}'", "correct the paths")
    first = f"first '{table.columns[key][missing[0]]}' in {table.places[missing[0]]}"
    found = f"paths of no file: {len(missing):,} of {len(table):,}, {first}"
    if len(missing) > len(table) / 2:
        cure = "write the paths as the files are called, or fetch the files"
        return DataError(str(table.path), found, f"paths such as '{min(ids)}'", cure)
    cure = "fetch the files that are missing, or remove their rows"
    return DataError(str(table.path), found, "a file for every row", cure)


class Names:
    """The files that paths of tables and of other files mean.

    A path may lack its folders, its ending or both, where what is left of it names one file.

    Args:
        ids: of the files.
    """

    def __init__(self, ids: Collection[str]) -> None:
        self.ids = ids

    @cached_property
    def _short(self) -> dict[str, str | None]:
        """What is left of a path without folders, ending or both; None where two share it."""
        short: dict[str, str | None] = {}
        for id_ in self.ids:
            bare = os.path.splitext(id_)[0]
            for name in {id_.rpartition("/")[2], bare.rpartition("/")[2], bare}:
                short[name] = None if name in short else id_
        return short

    def find(self, path: str) -> str | None:
        """The id of the file that a path means; None where it means none, or two."""
        path = normal(path.replace("\\", "/")).removeprefix("./")
        return path if path in self.ids else self._short.get(path)
