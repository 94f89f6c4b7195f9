"""What works have in common: four verbs, and the order in which they are called.

    identity ─► status ─► (unless done, under a lock)  work ─► commit

A work is what a folder of runs records: a stage, or a probe.
"""

import logging
import platform
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Generic, TypeVar

import torch

from gimstage.device import naming_out_of_memory
from gimstage.errors import DamagedCacheError
from gimstage.errors.failures import working_on
from gimstage.plan.memory import Budget
from gimstage.progress import Watch
from gimstage.recipe.chain import Chain
from gimstage.recipe.identity import Identity
from gimstage.runs.damage import clear_the_way
from gimstage.runs.folder import RunFolder
from gimstage.runs.state import Runs, Status

R = TypeVar("R")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Settings:
    """What changes no number.

    Args:
        device: where to compute.
        workers: reading threads.
        max_disk: the most bytes all features of the recipe may take; None for as many as fit.
        checkpoint_every_s: seconds between checkpoints.
        budget: GPU memory to keep within; None for as much as the plain step takes.
    """

    device: torch.device
    workers: int
    max_disk: int | None
    checkpoint_every_s: float
    budget: Budget | None = None


class Work(ABC, Generic[R]):
    """A stage or a probe.

    Args:
        title: names it in errors.
        folder: where it is recorded when it is worked on here.
        reads: the stages that must stay as they are while it is worked on.
        runs: all runs.

    Attributes:
        watch: hears of progress, asks to stop.
        place: where its result lies, as the last look at its status has found: its folder, or
            another that holds the same.
    """

    watch: Watch

    def __init__(
        self, title: str, folder: RunFolder, *, reads: Sequence[Chain], runs: Runs
    ) -> None:
        self.title, self.folder, self.reads, self.runs = title, folder, reads, runs
        self.place = folder

    @abstractmethod
    def identity(self) -> Identity:
        """Everything that decides its result."""

    @abstractmethod
    def status(self) -> Status:
        """Whether its folder, or another, holds the result that the recipe asks for now."""

    @abstractmethod
    def work(self) -> R:
        """Compute whatever is missing, the folder locked by the caller."""

    @abstractmethod
    def commit(self, result: R) -> None:
        """Write the manifest over what `work` left, the last act."""

    def mend(self, error: DamagedCacheError) -> bool:
        """Make again what it reads and found damaged; whether that was done, by default not.

        Args:
            error: what `identity` or `work` raised.
        """
        return False


def finish(work: Work[R], room: Callable[[], None] = lambda: None, *, again: bool = False) -> bool:
    """Bring a work to "done"; False where it was already.

    Args:
        work: the stage or probe.
        room: refuses what would not fit the disk, before a byte is written.
        again: whether it is checked to the last byte and recorded again even where it is done.

    Raises:
        GimstageError: what it reads is not done, another process works on it, the data or the
            numbers are bad.
        Interrupted: a stop was asked for; the next call goes on from there.
    """
    work.runs.look_again()
    if not again and _done(work):  # asked without the lock, which one who only reads may hold
        return False
    try:
        while True:
            try:
                return _finish_locked(work, room, again=again)
            except DamagedCacheError as error:
                if not work.mend(error):  # without the lock, which holds what it reads as it is
                    raise
    finally:
        work.runs.look_again()


def _finish_locked(work: Work[R], room: Callable[[], None], *, again: bool) -> bool:
    runs, pause, stop = work.runs, work.watch.pause, work.watch.stop.set
    with work.folder.lock(pause, lost=stop) as hold, ExitStack() as held:
        runs.snapshot.forget(work.folder)  # another process may have worked on it in between
        runs.look_again()
        if not again and _done(work):
            return False
        work.identity()  # raises where a stage it needs is not done
        for chain in work.reads:
            held.enter_context(runs.stage_folder(chain).reading(pause))
        runs.look_again()  # from here on nobody changes them
        clear_the_way(work.folder)
        room()
        with naming_out_of_memory(work.title), working_on(work.title):
            try:
                result = work.work()
            finally:
                hold.require()
            work.commit(result)
    return True


def _done(work: Work[R]) -> bool:
    done = work.status().state == "done"
    if done and work.place == work.folder:
        work.runs.snapshot.touch(work.folder)  # for make, which orders by time
    return done


def versions() -> dict[str, str]:
    """What computed this: releases of Python and of the libraries whose change moves numbers."""
    packages = ("gimstage", "torch", "zarr", "numcodecs", "numpy")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


@cache
def say_once(notice: str) -> None:
    """Warn of something, once a process however many works meet it."""
    _log.warning("%s", notice)
