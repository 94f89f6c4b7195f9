"""What kind of data lies in a folder, and in which folder a file's data, told from names alone.

Imports `errors`, nothing else of gimstage.
"""

import os
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

from gimstage.errors import DataError
from gimstage.errors.commands import pasted

Kind = Literal["images", "speech"]
Left = Counter[tuple[str, str]]  # how many files are not read, by folder and reason

FLAC = ".flac"
# Endings of sound that is not in LibriSpeech's layout.
OTHER_SOUND = (".wav", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".wma")
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
LITTER = "._"  # how macOS begins the names of what it leaves beside files on foreign disks

_PIXELS = "_X.bin"
_ARRAYS, _STORE = (".npy", ".npz", ".csv", ".tsv"), ".zarr"
_LISTS = ("train_split.txt", "test_split.txt")
_DEPTHS = (2, 3, 4)  # of the folder of a LibriSpeech tree above its sound: SPLIT/SPEAKER/CHAPTER
_LOOKED_AT = 100_000  # files of a folder that holds neither
_IMAGES = "images in STL-10's layout (unlabeled_X.bin, train_X.bin, …)"
_SPEECH = "speech in LibriSpeech's (SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE.flac)"
_OWN = (*PICTURES, FLAC, *OTHER_SOUND, ".npy", ".npz")  # what other sources read


def data_kind(folder: Path) -> Kind | None:
    """Images in STL-10's layout, speech, or None where neither lies there.

    Sound of any ending is speech, and so are split lists without any: who reads speech says best
    what is wrong with them.
    """
    if any(folder.glob(f"*{_PIXELS}")):
        return "images"
    speech = (FLAC, *OTHER_SOUND)
    told = any(ending(name) in speech or name in _LISTS for name in files_in(folder))
    return "speech" if told else None


def no_data(folder: Path, wanted: Kind | None = None) -> DataError:
    """What to say of a folder in which no data lies that could be read.

    Args:
        folder: the folder.
        wanted: the kind of data looked for; None for any.
    """
    expected = f"{_IMAGES} or {_SPEECH}"
    if not folder.is_dir():
        cure = "check the path of the data set, or fetch the set again"
        return DataError(str(folder), "there is no such folder", expected, cure)
    below = next((path.parent for path in sorted(folder.glob(f"*/*{_PIXELS}"))), None)
    if below is not None and wanted != "speech":
        found = f"no *{_PIXELS} lies in it, but in {below.name} below it"
        return DataError(str(folder), found, _IMAGES, f"give {shlex.quote(str(below))} instead")
    kind, lies_there = data_kind(folder), described(folder)
    if wanted and kind and kind != wanted:
        found, cure = f"{kind}: {lies_there}", f"give other data; {drafting(folder)}"
        return DataError(str(folder), found, wanted, cure)
    cure = "give the folder that holds the data: --data DIR"
    if any(ending(name) in _OWN for name in islice(files_in(folder), _LOOKED_AT)):
        cure = drafting(folder)
    found = f"neither images nor speech in these layouts: {lies_there}"
    return DataError(str(folder), found, expected, cure)


def drafting(folder: Path) -> str:
    """The cure for data of which a recipe does not read the layout: one that does is written."""
    return f"{pasted(['gimstage', 'init', 'mine', '--data', str(folder)])} writes a recipe for it"


def described(folder: Path) -> str:
    """How many files of which endings lie below a folder, the most frequent first."""
    counts = Counter(ending(name) or "other" for name in islice(files_in(folder), _LOOKED_AT))
    return counted(counts) or "no file at all"


def counted(counts: Counter[str]) -> str:
    """The most frequent endings and how many files have them: "24 .wav files, 1 .txt file"."""
    shown = [f"{n:,} {name} file{'s' * (n > 1)}" for name, n in counts.most_common(3)]
    return ", ".join([*shown, "…"] if len(counts) > len(shown) else shown)


def left_notes(left: Left) -> list[str]:
    """A line for every folder in which files were left: how many, and why."""
    folders = sorted({folder for folder, _ in left})
    reasons = {
        own: "; ".join(f"{n:,} {why}" for (folder, why), n in sorted(left.items()) if folder == own)
        for own in folders
    }
    return [f"left in {folder}: {text}" for folder, text in reasons.items()]


def by_folder(left: Left) -> dict[str, dict[str, int]]:
    """How many files were left by folder, then reason, for JSON."""
    folders = sorted({folder for folder, _ in left})
    return {own: {why: n for (folder, why), n in left.items() if folder == own} for own in folders}


def ending(name: str) -> str:
    """The ending of a file's name in small letters, ".flac"; empty for litter and hidden files."""
    return "" if name.startswith(".") else os.path.splitext(name)[1].lower()


def data_folders(file: Path) -> list[Path]:
    """Where the data may begin that a file belongs to; nowhere for a file of no known layout."""
    if file.name.endswith(_PIXELS):
        return [file.parent]
    if ending(file.name) in _ARRAYS:
        return [file, *file.parents[:2]]
    if stores := [folder for folder in file.parents if folder.suffix == _STORE]:
        return [stores[-1], stores[-1].parent]
    depths: Iterable[int] = _DEPTHS if ending(file.name) == FLAC else ()
    return [file.parents[depth] for depth in depths if len(file.parents) > depth]


def files_in(folder: Path) -> Iterator[str]:
    """The names of all files below a folder, in no order."""
    for _, _, names in os.walk(folder):
        yield from names
