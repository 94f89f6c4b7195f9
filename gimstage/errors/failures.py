"""What the system's errors mean to a person: the file, the work it belongs to, what to do.

This file imports nothing of gimstage but commands.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gimstage.errors.commands import pasted

AGAIN = "then run the same command again"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM)
_IN_THE_WAY = (errno.EISDIR, errno.EEXIST, errno.ENOTDIR, errno.ENOTEMPTY)
_TOO_MANY = (errno.EMFILE, errno.ENFILE)


@contextmanager
def working_on(title: str) -> Iterator[None]:
    """Inside, an error of the system says what was worked on."""
    try:
        yield
    except OSError as error:
        error.add_note(title)
        raise


def told(error: OSError, otherwise: str) -> str:
    """An error of the system as a message: where, what was found, what to do.

    Args:
        error: the error, its file named where it is known.
        otherwise: what is named where no file is.
    """
    place = _place(error, otherwise)
    titles = getattr(error, "__notes__", [])
    where = ", ".join([*titles[:1], place])
    return f"{where}: {error.strerror or error}; {remedy(error, place)}"


def remedy(error: OSError, otherwise: Path | str) -> str:
    """What to do about an error of the system; arguments as of `told`."""
    number, path = error.errno, Path(_place(error, otherwise))
    if number in _FULL:
        free = _free_bytes(path)
        return f"nothing written is lost: make room{free}, {AGAIN}"
    if number in _FORBIDDEN:
        return f"nothing written is lost: see who may read and write there, {AGAIN}"
    if number == errno.EROFS:
        return "what lies there can be read only: name a folder elsewhere"
    if number in _IN_THE_WAY:
        return f"nothing written is lost: {_clearing(path)}"
    if number == errno.ENOENT:
        return _making(path)
    if number == errno.EIO:
        return f"the disk fails: see that it is well, or go on with a copy elsewhere, {AGAIN}"
    if number in _TOO_MANY:
        return f"nothing written is lost: run {pasted(['ulimit', '-n', '4096'])}, {AGAIN}"
    return f"nothing written is lost: see what the system has to say of it, {AGAIN}"


def _place(error: OSError, otherwise: Path | str) -> str:
    """The file that could not be had; of a renaming, what it was to become."""
    named = [n for n in (error.filename2, error.filename) if isinstance(n, str | bytes)]
    return os.fsdecode([*named, otherwise][0])


def _free_bytes(path: Path) -> str:
    """How much is free on the disk where a file was to lie."""
    for folder in [path, *path.absolute().parents]:
        if folder.exists():
            return f" ({shutil.disk_usage(folder).free:,} bytes are free)"
    return ""


def _clearing(path: Path) -> str:
    """What moves away that lies where a file or a folder should."""
    final = path.with_name(path.name.removesuffix(".part"))
    above = [place for place in path.parents if place.exists() and not place.is_dir()]
    dangling = [p for p in [path, *path.parents] if p.is_symlink() and not p.exists()]
    there = [*dangling, *above, *[p for p in (final, path) if os.path.lexists(p)]][0:1]
    if not there:
        return f"see what lies there, {AGAIN}"
    kind = "a folder" if there[0].is_dir() else "a link" if there[0].is_symlink() else "a file"
    moving = pasted(["mv", str(there[0]), f"{there[0]}.aside"])
    return f"{kind} is in the way: run {moving}, {AGAIN}"


def _making(path: Path) -> str:
    """What makes the folder that a file was to lie in."""
    if path.parent.is_dir():
        return f"there is no such place: see that its name is right, {AGAIN}"
    return f"there is no such folder: run {pasted(['mkdir', '-p', str(path.parent)])}, {AGAIN}"
