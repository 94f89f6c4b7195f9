"""Progress as lines where nothing can be redrawn, and what the first Ctrl-C does."""

import io
import signal
import threading

import pytest
from rich.console import Console

from gimstage.progress import Progress, Watch
from gimstage.session import display
from gimstage.session.display import facts, shown_progress, stopped_by


def said(*updates: Progress) -> list[str]:
    """The lines that are printed of some progress where no terminal is."""
    console = Console(file=io.StringIO(), width=100, force_terminal=False, force_jupyter=False)
    with shown_progress(console) as report:
        for update in updates:
            report(update)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("update", "words"),
    [
        (Progress("t", 1, 2, "steps"), ""),
        (Progress("t", 1, 2, "steps", samples_per_s=12.6), "13 samples/s"),
        (Progress("t", 1, 2, "rows", samples_per_s=12.4), "12 rows/s"),
        (Progress("t", 1, 2, "steps", loss=2.50049), "loss 2.500"),
        (Progress("t", 1, 2, "samples", bytes_per_s=2e6), "2.0 MB/s"),
        (
            Progress("t", 1, 2, "steps", samples_per_s=9, loss=0, bytes_per_s=5),
            "9 samples/s  loss 0.000  5 B/s",
        ),
    ],
)
def test_facts_are_those_that_are_known(update: Progress, words: str) -> None:
    assert facts(update) == words


def test_a_finished_task_always_has_its_line() -> None:
    assert said(Progress("x/1 train", 12, 12, "steps", loss=2.5)) == [
        "x/1 train: 12/12 steps  loss 2.500"
    ]


def test_a_task_that_has_just_begun_has_none_yet() -> None:
    assert said(Progress("x/1 train", 1, 12, "steps"), Progress("x/1 train", 2, 12, "steps")) == []


def test_a_task_that_goes_on_has_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 4.0, 11.0, 12.0])
    monkeypatch.setattr(display.time, "monotonic", lambda: next(clock))
    lines = said(*(Progress("t", done, 9, "steps") for done in (1, 2, 3, 4)))
    assert [line.strip() for line in lines] == ["t: 3/9 steps"]


def test_every_task_has_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 6.0, 10.0, 12.0])
    monkeypatch.setattr(display.time, "monotonic", lambda: next(clock))
    lines = said(*(Progress(name, n, 9, "rows") for n, name in enumerate("abab", start=1)))
    assert [line.strip() for line in lines] == ["a: 3/9 rows"]


def test_the_first_signal_asks_to_stop_and_the_second_is_for_another() -> None:
    watch, heard, second = Watch(), [], []
    before = signal.getsignal(signal.SIGINT)
    with stopped_by(watch, [signal.SIGINT], then=lambda *_: second.append(1), heard=heard.append):
        signal.raise_signal(signal.SIGINT)
        assert watch.stop.is_set()
        signal.raise_signal(signal.SIGINT)
    assert (heard, second) == ([signal.SIGINT], [1])
    assert signal.getsignal(signal.SIGINT) is before


def test_handlers_are_set_back_whatever_happens_inside() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with (
        pytest.raises(ValueError, match="inside"),
        stopped_by(Watch(), [signal.SIGTERM], then=signal.SIG_DFL, heard=print),
    ):
        raise ValueError("inside")
    assert signal.getsignal(signal.SIGTERM) is before


def test_outside_the_main_thread_no_signal_is_listened_to() -> None:
    before, during = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with stopped_by(Watch(), [signal.SIGINT], then=signal.SIG_DFL, heard=print):
            during.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert during == [before]
