"""Predictions of GPU memory, made once: remembered by the process, and by a file beside the runs.

A prediction follows from the stage, from how its step is taken, from the code of its parts and of
this package, and from torch's release, which together are its key; seeds change none. The file only
saves time: it may be deleted, and one that is damaged or cannot be written is as good as none.
"""

import hashlib
import inspect
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from gimstage.files import UnreadableError, read_regular, write_json
from gimstage.plan.memory import Peak
from gimstage.recipe.identity import fingerprint, seedless

MOST_BYTES = 1 << 25  # of the file, far more than it ever has
PACKAGE = Path(__file__).resolve().parents[1]

_known: dict[str, Peak] = {}
_asked: set[str] = set()


class _File(BaseModel):
    """What the file holds: predictions by key, and the fingerprint of them all."""

    model_config = ConfigDict(strict=True, extra="forbid")

    peaks: dict[str, Peak]
    sha256: str


def prediction_key(**deciding: Any) -> str:
    """The key of a prediction.

    Args:
        deciding: plain JSON values that decide it; seeds among them are left out.
    """
    everything = {"step": seedless(deciding), "code": _code(), "torch": torch.__version__}
    return fingerprint(everything)


def remembered(key: str, predict: Callable[[], Peak]) -> Peak:
    """The prediction of that key, made if nobody remembers it."""
    _asked.add(key)
    if key not in _known:
        _known[key] = predict()
    return _known[key]


@contextmanager
def kept_in(path: Path) -> Iterator[None]:
    """Inside, what the file remembers is not predicted again; then it remembers the rest too."""
    stored = _read(path)
    _known.update({key: stored[key] for key in stored.keys() - _known.keys()})
    _asked.clear()
    yield
    if _asked - stored.keys():
        with suppress(OSError):
            _write(path, stored | {key: _known[key] for key in _asked})


def _read(path: Path) -> dict[str, Peak]:
    """The predictions in a file: none where it is missing, or not as it was written."""
    try:
        document = _File.model_validate_json(read_regular(path, most_bytes=MOST_BYTES))
    except (OSError, UnreadableError, ValueError):
        return {}
    held = document.sha256 == fingerprint(document.model_dump()["peaks"])
    return document.peaks if held else {}


def _write(path: Path, peaks: dict[str, Peak]) -> None:
    document = _File(peaks=peaks, sha256="").model_dump()
    write_json(path, document | {"sha256": fingerprint(document["peaks"])})


def code_of(part: type[Any]) -> str:
    """SHA-256 of the code beside a class from outside the package; empty for one of the package.

    A class that no file defines has none, and is like no class of another process.
    """
    try:
        folder = Path(inspect.getfile(part)).resolve().parent
    except (TypeError, OSError):
        return f"{os.getpid()} {id(part)}"
    return "" if folder.is_relative_to(PACKAGE) else _digest(folder.glob("*.py"))


@cache
def _code() -> str:
    """SHA-256 of this package's code, any of which may decide what a step holds in memory."""
    return _digest(PACKAGE.rglob("*.py"))


def _digest(files: Iterable[Path]) -> str:
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in sorted(files))).hexdigest()
