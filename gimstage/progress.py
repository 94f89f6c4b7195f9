"""How long-running work speaks to whoever started it: progress out, a wish to stop in.

This file imports nothing of gimstage.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event
from time import perf_counter


@dataclass(frozen=True)
class Progress:
    """Where a piece of work stands.

    Args:
        task: what is worked on, such as "demo/2 train".
        done: units finished.
        total: units in all.
        unit: "steps", "samples", "rows", "inputs" or "bytes".
        samples_per_s: speed of this process since it began; rows per second where the unit is rows.
        loss: latest mean loss, where there is one.
        bytes_per_s: read (training) or written (extraction) by this process since it began.
    """

    task: str
    done: int
    total: int
    unit: str
    samples_per_s: float | None = None
    loss: float | None = None
    bytes_per_s: float | None = None


class Interrupted(BaseException):
    """The work stopped on request, with everything it needs to go on saved.

    Like KeyboardInterrupt it may be raised in the midst of others' code, which is to let it pass.
    """


@dataclass
class Watch:
    """The listener of a piece of work.

    Args:
        report: called with progress, at most a few times a second and at the end.
        stop: set (by a signal handler, say) to ask the work to save and stop.
    """

    report: Callable[[Progress], None] = lambda progress: None
    stop: Event = field(default_factory=Event)
    _next_s: float = 0.0
    _breaks_off: str | None = None

    def due(self) -> bool:
        """Whether it is time to report again."""
        now = perf_counter()
        if now < self._next_s:
            return False
        self._next_s = now + 0.25
        return True

    def pause(self, seconds: float) -> None:
        """Wait, and raise `Interrupted` as soon as a stop is asked for."""
        self.stop.wait(seconds)
        self.leave_if_asked()

    def leave_if_asked(self) -> None:
        """Raise `Interrupted` if a stop was asked for."""
        if self.stop.is_set():
            raise Interrupted

    def ask_to_stop(self) -> None:
        """Ask the work to save and stop; raise `Interrupted` in the midst of `breaking_off`."""
        self.stop.set()
        if self._breaks_off is not None:
            raise Interrupted(self._breaks_off)

    @contextmanager
    def breaking_off(self, message: str = "") -> Iterator[None]:
        """Inside, a wish to stop ends the work at once: it cannot ask, and has nothing to save.

        For the thread that hears signals.

        Args:
            message: what becomes of the work, if that is to be said.

        Raises:
            Interrupted: a stop was asked for, before or inside.
        """
        self.leave_if_asked()
        self._breaks_off = message
        try:
            yield
        finally:
            self._breaks_off = None


def counted_bytes(watch: Watch, task: str, total: int) -> Callable[[int], None]:
    """What to call with every so many bytes that were read, to have a watch hear of it.

    Args:
        watch: hears of progress, asks to stop.
        task: names the work, such as "demo/2 verify".
        total: bytes in all.

    Returns:
        A function of the bytes that were read since its last call; it raises Interrupted where a
        stop was asked for.
    """
    began, done = perf_counter(), 0

    def read(count: int) -> None:
        nonlocal done
        done += count
        watch.leave_if_asked()
        if watch.due() or done == total:
            speed = done / max(perf_counter() - began, 1e-9)
            watch.report(Progress(task, done, total, "bytes", bytes_per_s=speed))

    return read
