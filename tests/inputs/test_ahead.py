"""What is made ahead: in order, no more than may be, and what it raises."""

import threading

import pytest

from gimstage.inputs.ahead import made_ahead


def test_what_is_made_ahead_comes_in_order() -> None:
    assert [each.result() for each in made_ahead(str, range(50), most=4)] == [*map(str, range(50))]


def test_no_more_is_asked_for_than_may_be_made() -> None:
    asked: list[int] = []
    items = (asked.append(number) or number for number in range(100))
    futures = made_ahead(str, items, most=3)
    next(futures)
    assert asked == [0, 1, 2]
    futures.close()  # type: ignore[attr-defined]


def test_what_it_raises_is_raised_where_the_result_is_asked_for() -> None:
    futures = made_ahead(lambda number: 1 // number, [1, 0, 1], most=3)
    assert next(futures).result() == 1
    with pytest.raises(ZeroDivisionError):
        next(futures).result()
    assert next(futures).result() == 1


def test_who_stops_asking_leaves_no_thread() -> None:
    futures = made_ahead(str, range(100), most=8)
    next(futures)
    futures.close()  # type: ignore[attr-defined]
    assert not any(thread.name.startswith("make") for thread in threading.enumerate())
