"""Fingerprints of data as runs have them, and changes that sizes and times of files hide."""

import os
from collections.abc import Mapping
from pathlib import Path

from gimstage.data.digests import Digests


def fingerprint(files: Mapping[str, Path], memo: Path = Path("nowhere")) -> str:
    """The fingerprint of files, remembered in a memo where one is given."""
    digests = Digests(memo)
    value = digests.fingerprint(files, {})
    if memo.name != "nowhere":
        digests.keep()
    return value


def flip(path: Path, at: int = -1) -> None:
    """Flip a bit of a file under its old time, as a failing disk or `rsync -t` does."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[at] ^= 0x40
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
