"""Where a result may lie, whatever its folder is called: manifests by the digests in them.

    runs/*/*/manifest.json ─► Finished ─► folders that mention a digest, in order

That a folder mentions a digest is a hint and no more; who takes it for a result reads it first.
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from gimstage.files import Stamp, UnreadableError, read_regular, stamp_of
from gimstage.runs.folder import RunFolder
from gimstage.runs.manifest import MOST_BYTES

Digests = frozenset[str]


class Finished:
    """The manifests below a runs folder; each is read once as long as its stamp stays the same.

    Args:
        root: the runs folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._read: dict[Path, tuple[Stamp, Digests]] = {}
        self._listed: dict[Path, Digests] | None = None
        self._busy: dict[RunFolder, bool] = {}

    def mentioning(self, digests: Iterable[str], *, beside: RunFolder) -> list[RunFolder]:
        """The folders whose manifests mention all of some digests, in the order of their paths.

        A folder that another process works on just now is not among them.

        Args:
            digests: SHA-256 digests, 64 hexadecimal digits each.
            beside: a folder that is not asked for.
        """
        wanted = frozenset(digests)
        if self._listed is None:
            self._listed = self._list()
        folders = [RunFolder(path) for path, known in self._listed.items() if wanted <= known]
        return [folder for folder in folders if folder != beside and not self._is_busy(folder)]

    def look_again(self) -> None:
        """List anew when next asked: manifests have come, gone or changed."""
        self._listed, self._busy = None, {}

    def _is_busy(self, folder: RunFolder) -> bool:
        if folder not in self._busy:
            self._busy[folder] = folder.is_busy()
        return self._busy[folder]

    def _list(self) -> dict[Path, Digests]:
        read = {}
        for path in sorted(self.root.glob("*/*/manifest.json")):
            with suppress(OSError, UnreadableError):  # gone since, or not to be read
                read[path] = self._digests(path)
        self._read = read
        return {path.parent: digests for path, (_, digests) in read.items()}

    def _digests(self, path: Path) -> tuple[Stamp, Digests]:
        now = stamp_of(path.stat())
        known = self._read.get(path)
        if known is not None and known[0] == now:
            return known
        data = read_regular(path, most_bytes=MOST_BYTES)
        return now, frozenset(each.decode() for each in re.findall(rb"\b[0-9a-f]{64}\b", data))
