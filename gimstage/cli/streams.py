"""What commands write to: every character arrives, and it is said if nothing does."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from typing import Any, NoReturn

from gimstage.errors import GimstageError
from gimstage.session.streams import READABLE, silence


class _Closed(io.TextIOBase):
    """Stands for a stream that was closed before the command began, as by `>&-`."""

    encoding = "utf-8"

    def writable(self) -> bool:
        """Whether it is for writing: it would be."""
        return True

    def write(self, text: str) -> NoReturn:
        """Refuse.

        Raises:
            OSError: always.
        """
        raise OSError(errno.EBADF, "it is closed")


def prepare() -> None:
    """Make stdout and stderr bear every character, and stand for them where they are closed."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < 3:
        pass  # no file of a run may take the number of a closed stream
    os.close(descriptor)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, _Closed())
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=READABLE)


def put(text: str, *, stderr: bool) -> None:
    """Write a text, and see that it gets there.

    Raises:
        GimstageError: it does not: the stream is closed, or its disk is full.
        BrokenPipeError: nobody reads it any more.
    """
    name = "stderr" if stderr else "stdout"
    stream = getattr(sys, name)
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError) as error:
        silence(stream)
        setattr(sys, name, _Closed())
        if isinstance(error, BrokenPipeError):
            raise
        raise GimstageError(
            name,
            f"it cannot be written ({getattr(error, 'strerror', None) or error})",
            cure="what was computed is kept: run the same command again, to a stream that can be",
        ) from error


def as_line(document: Any) -> str:
    """A document as JSON on one line, in letters that stdout has."""
    whole = (getattr(sys.stdout, "encoding", None) or "").lower().startswith("utf")
    return json.dumps(document, ensure_ascii=not whole) + "\n"


def tell(text: str, *, stderr: bool) -> None:
    """Write a message, to the other stream where this one cannot be written; or lose it."""
    for other in (False, True):
        try:
            put(text, stderr=stderr != other)
        except (GimstageError, BrokenPipeError):
            continue
        return
