"""Bytes as people write and read them, in decimal units; spans of time as they read them.

This file imports nothing of gimstage but errors and bounds.
"""

import math

from gimstage.errors import GimstageError
from gimstage.sizes.bounds import MOST_BYTES

UNITS = {"TB": 10**12, "GB": 10**9, "MB": 10**6, "kB": 10**3, "B": 1}


def format_bytes(count: float) -> str:
    """Bytes in the unit that suits them: 655.4 GB."""
    for unit, size in (("B", 1), ("kB", 10**3), ("MB", 10**6), ("GB", 10**9)):
        places = int(size > 1)
        if round(count / size, places) < 1000:  # as it is shown: 999 960 bytes are 1.0 MB
            return f"{count / size:.{places}f} {unit}"
    return f"{count / 10**12:.1f} TB"


def format_duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever suits: 1.5 h."""
    for unit, length in (("s", 1), ("min", 60)):
        if round(seconds / length, 1) < 60:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds / 3600:.1f} h"


def parse_bytes(where: str, text: str) -> int:
    """The bytes meant by "200GB", "1.5 TB", "512MB".

    Raises:
        GimstageError: it is not a positive number with a unit; `where` names the option.
    """
    unit = next((u for u in UNITS if text.strip().upper().endswith(u.upper())), "")
    try:
        count = float(text.strip()[: -len(unit)]) * UNITS[unit]
    except (KeyError, ValueError):
        count = math.nan
    if not 1 <= count <= MOST_BYTES:
        units = ", ".join(UNITS)
        raise GimstageError(where, repr(text), f"a positive number and one of {units}")
    return int(count)
