"""What kind of data lies in a folder, told from its files' names alone.

This file imports nothing of gimstage.
"""

from pathlib import Path
from typing import Literal

Kind = Literal["images", "speech"]


def data_kind(folder: Path) -> Kind | None:
    """Images in STL-10's layout, speech in LibriSpeech's, or None where neither lies there."""
    if any(folder.glob("*_X.bin")):
        return "images"
    return "speech" if any(folder.rglob("*.flac")) else None
