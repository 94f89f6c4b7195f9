"""Progress out, a wish to stop in."""

import pytest

from gimstage import progress
from gimstage.progress import Interrupted, Watch


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that a watch sees, the last of the list."""
    times = [100.0]
    monkeypatch.setattr(progress, "perf_counter", lambda: times[-1])
    return times


def test_a_watch_is_due_at_once_and_then_four_times_a_second(clock: list[float]) -> None:
    watch, due = Watch(), []
    for ticks in range(16):  # of a sixteenth of a second
        clock.append(100 + ticks / 16)
        due.append(watch.due())
    assert due == [True, False, False, False] * 4


def test_after_a_pause_one_report_is_due_and_no_more(clock: list[float]) -> None:
    watch = Watch()
    watch.due()
    clock.append(200.0)
    assert [watch.due() for _ in range(3)] == [True, False, False]


def test_work_goes_on_until_it_is_asked_to_stop() -> None:
    watch = Watch()
    watch.leave_if_asked()
    watch.stop.set()
    with pytest.raises(Interrupted):
        watch.leave_if_asked()


def test_a_wish_to_stop_concerns_its_own_watch_alone() -> None:
    one, other = Watch(), Watch()
    one.stop.set()
    other.leave_if_asked()


def test_an_interruption_is_no_error_that_handlers_of_errors_swallow() -> None:
    from gimstage.errors import GimstageError

    assert not issubclass(Interrupted, GimstageError)


def test_a_wish_to_stop_breaks_off_only_what_cannot_ask() -> None:
    watch = Watch()
    watch.ask_to_stop()
    assert watch.stop.is_set()
    watch.stop.clear()
    with pytest.raises(Interrupted, match="^begins anew$"), watch.breaking_off("begins anew"):
        watch.ask_to_stop()
    watch.ask_to_stop()  # outside again, it waits to be asked
    with pytest.raises(Interrupted), watch.breaking_off():
        raise AssertionError("what was to stop has not begun")


def test_a_stop_in_the_midst_of_others_code_is_not_taken_for_its_failure() -> None:
    assert not issubclass(Interrupted, Exception)  # which torch, for one, takes for bad weights
