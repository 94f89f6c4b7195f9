"""What files of data hold, as their SHA-256: as it is remembered, and as their bytes are.

    fingerprint   a file is taken to be what it was while its size and time of change are the same,
                  so that gigabytes are read once to say what a recipe is trained on
    compare       nothing is trained on before every byte has been read and compared with that;
                  asked again, it reads what was touched since, so nothing is committed either

The memo vouches for itself by a digest over its entries; one that does not is as good as none.
"""

import hashlib
import logging
import shlex
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from gimstage.data.files import reading, require_file
from gimstage.errors import ChangedDataError
from gimstage.files import (
    Stamp,
    UnreadableError,
    document_sha256,
    read_json,
    stamp_of,
    write_json,
)

MEMO_BYTES = 1 << 27  # of what is remembered: about 600,000 files
BLOCK_BYTES = 1 << 20

Heard = Callable[[int], None]  # told of so many bytes more

_log = logging.getLogger(__name__)
# What this process has read itself, whichever recipe asked: a file's stamp from before, its digest.
_read: dict[str, tuple[Stamp, str]] = {}


class Digests:
    """The digests of data files, and whether they are still true.

    Args:
        memo: a JSON file of what is remembered. One that cannot be understood is built anew; one
            that cannot be written costs time only, and is logged.
    """

    def __init__(self, memo: Path) -> None:
        self.memo = memo
        self._known = _load(memo)
        self._taken: dict[str, tuple[int, int, str]] = {}

    def of(self, paths: Iterable[Path]) -> list[str]:
        """The digest of each file, 64 hexadecimal digits; nothing is written.

        Raises:
            DataError: a file is missing or unreadable.
        """
        return [self._entry(path)[2] for path in paths]

    def fingerprint(self, files: Mapping[str, Path], told: Mapping[str, str]) -> str:
        """One digest over names and contents of files, in their order, and what is told besides.

        Args:
            files: the files by name.
            told: digests by name of what no file holds.

        Raises:
            DataError: a file is missing or unreadable.
        """
        return combined({**dict(zip(files, self.of(files.values()), strict=True)), **told})

    def compare(self, paths: Iterable[Path], heard: Heard = lambda count: None) -> None:
        """Read every byte that this process has not read yet, and compare it with `of`.

        Args:
            paths: the files.
            heard: told of bytes as they are read.

        Raises:
            ChangedDataError: a file holds other bytes than when it was first read.
            DataError: a file is missing or unreadable.
        """
        for path in paths:
            expected = self._entry(path)[2]
            digest = read_digest(path, heard)
            if digest != expected:
                raise _changed(path, digest, expected)

    def _entry(self, path: Path) -> tuple[int, int, str]:
        """Size, time and digest of a file, the same for as long as this object is asked."""
        key = str(path.absolute())
        if key not in self._taken:
            with reading(path):
                _, size, mtime_ns, _ = _stamp(path)
            remembered = self._known.get(key)
            if remembered is None or remembered[:2] != (size, mtime_ns):
                remembered = size, mtime_ns, read_digest(path)
            self._taken[key] = remembered
        return self._taken[key]

    def keep(self) -> None:
        """Write what was taken to the memo."""
        if self._taken.items() <= self._known.items():
            return
        self._known |= self._taken
        try:
            self.memo.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.memo, {"sha256": document_sha256(self._known), "files": self._known})
        except FileNotFoundError:  # another process finished the same memo first
            return
        except OSError as error:
            what = "%s cannot be written (%s): files will be read again"
            _log.warning(what, self.memo, error.strerror)


def combined(digests: Mapping[str, str]) -> str:
    """One digest over names and the digests that belong to them, in their order."""
    lines = [f"{name} {digest}\n" for name, digest in digests.items()]
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def read_digest(path: Path, heard: Heard = lambda count: None) -> str:
    """The digest of a file's bytes, read unless this process has read the very same file.

    Args:
        path: the file.
        heard: told of bytes as they are read.

    Raises:
        DataError: it is missing or unreadable.
    """
    key = str(path.absolute())
    with reading(path):
        stamp = _stamp(path)  # first: a change while reading is a change since
        if _read.get(key, (None,))[0] != stamp:
            _read[key] = stamp, _digest(path, heard)
    return _read[key][1]


def unread_bytes(paths: Iterable[Path]) -> int:
    """How many bytes of some files this process has not read yet; raises as `read_digest`."""
    total = 0
    for path in paths:
        with reading(path):
            stamp = _stamp(path)
        total += stamp[1] if _read.get(str(path.absolute()), (None,))[0] != stamp else 0
    return total


def remembered_files(memo: Path) -> list[Path]:
    """The files that a memo tells of; none where it cannot be understood."""
    return list(map(Path, _load(memo)))


def _digest(path: Path, heard: Heard) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            heard(len(block))
    return digest.hexdigest()


def _stamp(path: Path) -> Stamp:
    require_file(path)
    return stamp_of(path.stat())


def _changed(path: Path, digest: str, expected: str) -> ChangedDataError:
    return ChangedDataError(
        str(path),
        f"its bytes have the SHA-256 {digest[:12]}…",
        f"{expected[:12]}…, as when it was first read",
        "restore it from its source; if it is meant to be so, run "
        f"`touch {shlex.quote(str(path))}`; then the same command again",
    )


def _load(memo: Path) -> dict[str, tuple[int, int, str]]:
    try:
        stored = read_json(memo, most_bytes=MEMO_BYTES)
        if stored["sha256"] != document_sha256(stored["files"]):
            return {}
        return {
            str(path): (int(size), int(mtime_ns), str(digest))
            for path, (size, mtime_ns, digest) in stored["files"].items()
        }
    except (OSError, UnreadableError, ValueError, TypeError, AttributeError, KeyError):
        return {}
