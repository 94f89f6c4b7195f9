"""Bytes and spans of time, as people write and read them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gimstage.errors import GimstageError
from gimstage.sizes import UNITS, format_bytes, format_duration, parse_bytes


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (999.7, "1.0 kB"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_951, "1.0 MB"),
        (655_360_000_000, "655.4 GB"),
        (2.5e15, "2500.0 TB"),
    ],
)
def test_bytes_are_said_in_the_unit_that_suits_them(count: float, text: str) -> None:
    assert format_bytes(count) == text


@given(count=st.integers(0, 999 * 10**12))
def test_no_size_is_said_in_a_unit_too_small_for_it(count: int) -> None:
    number, unit = format_bytes(count).split()
    assert float(number) < 1000
    assert float(number) * UNITS[unit] == pytest.approx(count, rel=0.05)


@given(count=st.integers(1, 10**15))
def test_a_size_that_was_said_can_be_read_again(count: int) -> None:
    assert parse_bytes("--max-disk", format_bytes(count)) == pytest.approx(count, rel=0.05)


@pytest.mark.parametrize(
    ("text", "count"),
    [("200GB", 2 * 10**11), ("1.5 TB", 15 * 10**11), (" 512mb ", 512 * 10**6), ("7B", 7)],
)
def test_a_size_is_read_with_or_without_a_space_in_any_case(text: str, count: int) -> None:
    assert parse_bytes("--max-disk", text) == count


@pytest.mark.parametrize("text", ["", "GB", "12", "1 PB", "nanGB", "1e999GB", "0.5B", "1GBGB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(GimstageError) as caught:
        parse_bytes("--gpu-mem", text)
    assert str(caught.value) == (
        f"--gpu-mem: {text!r}; expected a positive number and one of TB, GB, MB, kB, B"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (59.9, "59.9 s"),
        (59.96, "1.0 min"),
        (60, "1.0 min"),
        (5400, "1.5 h"),
        (360_000, "100.0 h"),
    ],
)
def test_spans_of_time_are_said_in_the_unit_that_suits_them(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(seconds=st.floats(0, 3599.999))
def test_sixty_of_a_unit_are_one_of_the_next(seconds: float) -> None:
    number, unit = re.fullmatch(r"([\d.]+) (s|min|h)", format_duration(seconds)).groups()
    assert float(number) < 60
    assert float(number) * {"s": 1, "min": 60, "h": 3600}[unit] == pytest.approx(
        seconds, rel=0.05, abs=0.05
    )
