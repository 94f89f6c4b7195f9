"""The layer between a child and the system's calls: shim.c, compiled, loaded when we start."""

import ctypes
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")
_LOADED = "TRUST_SHIM"
NO_COMPILER = "no C compiler: the layer that makes the system's calls fail cannot be built"
SHORT = -1  # half of a write is done, and said to be done
_RANDOM = re.compile(r"(\.)[a-z0-9_]{8}(?=/|$)")  # what tempfile puts at the end of a name


@dataclass(frozen=True)
class Point:
    """A call of the system.

    Args:
        kind: "open-r", "open-w", "mkdir", "rename", "unlink", "write" or "fsync".
        path: of the file, below the folder that is watched; * for what is random in it.
        turn: which call of this kind on this file, from 1.
    """

    kind: str
    path: str
    turn: int

    def __str__(self) -> str:
        """Such as "write 2 of runs/pics/1/metrics.jsonl"."""
        return f"{self.kind} {self.turn} of {self.path}"


def start_again_with_shim(place: Path) -> None:
    """Replace this process by one that has the layer loaded, unless it has, or none can be built.

    Args:
        place: where the layer is built.
    """
    compiler = next(filter(None, map(shutil.which, ("gcc", "cc", "clang"))), None)
    if _LOADED in os.environ or compiler is None:
        return
    library = place / "shim.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    environment = os.environ | {_LOADED: "1", "LD_PRELOAD": str(library)}
    os.execve(sys.executable, [sys.executable, "-m", "trust", *sys.argv[1:]], environment)


def shim_loaded() -> bool:
    """Whether the layer is there."""
    return hasattr(ctypes.CDLL(None), "trust_arm")


def lacking() -> str:
    """Why the layer is not there; empty where it is."""
    return "" if shim_loaded() else NO_COMPILER


def counting(home: Path, log: Path) -> Callable[[], None]:
    """To be called in a child: writes down every call on what is in a home."""
    return partial(_arm, home, log=log)


def failing(home: Path, point: Point, error: int, *, lasting: bool) -> Callable[[], None]:
    """To be called in a child: one call on what is in a home fails.

    Args:
        home: the folder.
        point: the call.
        error: its errno; `SHORT` for half a write.
        lasting: whether all later calls that write fail too, as on a full disk.
    """
    return partial(_arm, home, point, error=error, lasting=lasting)


def struck(home: Path, point: Point, signal: int) -> Callable[[], None]:
    """To be called in a child: it gets a signal when it comes to a call."""
    return partial(_arm, home, point, signal=signal)


def _arm(
    home: Path,
    point: Point | None = None,
    *,
    log: Path | None = None,
    error: int = 0,
    signal: int = 0,
    lasting: bool = False,
) -> None:
    stream = -1 if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    at = point or Point("", "", 0)
    ctypes.CDLL(None).trust_arm(
        bytes(home), stream, at.kind.encode(), at.path.encode(), at.turn, error, signal, lasting
    )


def points(log: Path) -> list[Point]:
    """The calls that were written down, in their order."""
    turns: Counter[tuple[str, str]] = Counter()
    found = []
    for line in log.read_text().splitlines():
        kind, _, path = line.partition(" ")
        path = _RANDOM.sub(r"\1*", path)
        turns[kind, path] += 1
        found.append(Point(kind, path, turns[kind, path]))
    return found
