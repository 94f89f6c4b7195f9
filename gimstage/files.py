"""Files that appear whole or not at all, are read without trust, and set aside where damaged.

This file imports nothing of gimstage.
"""

import errno
import hashlib
import json
import logging
import math
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

DAMAGED = ".damaged"  # follows the names of files that were set aside
# A name on disk need not be UTF-8; the bytes in it that are none are written as \udcff.
ODD_NAMES = "backslashreplace"
DEEPEST = 64  # levels of a JSON document; how many Python bears depends on who calls

Stamp = tuple[int, int, int, int]

_log = logging.getLogger(__name__)


class UnreadableError(Exception):
    """A file or a document is not what was asked for; the message says in what way."""


def is_url(place: object) -> bool:
    """Whether a text is an address such as s3://bucket/runs, and no path on this machine."""
    return isinstance(place, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", place) is not None


def sync_folder(folder: Path) -> None:
    """Make the folder's names durable: a rename survives a power cut only after this."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with naming(folder):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk where a folder lies, or will lie once it is made."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Inside, an error of the system that names no file, as of write and fsync, names this one."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`; what was written there becomes `path` on leaving.

    The content is on the disk before the name changes, so `path` holds the old bytes or the new
    ones, whenever the process is killed. On an exception `path` is left as it was.
    """
    partial = path.with_name(path.name + ".part")
    try:
        with naming(path):
            yield partial
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
            sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def stamp_of(status: os.stat_result) -> Stamp:
    """Inode, bytes, and when content and entry last changed, in ns: the same of the same file."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def require_regular(path: Path) -> os.stat_result:
    """What the system says of a file, which may be reached through links.

    Raises:
        FileNotFoundError: there is nothing of that name.
        UnreadableError: it is no regular file.
    """
    if path.is_symlink() and not path.exists():
        raise UnreadableError("a link that leads nowhere")
    try:
        status = path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnreadableError("behind a link that leads to itself") from error
        raise
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableError("a folder" if stat.S_ISDIR(status.st_mode) else "no regular file")
    return status


def open_regular(path: Path, *, most_bytes: int) -> BufferedReader:
    """Open what should be a file, whatever it is: no pipe is waited for.

    Args:
        path: the file; links are followed.
        most_bytes: the most that such a file may hold.

    Raises:
        FileNotFoundError: there is nothing of that name.
        UnreadableError: it is no regular file, or a larger one.
        OSError: the system cannot read it, or may not.
    """
    status = require_regular(path)
    if status.st_size > most_bytes:
        raise UnreadableError(f"{status.st_size:,} bytes, more than {most_bytes:,}")
    return open(path, "rb", opener=_without_waiting)


def read_regular(path: Path, *, most_bytes: int) -> bytes:
    """All bytes of what should be a file; arguments and errors as of `open_regular`."""
    with open_regular(path, most_bytes=most_bytes) as file:
        return file.read(os.fstat(file.fileno()).st_size)


def _without_waiting(path: str, flags: int) -> int:
    """Open what may have become a pipe since it was looked at."""
    return os.open(path, flags | os.O_NONBLOCK)


def parse_json(text: bytes | str) -> Any:
    """The document in a text that may be anything, its numbers finite, its strings Unicode.

    Raises:
        UnreadableError: it is no such document, or nested deeper than `DEEPEST`.
    """
    try:
        text = text if isinstance(text, str) else text.decode("utf-8")
        document = json.loads(text, parse_constant=_no_number, parse_float=_finite)
        if "\\u" in text:  # may be half of a surrogate pair, which nothing can print
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        raise UnreadableError(f"no JSON: {error}") from error
    except UnicodeError as error:
        raise UnreadableError("no UTF-8") from error
    except ValueError as error:  # of int(), which refuses to take all day
        raise UnreadableError("a number of too many digits") from error
    except RecursionError as error:
        raise UnreadableError("nested too deep") from error
    _refuse_deep(document)
    return document


def _no_number(text: str) -> None:
    raise UnreadableError(f"{text} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise UnreadableError(f"{text[:20]} is too large a number")
    return value


def _refuse_deep(document: Any) -> None:
    level = [document]
    for _ in range(DEEPEST + 1):
        outer = [each for each in level if isinstance(each, (dict, list))]
        if not outer:
            return
        values = (each.values() if isinstance(each, dict) else each for each in outer)
        level = [each for inner in values for each in inner]
    raise UnreadableError("nested too deep")


def document_sha256(document: Any) -> str:
    """SHA-256 of a document as JSON, 64 hexadecimal digits, whatever the order of its keys."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_json(path: Path, *, most_bytes: int) -> Any:
    """The document in a file of JSON; arguments and errors as of `read_regular`, `parse_json`."""
    return parse_json(read_regular(path, most_bytes=most_bytes))


def write_json(path: Path, document: Any) -> None:
    """Write a document as indented JSON, whole or not at all.

    Raises:
        ValueError: a number in it is not finite.
    """
    with appearing(path) as partial:
        text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
        partial.write_text(text + "\n", "utf-8", ODD_NAMES)


def set_aside(path: Path, reason: str, then: str) -> None:
    """Rename what is damaged to NAME.damaged, in place of an earlier one, and say so in the log.

    Args:
        path: the file, link or folder; of one that is missing there is only something to say.
        reason: what is wrong with it.
        then: what is done about it.
    """
    if os.path.lexists(path):
        aside = path.with_name(path.name + DAMAGED)
        remove(aside)
        path.rename(aside)
        sync_folder(path.parent)
        then = f"set aside as {aside.name}, {then}"
    _log.warning("%s: %s; %s", path, reason, then)


def asides(folder: Path) -> list[Path]:
    """What was set aside in a folder and in those below it, sorted."""
    return sorted(folder.rglob(f"*{DAMAGED}"))


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all that is in it, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
