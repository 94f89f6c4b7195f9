"""Reading and making data sets so that failure is a message, and remembering what files contain.

Serves the data sources: the system's errors become `DataError`, a new folder appears whole, and
the digest of a large file is computed once. Imports `errors` and `files`, nothing else of gimstage.
"""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gimstage.errors import DataError
from gimstage.files import UnreadableError, read_json

MEMO_BYTES = 1 << 27  # of what is remembered: about 600,000 files

_log = logging.getLogger(__name__)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Inside, a failure of the system to read `path` is raised as a DataError naming it."""
    try:
        yield
    except FileNotFoundError as error:
        cure = "check the path of the data set, or fetch the set again"
        raise DataError(str(path), "there is no such file or folder", cure=cure) from error
    except OSError as error:
        found = f"it cannot be read ({error.strerror})"
        raise DataError(str(path), found, cure="check what it is and who may read it") from error


def digests(paths: Sequence[Path], memo: Path) -> list[str]:
    """The sha256 of each file's content, in hexadecimal.

    Args:
        paths: the files.
        memo: a JSON file {path: [size, time of change in ns, digest]}. A file whose size and time
            of change are as remembered is not read again. A memo that cannot be understood is
            built anew; one that cannot be written costs time only, and is logged.

    Raises:
        DataError: a file is missing or unreadable.
    """
    known = _load(memo)
    fresh = {str(path.absolute()): _entry(path, known) for path in paths}
    if not fresh.items() <= known.items():
        _save(memo, known | fresh)
    return [fresh[str(path.absolute())][2] for path in paths]


def _entry(path: Path, known: dict[str, tuple[int, int, str]]) -> tuple[int, int, str]:
    with reading(path):
        # Taken before the content is read: a file changed meanwhile is read again next time.
        stat = path.stat()
        remembered = known.get(str(path.absolute()))
        if remembered and remembered[:2] == (stat.st_size, stat.st_mtime_ns):
            return remembered
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    return stat.st_size, stat.st_mtime_ns, digest


def _load(memo: Path) -> dict[str, tuple[int, int, str]]:
    try:
        stored = read_json(memo, most_bytes=MEMO_BYTES)
        return {
            str(path): (int(size), int(mtime_ns), str(digest))
            for path, (size, mtime_ns, digest) in stored.items()
        }
    except (OSError, UnreadableError, ValueError, TypeError, AttributeError):
        return {}


def _save(memo: Path, entries: dict[str, tuple[int, int, str]]) -> None:
    try:
        memo.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=memo.parent, prefix=f".{memo.name}.")
        try:
            with os.fdopen(descriptor, "w") as file:
                json.dump(entries, file, indent=1)
            os.replace(name, memo)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        _log.warning("%s cannot be written (%s): files will be read again", memo, error.strerror)


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
        with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}.") as temporary:
            whole = Path(temporary) / "whole"
            whole.mkdir()
            yield whole
            _appear(whole, root)
    except OSError as error:
        found = f"it cannot be written ({error.strerror or error})"
        cure = "check the disk's free space and who may write there"
        raise DataError(str(root), found, cure=cure) from error


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
