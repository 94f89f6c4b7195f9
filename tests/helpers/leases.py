"""Leases of machines that are not there, and time that passes only where somebody waits."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gimstage.runs.leases import Lease

FAR = Lease(12, "elsewhere", "another-kernel", "pid:[1]", "a1", 1)


def sign(folder: Path, lease: Lease) -> Path:
    """A lock file in which a process has signed."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lock").write_bytes(bytes(lease))
    return folder / "lock"


def never(seconds: float) -> None:
    pytest.fail("nobody had to wait")


class Clock:
    """Time that passes only where somebody waits; what happens meanwhile happens then."""

    def __init__(self, happens: Callable[[float], object] = lambda now: None) -> None:
        self.now, self.happens = 0.0, happens

    def __call__(self, seconds: float) -> None:
        self.now += seconds
        self.happens(self.now)


def refusing(number: int) -> Callable[..., None]:
    """What stands for a call of a system that answers with an error."""

    def refuse(*words: object) -> None:
        raise OSError(number, os.strerror(number))

    return refuse
