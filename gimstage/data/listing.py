"""What lies below a folder of somebody's own files: which are read, of which split, how labelled.

    train/cat/1.png  test/dog/7.png    folders of splits, and folders that are classes
    labels.csv                         or .tsv, .parquet: path, split where there is one, any labels
    {speaker}/{session}_{take}.wav     a pattern, whose names are labels

A split is what the table, the pattern or the folders of splits say; else a hash of the names
chooses a fifth as "test", of every class where there are any. Nothing is opened but the table.
Imports `errors` and its neighbours only.
"""

import math
import os
import shlex
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from gimstage.data.columns import Columns, Told, by_folder, by_pattern, by_table, normal
from gimstage.data.files import reading
from gimstage.data.kinds import LITTER, Left, described, ending, left_notes
from gimstage.data.lists import divide
from gimstage.data.splits import NO_LABEL, Column, Ints
from gimstage.data.tables import TABLES, Cells
from gimstage.errors import DataError, NoLabelsError, nearest

SPLIT_FOLDERS = ("train", "test", "val", "valid", "unlabeled")
SPLIT = "split"
TOLD = (*TABLES, ".ctm", ".textgrid")  # endings of files that tell of others

BY_COLUMN = "told by a column 'split'"
BY_FOLDER = "told by the folders"
BY_HASH = "no split is told, so a hash of the names chose a fifth of {} as test"


@dataclass(frozen=True)
class Listing:
    """The files below a folder that are read.

    Args:
        root: the folder.
        files: every file by its id, its path below the root with "/" between folders, sorted.
        splits: the files of each split, ascending indices into `files`.
        columns: what each column says of every file, in the order of `files`; None for nothing.
        left: how many files are not read, by folder and reason.
        links: folders that are links, which are not looked into.
        division: how the splits are told, in words.
        table: the table of labels, where there is one.
    """

    root: Path
    files: dict[str, Path]
    splits: dict[str, Ints]
    columns: dict[str, Cells]
    left: Left
    links: tuple[Path, ...]
    division: str
    table: Path | None

    def split(self, name: str) -> Ints:
        """The files of a split, ascending indices into `files`.

        Raises:
            DataError: there is no such split; names those there are.
        """
        if name not in self.splits:
            found, known = f"there is no split '{name}'", ", ".join(self.splits)
            cure = f"{nearest(name, self.splits)}; {self.division}"
            raise DataError(str(self.root), found, f"one of {known}", cure)
        return self.splits[name]

    def ids(self, split: str) -> tuple[str, ...]:
        """The ids of a split in its order; raises as `split`."""
        names = tuple(self.files)
        return tuple(names[index] for index in self.split(split))

    def column(self, name: str, split: str) -> Column:
        """One label of every file of a split; its classes are those of all splits, sorted.

        Raises:
            NoLabelsError: there is no such column; names those there are.
            DataError: there is no such split.
        """
        if name not in self.columns:
            known = ", ".join(self.columns) or "a folder a class, a table or a pattern"
            found, cure = f"no labels '{name}'", nearest(name, self.columns)
            if not self.columns:
                cure = "give labels in one of these ways, or leave the label out"
            raise NoLabelsError(str(self.root), found, known, cure)
        cells = self.columns[name]
        classes = in_order(cell for cell in cells if cell is not None)
        number = {each: index for index, each in enumerate(classes)}
        values = [number.get(cells[at] or "", NO_LABEL) for at in self.split(split)]
        return Column(name, classes, np.array(values, np.int64))

    def notes(self) -> list[str]:
        """What a person should know of it, a line each: splits, gaps in labels, files left."""
        counts = ", ".join(f"{len(own):,} {name}" for name, own in self.splits.items())
        notes = [f"{counts}: {self.division}"]
        for name, cells in self.columns.items():
            if gaps := sum(cell is None for cell in cells):
                notes.append(f"label '{name}': {gaps:,} of {len(cells):,} files have none")
        if self.links:
            notes.append(f"links to folders, not looked into: {', '.join(map(str, self.links))}")
        return notes + left_notes(self.left)


def listing(
    root: Path, endings: Collection[str], table: str | None = None, pattern: str | None = None
) -> Listing:
    """What lies below a folder; its files are not opened.

    Args:
        root: the folder.
        endings: of the files that are read, such as ".png", in small letters.
        table: the path of a table of labels, below the root or absolute; where None, labels.csv,
            .tsv or .parquet in the root, if there is one.
        pattern: what paths end in, such as "{speaker}/{session}_{take}.wav"; every name in braces
            is a column.

    Raises:
        DataError: the folder is unreadable or holds no such file, or table or pattern do not fit.
    """
    if not root.is_dir():
        raise _nothing(root, endings, [])
    files, left, links = _look(root, endings)
    if not files:
        raise _nothing(root, endings, links)
    columns: Columns = {}
    if path := _table_of(root, table):
        named, columns = by_table(path, files, endings, left)
        _leave(files, named, f"not in {path.name}", left)
    if pattern:
        columns = by_pattern(pattern, files) | columns
    division, split_of = _division(files, columns.pop(SPLIT, None), left)
    depth = int(division == BY_FOLDER)
    columns = by_folder(files, depth) | columns
    if not split_of:
        own = columns.get("class", {})
        division = division.format("every class" if own else "all")
        lists = divide(files, lambda id_: own.get(id_, ""))
        split_of = {id_: name for name, ids in lists.items() for id_ in ids}
    return Listing(
        root=root,
        files=files,
        splits=_indices(files, split_of),
        columns={name: tuple(map(told.get, files)) for name, told in columns.items()},
        left=left,
        links=tuple(links),
        division=division,
        table=path,
    )


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names each once: those that are numbers in numerical order, then the others sorted."""
    return tuple(sorted(set(names), key=_place))


def _place(name: str) -> tuple[bool, float, str]:
    try:
        number = float(name)
    except ValueError:
        number = math.nan
    return (False, number, name) if math.isfinite(number) else (True, 0.0, name)


def _look(root: Path, endings: Collection[str]) -> tuple[dict[str, Path], Left, list[Path]]:
    """The files that are read by id, sorted; how many are not, and why; links to folders."""
    found: dict[str, Path] = {}
    left: Left = Counter()
    links: list[Path] = []
    for folder, folders, names in os.walk(root, onerror=_refuse_unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        links.extend(path for name in folders if (path := Path(folder, name)).is_symlink())
        below = os.path.relpath(folder, root)
        for name in names:
            kind = ending(name.removeprefix(LITTER))
            if kind in endings and not name.startswith(LITTER):
                id_ = normal(name if below == os.curdir else f"{below}/{name}")
                if id_ in found:
                    _refuse_same(Path(folder, name), found[id_])
                found[id_] = Path(folder, name)
            elif kind and kind not in TOLD:
                left[".", f"{LITTER}* of macOS" if name.startswith(LITTER) else kind] += 1
    return dict(sorted(found.items())), left, links


def _refuse_same(path: Path, other: Path) -> NoReturn:
    where, found = str(path.parent), f"two files are called '{normal(path.name)}'"
    one, two = sorted(map(os.fsencode, (path.name, other.name)))
    cure = f"rename one: their bytes are {one!r} and {two!r}"
    raise DataError(where, found, "names that differ once their accents are composed", cure)


def _nothing(root: Path, endings: Collection[str], links: list[Path]) -> DataError:
    """What to say of a folder without a file that could be read."""
    expected = f"files that end in {', '.join(sorted(endings))}"
    if root.is_file():
        cure = f"give that: --data {shlex.quote(str(root.parent))}"
        return DataError(str(root), "it is a file", "the folder that holds the files", cure)
    if not root.is_dir():
        cure = "check the path, or give the folder that holds the files: --data DIR"
        return DataError(str(root), "there is no such folder", expected, cure)
    if links:
        found = f"{described(root)}; {links[0].name} is a link to a folder"
        cure = f"give the folder itself: --data {shlex.quote(str(links[0].resolve()))}"
        return DataError(str(root), found, f"{expected}, in folders that are no links", cure)
    cure = "give the folder that holds them: --data DIR"
    return DataError(str(root), described(root), expected, cure)


def _refuse_unreadable(error: OSError) -> NoReturn:
    with reading(Path(error.filename)):
        raise error


def _table_of(root: Path, table: str | None) -> Path | None:
    """Where the table of labels lies; None where there is none.

    Raises:
        DataError: there are several, and none is named.
    """
    if table is not None:
        return root / table
    there = [path for kind in TABLES if (path := root / f"labels{kind}").exists()]
    if len(there) > 1:
        found = f"{' and '.join(path.name for path in there)}"
        cure = f'name one: table = "{there[0].name}" in data.toml'
        raise DataError(str(root), found, "one table of labels", cure)
    return there[0] if there else None


def _leave(files: dict[str, Path], kept: Collection[str], why: str, left: Left) -> None:
    """Keep some of the files, and count the others as left."""
    others = [id_ for id_ in files if id_ not in kept]
    for id_ in others:
        del files[id_]
    if others:
        left[".", why] += len(others)


def _division(files: dict[str, Path], told: Told | None, left: Left) -> tuple[str, Told | None]:
    """How the splits are told, and that of every file, those without one left out; or by a hash."""
    if told:
        _leave(files, told, "without a split", left)
        return BY_COLUMN, {id_: _usual(name) for id_, name in told.items()}
    top = {id_: id_.split("/")[0] for id_ in files if "/" in id_}
    told = {id_: _usual(name) for id_, name in top.items() if _usual(name) in SPLIT_FOLDERS}
    if len(told) == len(files) or len(set(told.values())) > 1:
        _leave(files, told, "in no folder of a split", left)
        return BY_FOLDER, told
    return BY_HASH, None


def _usual(name: str) -> str:
    """The name of a split as recipes write it: "Train" is train, and another is as it stands."""
    return name.lower() if name.lower() in SPLIT_FOLDERS else name


def _indices(files: Collection[str], split_of: Told) -> dict[str, Ints]:
    """The files of each split, as indices."""
    at: dict[str, list[int]] = {name: [] for name in in_order(split_of.values())}
    for index, id_ in enumerate(files):
        at[split_of[id_]].append(index)
    order = [*(name for name in SPLIT_FOLDERS if name in at), *at]
    return {name: np.array(at[name], np.int64) for name in dict.fromkeys(order)}
