"""Which utterances are train and which are test: read from lists, or told by a hash of the ids.

    train_split.txt  test_split.txt    an id, or the path of its file, per line; both or neither

UTF-8, with or without a byte-order mark. Imports `errors` and its neighbours only.
"""

import hashlib
import shlex
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from gimstage.data.files import reading, require_file
from gimstage.data.kinds import FLAC, OTHER_SOUND, ending, left_notes
from gimstage.data.tree import Tree
from gimstage.data.utterances import RESTORE
from gimstage.errors import DataError, nearest

SPLITS = ("train", "test")
LISTS = {split: f"{split}_split.txt" for split in SPLITS}

_MARK = b"\xef\xbb\xbf"

Ids = dict[str, list[str]]  # of each split


def read_splits(tree: Tree, split: str) -> Ids:
    """The ids of both splits, of which `split` is known and not empty.

    Raises:
        DataError: the split is unknown or empty, or the lists do not fit the files.
    """
    if split not in SPLITS:
        raise DataError(str(tree.root), f"there is no split '{split}'", cure=nearest(split, SPLITS))
    present = [tree.texts[name] for name in LISTS.values() if name in tree.texts]
    if len(present) == 1:
        raise _one_list(tree, present[0])
    seen: dict[str, str] = {}
    read = [_read_list(tree, path, seen) for path in present]
    lists = dict(zip(SPLITS, read, strict=True)) if present else divide(tree.audio, speaker_of)
    if not lists[split]:
        found = f"no speaker has two utterances, so the split '{split}' is empty"
        cure = f"add utterances, or {LISTS['train']} and {LISTS['test']}"
        raise DataError(str(tree.root), found, "two or more of one speaker at least", cure)
    return lists


def _one_list(tree: Tree, present: Path) -> DataError:
    (missing,) = (name for name in LISTS.values() if name not in tree.texts)
    cure = "add the other, or remove this one to have the utterances divided"
    if like := tree.almost(missing):
        new = like.with_name(missing)
        cure = f"if {like.name} is that list, `mv {shlex.quote(str(like))} {shlex.quote(str(new))}`"
    found = f"the other list, {missing}, is missing"
    return DataError(str(present), found, "both or neither", cure)


def lines(path: Path, seen: dict[str, str]) -> Iterator[tuple[str, str, bytes]]:
    """The place, id and whole of every line that is not empty.

    Args:
        path: the file.
        seen: where each id stands so far; added to.

    Raises:
        DataError: an id is there twice, or the file is unreadable.
    """
    with reading(path):
        require_file(path)
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                text = line.removeprefix(_MARK) if number == 1 else line
                if text.strip():
                    id_ = _id(text.split(None, 1)[0])
                    where = f"{path}, line {number}"
                    if seen.setdefault(id_, where) is not where:
                        found = f"'{id_}' is on {seen[id_]} too"
                        raise DataError(where, found, "every id once", "remove one of the two")
                    yield where, id_, text


def _id(word: bytes) -> str:
    """The id in the first word of a line, which may be the path of its file."""
    name = word.replace(b"\\", b"/").rpartition(b"/")[2].decode(errors="backslashreplace")
    return name[: -len(kind)] if (kind := ending(name)) in (FLAC, *OTHER_SOUND) else name


def visible(text: str) -> str:
    """A text with what nobody can see in it written out."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def _read_list(tree: Tree, path: Path, seen: dict[str, str]) -> list[str]:
    ids = [id_ for _, id_, _ in lines(path, seen)]
    if not ids:
        raise DataError(str(path), "it names no utterance", "one id per line", RESTORE)
    missing = [id_ for id_ in ids if id_ not in tree.audio]
    if missing:
        count = f"{len(missing):,} of {len(ids):,}"
        found = f"ids without an audio file: {count}, first '{visible(missing[0])}'"
        expected = f"a .flac file below {tree.root} for each"
        cure = "fetch the files that are missing, or take the ids off the list"
        if len(missing) > len(ids) / 2:  # the ids are wrong, more likely than the files
            expected = f"ids of files below {tree.root}, such as '{min(tree.audio)}'"
            cure = "write one id per line, as the files are called, or fetch the files"
        raise DataError(str(path), found, expected, "; ".join([cure, *left_notes(tree.left)]))
    return ids


def _shuffled(id_: str) -> bytes:
    return hashlib.sha256(id_.encode("utf-8", "surrogateescape")).digest()


def divide(ids: Iterable[str], group: Callable[[str], str]) -> Ids:
    """About a fifth of the ids of each group, of two or more at least one, to test."""
    groups: dict[str, list[str]] = {}
    for id_ in sorted(ids, key=_shuffled):
        groups.setdefault(group(id_), []).append(id_)
    lists: Ids = {split: [] for split in SPLITS}
    for own in groups.values():
        tested = max(round(len(own) / 5), int(len(own) > 1))
        lists["test"] += own[:tested]
        lists["train"] += own[tested:]
    return {split: sorted(chosen) for split, chosen in lists.items()}


def speaker_of(id_: str) -> str:
    """Who speaks in an utterance: the first part of its id."""
    return id_.partition("-")[0]
