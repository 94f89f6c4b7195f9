"""What a container of samples gives, and how they are written out: files and a table of labels.

    OUT/SPLIT/00000012-NAME.jpg    the sample, as the container held it
    OUT/labels.csv                 path, split, and a column for every label

Imports `errors`, `progress` and its neighbours only.
"""

import csv
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from gimstage.data.files import new_folder, require_room
from gimstage.data.kinds import Left, by_folder, left_notes
from gimstage.errors import DataError
from gimstage.progress import Progress, Watch

TABLE = "labels.csv"
_OWN = ("path", "split")

_BLOCK_BYTES = 4096  # what a file takes at least on most disks
_STEM = 60  # characters of a sample's own name that are kept
# By the first bytes of a file; a name often says nothing, or something else.
_MAGIC = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG\r\n", ".png"),
    (b"GIF8", ".gif"),
    (b"BM", ".bmp"),
    (b"II*\0", ".tif"),
    (b"MM\0*", ".tif"),
    (b"fLaC", ".flac"),
    (b"ID3", ".mp3"),
    (b"\xff\xfb", ".mp3"),
    (b"\xff\xf3", ".mp3"),
    (b"\xff\xf2", ".mp3"),
)
_RIFF = {b"WAVE": ".wav", b"WEBP": ".webp"}
# The words by which splits are called, in the names of files and folders.
_SPLITS = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "val": ("val", "valid", "validation", "dev"),
    "unlabeled": ("unlabeled", "unlabelled", "unsupervised"),
}
_SPLIT_OF = {word: split for split, words in _SPLITS.items() for word in words}


@dataclass(frozen=True)
class Sample:
    """One sample of a container.

    Args:
        content: the bytes of a file of an image or of sound.
        name: what the container calls it; empty where it does not.
        split: one of the splits' names; empty where the container does not say.
        labels: by the name of their column.
    """

    content: bytes
    name: str = ""
    split: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


class Foreign(ABC):
    """A data set in a container.

    Args:
        source: the folder or file it lies in.
        column: which column or ending holds the samples; None where there is one only.

    Attributes:
        title: what it is, such as "CIFAR10 of torchvision".
        unit: what `done` and `total` count: "samples" or "bytes".
        total: how many there are.
        done: how many `samples` has come past.
        bytes: about so many will be written.
        left: what is not taken, by place and reason, as `samples` meets it.
    """

    title: str
    unit: str = "samples"
    total: int
    bytes: int

    def __init__(self, source: Path, *, column: str | None = None) -> None:
        self.source, self.column = source, column
        self.done, self.left = 0, Counter[tuple[str, str]]()

    @classmethod
    @abstractmethod
    def lies_in(cls, source: Path) -> bool:
        """Whether the names of the files in a place are those of this container."""

    @abstractmethod
    def samples(self) -> Iterator[Sample]:
        """Every sample in the order it lies there.

        Raises:
            DataError: a file of the container cannot be read.
        """


@dataclass(frozen=True)
class Written:
    """What was written of a data set.

    Args:
        folder: where.
        title: what it was.
        splits: samples of each split; of "" where the container names none.
        columns: the names of the labels.
        left: what was not taken, by place and reason.
    """

    folder: str
    title: str
    splits: dict[str, int]
    columns: tuple[str, ...]
    left: Left

    def as_json(self) -> dict[str, object]:
        """The same as plain JSON values."""
        return vars(self) | {"left": by_folder(self.left)}

    def __str__(self) -> str:
        """A line on what is there, and one for everything that was left."""
        counts = [f"{name or 'samples'} {count:,}" for name, count in self.splits.items()]
        labels = f"; labels: {', '.join(self.columns)}" if self.columns else ""
        line = f"{self.title} is in {self.folder}: {', '.join(counts)}{labels}"
        return "\n".join([line, *left_notes(self.left)])


def write_foreign(foreign: Foreign, folder: Path, watch: Watch) -> Written:
    """Write every sample as a file, and the table of their labels last.

    Args:
        foreign: the data set.
        folder: to write to, new or empty; it appears when all of it is there.
        watch: hears of progress, asks to stop.

    Raises:
        DataError: the container cannot be read or holds no sample, or the disk has no room.
    """
    require_room(folder.absolute().parent, foreign.bytes, f"{foreign.title}, about")
    with new_folder(folder) as whole:
        rows = list(_written(foreign, whole, watch))
        if not rows:
            found = "; ".join(left_notes(foreign.left)) or "no sample"
            raise DataError(str(foreign.source), found, "images or sound", "check what it holds")
        columns = tuple(dict.fromkeys(name for _, sample in rows for name in sample))
        _write_table(whole / TABLE, rows, columns)
    watch.report(Progress("data import", foreign.total, foreign.total, foreign.unit))
    splits = Counter(sample["split"] for _, sample in rows)
    labels = tuple(name for name in columns if name != "split")
    return Written(str(folder), foreign.title, dict(splits), labels, foreign.left)


def split_of(path: PurePosixPath) -> str:
    """The split that the name of a file tells, or else of a folder it lies in; "" for none."""
    for part in (path.name, *reversed(path.parts[:-1])):
        for word in re.split(r"[^a-z]+", part.lower()):
            if word in _SPLIT_OF:
                return _SPLIT_OF[word]
    return ""


def ending_of(content: bytes) -> str:
    """The ending that the first bytes of a file ask for; "" for neither an image nor sound."""
    if content[:4] == b"RIFF":
        return _RIFF.get(content[8:12], "")
    if content[:4] == b"OggS":
        return ".opus" if b"OpusHead" in content[:64] else ".ogg"
    return next((ending for magic, ending in _MAGIC if content.startswith(magic)), "")


def _written(
    foreign: Foreign, folder: Path, watch: Watch
) -> Iterator[tuple[str, Mapping[str, str]]]:
    """The path of every file that was written, and its split and labels."""
    number = 0
    for sample in foreign.samples():
        watch.leave_if_asked()
        if watch.due():  # all of it is done when the table is written, too
            done = min(foreign.done, foreign.total - 1)
            watch.report(Progress("data import", done, foreign.total, foreign.unit))
        ending = ending_of(sample.content)
        if not ending:
            why = "neither an image nor sound" if sample.content else "empty"
            foreign.left[sample.split or ".", f"samples that are {why}"] += 1
            continue
        stem = re.sub(r"[^\w.-]+", "_", PurePosixPath(sample.name).stem)[:_STEM]
        path = PurePosixPath(sample.split, f"{number:08d}{'-' if stem else ''}{stem}{ending}")
        if not (folder / path).parent.exists():
            (folder / path).parent.mkdir(parents=True)
        (folder / path).write_bytes(sample.content)
        number += 1
        # A label may be called as the table's own columns are.
        labels = {f"{n}_" if n in _OWN else n: text for n, text in sample.labels.items()}
        yield str(path), {"split": sample.split} | labels


def _write_table(
    path: Path, rows: list[tuple[str, Mapping[str, str]]], columns: tuple[str, ...]
) -> None:
    """The table, without a column for splits where no sample has one."""
    if not any(sample["split"] for _, sample in rows):
        columns = tuple(name for name in columns if name != "split")
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["path", *columns])
        table.writerows([name, *(sample.get(c, "") for c in columns)] for name, sample in rows)
