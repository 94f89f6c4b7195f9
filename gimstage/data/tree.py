"""What lies below a folder of speech: the files that are read, and those left, counted with why.

    [SUBSET/]SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE.flac    in capitals too; no folder is a link

Imports `errors`, `data.files` and `data.kinds` only.
"""

import os
import shlex
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import NoReturn

from gimstage.data.files import reading
from gimstage.data.kinds import (
    FLAC,
    LITTER,
    OTHER_SOUND,
    Left,
    counted,
    data_kind,
    drafting,
    ending,
    left_notes,
    no_data,
)
from gimstage.errors import DataError, nearest

PATTERN = "SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE.flac"
OUTSIDE = "not in subsets"

_TEXT = ".txt"


@dataclass(frozen=True)
class Tree:
    """The files below a folder of speech.

    Args:
        root: the folder.
        audio: those that are read, by id.
        texts: lists and labels, by name.
        taken: how many are read of each subset.
        left: how many files of sound are not, by subset and reason.
        links: folders that are links, which are not looked into.
        others: further text files, whose names may be misspelt.
    """

    root: Path
    audio: dict[str, Path] = field(default_factory=dict)
    texts: dict[str, Path] = field(default_factory=dict)
    taken: Counter[str] = field(default_factory=Counter)
    left: Left = field(default_factory=Counter)
    links: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)

    def almost(self, name: str) -> Path | None:
        """A text file that is called nearly as one that is not there."""
        names = {path.name: path for path in self.others}
        close = get_close_matches(name, names, n=1, cutoff=0.7)
        return names[close[0]] if close else None

    def notes(self) -> list[str]:
        """What a person should know of it, a line each; nothing where all is one folder."""
        notes = left_notes(self.left)
        if len(self.taken) > 1:
            each = ", ".join(f"{n:,} of {name}" for name, n in sorted(self.taken.items()))
            notes.insert(0, f"taken: {each}; `subsets` in data.toml chooses among these folders")
        if self.links:
            notes.append(f"links to folders, not looked into: {', '.join(map(str, self.links))}")
        return notes


def look(root: Path, texts: Collection[str], subsets: Collection[str] | None = None) -> Tree:
    """Look through a folder; nothing is opened.

    Args:
        root: the folder.
        texts: the names of lists and labels.
        subsets: the names of the folders of speakers that are taken; all where None.

    Raises:
        DataError: the folder is unreadable, has no sound or no such subset, or a file is out of
            place or there twice.
    """
    tree = Tree(root)
    for folder, folders, names in os.walk(root, onerror=_refuse_unreadable):
        folders.sort()  # so that of several faults the same is named every time
        tree.links.extend(path for name in folders if (path := Path(folder, name)).is_symlink())
        for name in sorted(names):
            path = Path(folder, name)
            if name in texts:
                _put(tree.texts, name, path)
            elif name.endswith(_TEXT) and not name.startswith("."):
                tree.others.append(path)
            else:
                _sort_in(tree, path, subsets)
    _refuse_unknown_subsets(tree, subsets or ())
    if not tree.audio:
        raise _nothing(tree)
    return tree


def _sort_in(tree: Tree, path: Path, subsets: Collection[str] | None) -> None:
    """Take a file of sound, or count it as left; no other file counts."""
    subset, litter = _subset(tree.root, path), path.name.startswith(LITTER)
    kind = ending(path.name.removeprefix(LITTER))
    if kind in OTHER_SOUND or (kind == FLAC and litter):
        tree.left[subset, f"{LITTER}* of macOS" if litter else f"{kind}, not {FLAC}"] += 1
    elif kind == FLAC and subsets is not None and not _names(subset) & set(subsets):
        tree.left[subset, OUTSIDE] += 1
    elif kind == FLAC:
        _put(tree.audio, _id(tree.root, path), path)
        tree.taken[subset] += 1


def _subset(root: Path, path: Path) -> str:
    """The folder of speakers that a file belongs to, below the root; "." for the root itself."""
    return "/".join(path.relative_to(root).parts[:-3]) or "."


def _names(subset: str) -> set[str]:
    """What a recipe may call a subset: its path, or the name of its folder."""
    return {subset, PurePosixPath(subset).name}


def _refuse_unknown_subsets(tree: Tree, subsets: Collection[str]) -> None:
    known = {subset for subset in tree.taken} | {s for s, why in tree.left if why == OUTSIDE}
    for name in subsets:
        if known and not any(name in _names(subset) for subset in known):
            names = sorted(PurePosixPath(subset).name or subset for subset in known)
            found = f"no folder '{name}' of speakers, which subsets in data.toml names"
            raise DataError(str(tree.root), found, ", ".join(names), nearest(name, names))


def _nothing(tree: Tree) -> DataError:
    """What to say of a folder without a file that could be read."""
    kinds = Counter[str]()
    for (_, why), count in tree.left.items():
        kinds[why.partition(",")[0]] += count
    if kinds:
        found = f"{counted(kinds)}, no {FLAC}"
        cure = drafting(tree.root)
        return DataError(str(tree.root), found, PATTERN, cure)
    if tree.links:
        link = tree.links[0]
        found = f"no {FLAC} file lies below it, but {link.name} is a link to a folder"
        cure = f"give the folder itself: {shlex.quote(str(link.resolve()))}"
        return DataError(str(tree.root), found, f"{PATTERN}, in folders that are no links", cure)
    if data_kind(tree.root) != "speech" and any(tree.root.iterdir()):
        return no_data(tree.root, "speech")
    expected = f"{PATTERN}, in folders that are no links"
    cure = "check the path of the data set, or fetch the set again"
    return DataError(str(tree.root), f"no {FLAC} file lies below it", expected, cure)


def _refuse_unreadable(error: OSError) -> NoReturn:
    with reading(Path(error.filename)):
        raise error


def _put(known: dict[str, Path], name: str, path: Path) -> None:
    first = known.setdefault(name, path)
    if first is not path:
        raise DataError(str(path), f"there is {first} too", f"one {name}", "remove one of the two")


def _id(root: Path, path: Path) -> str:
    parts, names = path.relative_to(root).parts[:-1], path.stem.split("-")
    if len(names) != 3 or not names[2] or list(parts[-2:]) != names[:2]:
        found, expected = "its place and its name do not fit", f"{PATTERN} below {root}"
        raise DataError(str(path), found, expected, "rename it, or move it away")
    return path.stem
