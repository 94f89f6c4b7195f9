"""TextGrid files of Praat: which label holds from when to when, tier by tier.

Long and short text files, in UTF-8 or UTF-16; tiers of points are left out. Imports `errors` and
its neighbours only.
"""

import codecs
import re
from pathlib import Path
from typing import Any

from gimstage.data.files import reading
from gimstage.errors import DataError
from gimstage.files import read_regular

MOST_BYTES = 1 << 28

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# Praat reads nothing but texts in quotes and numbers that stand free; the rest is for people.
_TOKEN = re.compile(r'"((?:[^"]|"")*)"|(?<!\S)([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)(?!\S)')

Tiers = dict[str, list[tuple[float, float, str]]]  # start and end in seconds, label


def read_textgrid(path: Path) -> Tiers:
    """The stretches of every tier of intervals by its name, those without a label left out.

    Args:
        path: the file.

    Raises:
        DataError: it cannot be read, or is no TextGrid.
    """
    with reading(path):
        content = read_regular(path, most_bytes=MOST_BYTES)
    try:
        text = content.decode("utf-16" if content[:2] in _UTF_16 else "utf-8-sig")
        return _tiers([_value(*match.groups()) for match in _TOKEN.finditer(text)])
    except (UnicodeError, ValueError, TypeError) as error:
        cure = "save it again with Praat, as a text file"
        found = "it is no TextGrid that can be read"
        raise DataError(str(path), found, "a TextGrid in text form", cure) from error


def _value(quoted: str | None, number: str) -> Any:
    return float(number) if quoted is None else quoted.replace('""', '"').strip()


def _tiers(values: list[Any]) -> Tiers:
    """The tiers; ValueError or TypeError where the values are those of something else."""
    file, kind, _, _, count = values[:5]
    if (file, kind) != ("ooTextFile", "TextGrid"):
        raise ValueError(f"{file}, {kind}")
    tiers: Tiers = {}
    at = 5
    for _ in range(int(count)):
        kind, name, _, _, size = values[at : at + 5]
        width = 3 if kind == "IntervalTier" else 2  # start, end and text, or time and text
        rows = values[at + 5 : at + 5 + width * int(size)]
        at += 5 + width * int(size)
        if at > len(values):
            raise ValueError("fewer than it counts")
        if width == 3:
            stretches = zip(rows[::3], rows[1::3], rows[2::3], strict=True)
            tiers[str(name)] = [
                (start + 0.0, end + 0.0, str(text)) for start, end, text in stretches if text
            ]
    return tiers
