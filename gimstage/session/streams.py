r"""Streams that bear whatever is written to them: any character, a full disk, nobody who reads.

A result is never lost because of a character: what an encoding lacks is written in others that
everybody can read, "→" as "->", "é" as "\xe9".
"""

from __future__ import annotations

import codecs
import os
from contextlib import suppress
from typing import Any

READABLE = "gimstage-readable"  # the name under which codecs know it

_PLAIN = {
    "→": "->",
    "–": "-",
    "—": "-",
    "×": "x",
    "·": ".",
    "…": "...",
    "±": "+/-",
    "≤": "<=",
    "≥": ">=",
    "²": "^2",
    "‖": "||",
}


def _in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    """What stands for characters that an encoding lacks, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    escaped = (_PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lacking)
    return "".join(escaped), error.end


codecs.register_error(READABLE, _in_plain_letters)


class Tolerant:
    """A stream for what may get lost: progress stops no work, though its terminal was closed.

    Args:
        stream: where to write, as long as that can be done.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._waiting = False

    def write(self, text: str) -> int:
        """Write a text, or lose it."""
        self._waiting |= bool(text)
        try:
            if text:
                self._stream.write(text)
        except (OSError, ValueError):
            silence(self._stream)
        return len(text)

    def flush(self) -> None:
        """Send on what was written, or lose it; a full disk would not even take nothing."""
        waiting, self._waiting = self._waiting, False
        try:
            if waiting:
                self._stream.flush()
        except (OSError, ValueError):
            silence(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def silence(stream: Any) -> None:
    """Let a stream that cannot be written lead nowhere, so that its last flush is no error."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)
