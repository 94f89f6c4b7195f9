"""WebDataset: tar archives in which the files of one name, less their endings, are a sample.

Archives are read from beginning to end, compressed or not, and nothing is unpacked by its own name.
Imports `errors` and its neighbours only.
"""

import json
import tarfile
import zlib
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path, PurePosixPath
from tarfile import EmptyHeaderError, TruncatedHeaderError  # type: ignore[attr-defined]
from typing import Any, Self

from gimstage.data.files import reading
from gimstage.data.foreign.base import Foreign, Sample, split_of
from gimstage.data.kinds import FLAC, OTHER_SOUND, PICTURES
from gimstage.errors import DataError

_ARCHIVES = (".tar", ".tar.gz", ".tgz")
_FILES = tuple(ending.removeprefix(".") for ending in (*PICTURES, FLAC, *OTHER_SOUND))

Member = tuple[str, str, bytes]  # a sample's name, what follows its first dot, the content


class WebDataset(Foreign):
    """Samples of tar archives.

    Args:
        source: a folder of them, or one of them.
        column: the ending of the samples' own files, where each has several.
    """

    unit = "bytes"

    def __init__(self, source: Path, *, column: str | None = None) -> None:
        super().__init__(source, column=column)
        self.title = f"{source.absolute().name}, tar archives"
        self._archives = _archives(source)
        self.total = self.bytes = sum(path.stat().st_size for path in self._archives)

    @classmethod
    def lies_in(cls, source: Path) -> bool:
        """Whether there are tar archives."""
        return bool(_archives(source))

    def samples(self) -> Iterator[Sample]:
        """Every sample with a file of an image or of sound; its words and numbers as labels."""
        for archive in self._archives:
            root = self.source.parent if self.source.is_file() else self.source
            split = split_of(PurePosixPath(archive.relative_to(root)))
            for name, members in groupby(self._members(archive), lambda member: member[0]):
                parts = {ending: content for _, ending, content in members}
                media = self._media(archive, name, parts)
                if media is None:
                    self.left[split or ".", "samples without a file of an image or of sound"] += 1
                    continue
                labels = self._labels({e: parts[e] for e in parts if e != media})
                yield Sample(parts[media], name, split, labels)

    def _members(self, archive: Path) -> Iterator[Member]:
        """The files of an archive; `done` counts its bytes as they come past."""
        before = self.done
        with reading(archive), archive.open("rb") as raw:
            try:
                with tarfile.open(fileobj=raw, mode="r|*", tarinfo=_Whole) as tar:
                    for member in tar:
                        path = PurePosixPath(member.name)
                        name, _, ending = path.name.partition(".")
                        if member.isfile() and name and not name.startswith("__"):
                            held = tar.extractfile(member)
                            assert held is not None, "a member that is a file has content"
                            yield str(path.with_name(name)), ending.lower(), held.read()
                        self.done = before + raw.tell()
            except (tarfile.TarError, EOFError, zlib.error) as error:
                found = f"it is no whole tar archive ({error})"
                raise DataError(str(archive), found, cure="fetch the archive again") from error
        self.done = before + archive.stat().st_size

    def _media(self, archive: Path, name: str, parts: dict[str, bytes]) -> str | None:
        """The ending of a sample's own file; None where it has none.

        Raises:
            DataError: it has several, and none was named.
        """
        held = [e for e in parts if e.rpartition(".")[2] in _FILES]
        if self.column is not None or len(held) < 2:
            return next((e for e in held if self.column in (None, e)), None)
        found = f"files {', '.join(held)} of {name}"
        raise DataError(str(archive), found, "one a sample", f"name one: --column {held[0]}")

    def _labels(self, parts: dict[str, bytes]) -> dict[str, str]:
        """What the other files of a sample tell: words of text, and the values of JSON."""
        labels = {}
        for ending, content in parts.items():
            if ending in ("cls", "txt", "text", "label"):
                text = content.decode("utf-8", errors="replace").strip()
                labels["class" if ending == "cls" else ending] = text
            elif ending == "json":
                labels.update(self._values(content))
            else:
                self.left["the archives", f".{ending} files, no labels"] += 1
        return labels

    def _values(self, content: bytes) -> dict[str, str]:
        """The words and numbers of a JSON object."""
        try:
            document: Any = json.loads(content)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            self.left["the archives", ".json files that hold no object"] += 1
            return {}
        plain = {name: v for name, v in document.items() if isinstance(v, str | int | float)}
        return {name: str(value) for name, value in plain.items()}


class _Whole(tarfile.TarInfo):
    """The head of a member; an archive that ends without its end is not taken for a whole one."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        """The next head; raises EOFError where tarfile would see an end in a cut."""
        try:
            return super().fromtarfile(tarfile)
        except (TruncatedHeaderError, EmptyHeaderError) as error:
            raise EOFError("unexpected end of data") from error


def _archives(source: Path) -> list[Path]:
    if source.is_file():
        return [source] if source.name.endswith(_ARCHIVES) else []
    found = (path for path in source.rglob("*") if path.name.endswith(_ARCHIVES))
    return sorted(path for path in found if path.is_file() and not path.name.startswith("."))
