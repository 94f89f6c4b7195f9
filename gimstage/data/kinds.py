"""What kind of data lies in a folder, and in which folder a file's data, told from names alone.

This file imports nothing of gimstage.
"""

from pathlib import Path
from typing import Literal

Kind = Literal["images", "speech"]

_PIXELS, _SOUND = "_X.bin", ".flac"
_DEPTHS = (2, 3, 4)  # of the folder of a LibriSpeech tree above its sound: SPLIT/SPEAKER/CHAPTER


def data_kind(folder: Path) -> Kind | None:
    """Images in STL-10's layout, speech in LibriSpeech's, or None where neither lies there."""
    if any(folder.glob(f"*{_PIXELS}")):
        return "images"
    return "speech" if any(folder.rglob(f"*{_SOUND}")) else None


def data_folders(file: Path) -> list[Path]:
    """Where the data may begin that a file belongs to; nowhere for a file of neither layout."""
    if file.name.endswith(_PIXELS):
        return [file.parent]
    depths = _DEPTHS if file.suffix == _SOUND else ()
    return [file.parents[depth] for depth in depths if len(file.parents) > depth]
