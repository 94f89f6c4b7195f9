"""Which source reads what lies in a folder, told from names, and from the shapes of arrays.

Imports `errors` and its neighbours only.
"""

import re
from collections import Counter
from pathlib import Path

from gimstage.data import numbers
from gimstage.data.arraykinds import image_axes, largest_of, numbers_in
from gimstage.data.files import reading
from gimstage.data.foreign import CONTAINERS
from gimstage.data.kinds import FLAC, OTHER_SOUND, PICTURES, counted, data_kind, ending, files_in
from gimstage.errors import DataError
from gimstage.errors.commands import pasted

ARRAYS = (".npy", ".npz", ".zarr")
ZARR_MARKS = ("zarr.json", ".zgroup", ".zarray")

_READ = (
    "image files, files of sound, arrays (.npy, .npz, .zarr, .csv), or the layouts of STL-10 and "
    "LibriSpeech"
)
_UTTERANCE = re.compile(r"[0-9]+-[0-9]+-[0-9]+\.flac", re.IGNORECASE)


def source_in(place: Path) -> str:
    """The source that reads what lies in a place: "stl10", "librispeech", "images", "sound", ….

    Args:
        place: a folder, or an array: a .npy or .npz file, or the folder of a .zarr.

    Raises:
        DataError: nothing there is read by any source, or things by several.
    """
    if is_array(place):
        return _of_array(place)
    if not place.is_dir():
        found = "it is no array" if place.exists() else "there is no such file or folder"
        raise DataError(str(place), found, _READ, "give the folder that holds the data: --data DIR")
    if data_kind(place) == "images":
        return "stl10"
    with reading(place):
        names = list(files_in(place))
        arrays = [
            p for p in place.glob("*") if is_array(p) and ending(p.name) not in numbers.ENDINGS
        ]
    counts = Counter(map(ending, names))
    of_kind = {
        "images": sum(counts[each] for each in PICTURES),
        "sound": sum(counts[each] for each in (FLAC, *OTHER_SOUND)),
        "array": len(arrays),
    }
    kinds = [kind for kind, count in of_kind.items() if count]
    if len(kinds) > 1:
        raise _several(place, counts)
    contained = any(container.lies_in(place) for container in CONTAINERS)
    if not kinds and not contained and any(counts[each] for each in numbers.ENDINGS):
        return "array"
    if not kinds:
        what, cure = counted(counts) or "no file at all", "give the folder that holds the data"
        cure += ": --data DIR"
        if contained:
            writing = pasted(["gimstage", "data", "import", str(place), "NEW"])
            cure = f"write its samples out to a new folder: {writing}"
        raise DataError(str(place), what, _READ, cure)
    spoken = kinds == ["sound"] and any(_UTTERANCE.fullmatch(name) for name in names)
    return "librispeech" if spoken else _of_array(place) if kinds == ["array"] else kinds[0]


def _of_array(place: Path) -> str:
    """The source that reads the largest array in a place."""
    found = numbers_in(place)
    return "image_array" if found and image_axes(found[largest_of(found, place)]) else "array"


def is_array(path: Path) -> bool:
    """Whether a path is that of an array, or of a Zarr folder that holds some."""
    if path.is_dir():
        return any((path / mark).exists() for mark in ZARR_MARKS)
    return path.is_file() and ending(path.name) in (*ARRAYS, *numbers.ENDINGS)


def _several(place: Path, counts: Counter[str]) -> DataError:
    cure = "give a folder with one kind of data: --data DIR"
    return DataError(str(place), f"several kinds of data: {counted(counts)}", "one kind", cure)
