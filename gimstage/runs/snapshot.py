"""What a command found out about folders of runs: each looked at once, until its files change.

A file is taken to be what it was while its *stamp* is the same: inode, bytes, and when its content
and its entry last changed. Runs are written as whole files that replace others, so a new file has
another inode; what is written over in place has another time.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from gimstage.files import Stamp, stamp_of
from gimstage.runs.folder import RunFolder, file_sha256
from gimstage.runs.locks import LOCK

T = TypeVar("T")


@dataclass(frozen=True)
class _Finding(Generic[T]):
    """What was found out about a folder.

    Args:
        value: the finding.
        stamps: the stamps of the folder's files, by path, from before it was looked at.
        below: the folders that the finding rests on too.
    """

    value: T
    stamps: dict[str, Stamp]
    below: frozenset[RunFolder]


class Snapshot(Generic[T]):
    """Findings on folders, and the digests of their files."""

    def __init__(self) -> None:
        self._findings: dict[tuple[RunFolder, str], _Finding[T]] = {}
        self._digests: dict[Path, tuple[Stamp, str]] = {}

    def of(
        self,
        folder: RunFolder,
        below: Iterable[RunFolder],
        look: Callable[[], T],
        *,
        asker: str = "",
    ) -> T:
        """What was found out about a folder; found out now, if it has not been.

        Args:
            folder: the folder.
            below: the folders that the finding rests on too; resting on others, it is another.
            look: finds it out.
            asker: for what stage, where that is not the folder's own.
        """
        key, rests_on = (folder, asker), frozenset(below)
        finding = self._findings.get(key)
        if finding is None or finding.below != rests_on:
            stamps = dict(_stamps(folder.path))  # first: a change while looking is a change since
            finding = self._findings[key] = _Finding(look(), stamps, rests_on)
        return finding.value

    def sha256(self, path: Path) -> str:
        """SHA-256 of a file's bytes, which are read once as long as its stamp stays the same.

        Raises:
            FileNotFoundError: there is no such file.
        """
        stamp = stamp_of(path.stat())
        if self._digests.get(path, (None,))[0] != stamp:
            self._digests[path] = stamp, file_sha256(path)
        return self._digests[path][1]

    def look_again(self) -> None:
        """Forget the findings on folders of which a file has changed, come or gone."""
        for (folder, _), finding in list(self._findings.items()):
            if finding.stamps != dict(_stamps(folder.path)):
                self._drop(folder)

    def forget(self, folder: RunFolder) -> None:
        """Forget all about a folder, as if nobody had ever looked at it."""
        self._drop(folder)
        self._digests = {p: d for p, d in self._digests.items() if folder.path not in p.parents}

    def _drop(self, folder: RunFolder) -> None:
        """Forget the finding on a folder and all that rest on it."""
        self._findings = {
            key: finding
            for key, finding in self._findings.items()
            if folder != key[0] and folder not in finding.below
        }

    def touch(self, folder: RunFolder) -> None:
        """Give the folder's manifest the time of now, if it may be; what was found out stays true.

        Make alone asks for it, so a folder that nothing may be written to is as good.
        """
        path, finding = folder.manifest_path, self._findings.get((folder, ""))
        same = finding is not None and finding.stamps.get(str(path)) == stamp_of(path.stat())
        with suppress(OSError):
            path.touch()
        if finding is not None and same:
            finding.stamps[str(path)] = stamp_of(path.stat())


def _stamps(folder: Path | str) -> Iterator[tuple[str, Stamp]]:
    """Path and stamp of every file below a folder but the lock; none where there is no folder."""
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _stamps(entry.path)
        elif entry.name != LOCK:
            try:
                yield entry.path, stamp_of(entry.stat())
            except OSError:  # gone since, or a link to nowhere: as if it had not been there
                continue
