"""What a person sees while work goes on, and how he stops it."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from gimstage.progress import Progress, Watch
from gimstage.session.streams import Tolerant
from gimstage.session.tables import WIDTH
from gimstage.sizes import format_bytes

PLAIN_LINE_EVERY_S = 10.0


def open_console(*, stderr: bool) -> Console:
    """The terminal or file behind stdout or stderr, or the cell of a notebook.

    Nothing that is printed there is markup: it may be a path, or the name of a class.
    """
    stream: Any = Tolerant(sys.stderr if stderr else sys.stdout)
    return Console(
        file=stream,
        width=None if stream.isatty() else WIDTH,
        soft_wrap=not stream.isatty(),
        highlight=False,
        markup=False,
        emoji=False,
    )


@contextmanager
def shown_progress(console: Console) -> Iterator[Callable[[Progress], None]]:
    """One row with a bar for each task, or now and then a line where rows cannot be redrawn."""
    # FORCE_COLOR and TTY_COMPATIBLE make rich take a file for a terminal: rows would fill it.
    redrawn = console.is_terminal and console.file.isatty() and not console.is_dumb_terminal
    if redrawn or (console.is_jupyter and find_spec("ipywidgets")):
        with _bars(console) as bars:
            yield _rows_on(bars)
    else:
        yield _lines_on(console)


@contextmanager
def stopped_by(
    watch: Watch, signals: Sequence[int], *, then: Any, heard: Callable[[int], None]
) -> Iterator[None]:
    """Inside, the first of some signals asks the work to save and stop.

    Outside the main thread, where Python hears no signals, it does nothing.

    Args:
        watch: the watch of the work.
        signals: their numbers.
        then: the handler of a second signal, as `signal.signal` takes it.
        heard: called with the number of the first one.
    """

    def stop(number: int, frame: Any) -> None:
        heard(number)
        signal.signal(number, then)
        watch.ask_to_stop()

    listens = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, stop) for number in signals if listens}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _bars(console: Console) -> Bars:
    return Bars(
        TextColumn("{task.description:<22}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}", markup=False),
        TextColumn("{task.fields[facts]}", markup=False),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
    )


def _rows_on(bars: Bars) -> Callable[[Progress], None]:
    rows: dict[str, Any] = {}

    def report(update: Progress) -> None:
        if update.task not in rows:
            rows[update.task] = bars.add_task(update.task, unit=update.unit, facts="")
            _keep_within_height(bars)
        bars.update(
            rows[update.task], completed=update.done, total=update.total, facts=facts(update)
        )
        if update.done == update.total:  # the next of this name, perhaps of another run, is new
            del rows[update.task]

    return report


def _keep_within_height(bars: Bars) -> None:
    """Hide the oldest rows that the terminal is too low for; rich would hide the newest."""
    shown = [task for task in bars.tasks if task.visible]
    for task in shown[: max(0, len(shown) - max(1, bars.console.height - 4))]:
        bars.update(task.id, visible=False)


def _lines_on(console: Console) -> Callable[[Progress], None]:
    spoken: dict[str, float] = {}

    def report(update: Progress) -> None:
        now = time.monotonic()
        finished = update.done == update.total
        if finished or now - spoken.setdefault(update.task, now) >= PLAIN_LINE_EVERY_S:
            spoken[update.task] = now
            amount = f"{update.done}/{update.total} {update.unit}"
            console.print(f"{update.task}: {amount}  {facts(update)}")

    return report


def facts(update: Progress) -> str:
    """Speed, loss and bytes of a progress report, in a few words."""
    parts = []
    if update.samples_per_s is not None:
        what = "samples" if update.unit == "steps" else update.unit
        parts.append(f"{update.samples_per_s:.0f} {what}/s")
    if update.loss is not None:
        parts.append(f"loss {update.loss:.3f}")
    if update.bytes_per_s is not None:
        parts.append(f"{format_bytes(update.bytes_per_s)}/s")
    return "  ".join(parts)
