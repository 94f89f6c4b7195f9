"""Reading and making data sets so that failure is a message.

Serves the data sources: the system's errors become `DataError`, and a new folder appears whole.
Imports `errors`, `failures` and `files`, nothing else of gimstage.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from tempfile import mkdtemp

from gimstage.errors import DataError
from gimstage.errors.failures import remedy
from gimstage.files import UnreadableError, free_bytes, require_regular


class BadFileError(Exception):
    """A file of somebody's that is no data; its text is the reason, the same for all like it."""


def refuse_no_content(beginning: bytes) -> None:
    """Refuse a file that is empty, or that stands for another one.

    Args:
        beginning: its first 64 bytes.

    Raises:
        BadFileError: says which of the two.
    """
    if not beginning:
        raise BadFileError("empty")
    if beginning.startswith(b"version https://git-lfs"):
        raise BadFileError("a pointer of git-lfs, not the file: `git lfs pull` fetches it")


def refuse_no_file(path: Path) -> None:
    """Refuse one file of many that is none; inside `reading`.

    Raises:
        BadFileError: it is a link that leads nowhere, or a pipe, which would be waited for.
        OSError: there is nothing of that name, or the system cannot say what it is.
    """
    try:
        require_regular(path)
    except UnreadableError as error:
        raise BadFileError(str(error)) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Inside, a failure of the system to read `path` is raised as a DataError naming it."""
    try:
        yield
    except FileNotFoundError as error:
        cure = "check the path of the data set, or fetch the set again"
        raise DataError(str(path), "there is no such file or folder", cure=cure) from error
    except UnreadableError as error:
        cure = "check what it is, or fetch the set again"
        raise DataError(str(path), f"it is {error}", "a file", cure) from error
    except OSError as error:
        found = f"it cannot be read ({error.strerror})"
        raise DataError(str(path), found, cure="check what it is and who may read it") from error


def require_file(path: Path) -> None:
    """Refuse what could not be read to an end, such as a pipe, or not at all; inside `reading`.

    Raises:
        UnreadableError: it is no regular file.
        OSError: there is none.
    """
    if not path.is_symlink() or path.exists():
        require_regular(path)


@contextmanager
def new_folder(root: Path) -> Iterator[Path]:
    """Inside, an empty folder to fill; on leaving it becomes `root`, whole or not at all.

    Args:
        root: the folder to make; it must not exist, or be empty.

    Raises:
        DataError: the folder holds something, or cannot be written.
    """
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError(str(root), "it holds something already", "a new folder", "remove it first")
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with draft(root) as temporary:
            whole = temporary / "whole"
            whole.mkdir()
            yield whole
            _appear(whole, root)
    except OSError as error:
        found = f"it cannot be written ({error.strerror or error})"
        raise DataError(str(root), found, cure=remedy(error, root)) from error


@contextmanager
def draft(target: Path) -> Iterator[Path]:
    """An empty folder beside `target`, this process's alone, removed on leaving.

    It is locked while its process lives; those of processes that were killed, here or before, are
    removed too. Where folders cannot be locked its name is a random one, and nothing else goes.

    Args:
        target: what is to be made of it; its parent exists.

    Raises:
        OSError: it cannot be made.
    """
    _remove_left(target)
    folder, held = _own_draft(target)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if held is not None:
            os.close(held)
            _remove_left(target)


def _own_draft(target: Path) -> tuple[Path, int | None]:
    """The first draft that no living process holds, and the descriptor that locks it."""
    for number in count():
        folder = target.with_name(f".{target.name}.part{number}")
        folder.mkdir(exist_ok=True)
        try:
            if (held := _locked(folder)) is not None:
                return folder, held
        except OSError:  # this file system has no locks
            break
    return Path(mkdtemp(dir=target.parent, prefix=f".{target.name}.")), None


def _locked(folder: Path) -> int | None:
    """A descriptor that locks a folder until it is closed; None where another one does.

    Raises:
        OSError: it cannot be locked at all.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:  # whoever held it has removed it
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), folder.stat()):  # else removed in between
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _remove_left(target: Path) -> None:
    """Remove the drafts of a target whose processes were killed."""
    for folder in target.parent.iterdir():
        if folder.name.startswith(f".{target.name}.part") and folder.is_dir():
            with suppress(OSError):
                if (held := _locked(folder)) is not None:
                    shutil.rmtree(folder, ignore_errors=True)
                    os.close(held)


def require_room(folder: Path, needed: int, what: str) -> None:
    """Refuse before a byte is written what the disk has no room for.

    Args:
        folder: where it is to lie.
        needed: bytes.
        what: what takes them, such as "the images".

    Raises:
        DataError: fewer bytes are free.
    """
    free = free_bytes(folder)
    if free < needed:
        found, expected = f"{free:,} bytes are free on this disk", f"{needed:,} for {what}"
        raise DataError(str(folder), found, expected, "make room, or choose another folder")


def _appear(whole: Path, root: Path) -> None:
    """Give a finished folder its name, unless another process was faster to write the same.

    Raises:
        OSError: it cannot be renamed.
    """
    try:
        whole.replace(root)
    except OSError:
        if not (root.is_dir() and sorted(os.listdir(root)) == sorted(os.listdir(whole))):
            raise
