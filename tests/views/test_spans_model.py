"""Stretches of speech of any length, held against plain loops over utterances."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gimstage.draws import generator
from gimstage.errors import DataError
from gimstage.views import LiveSpans, Spans, StoredSpans

lengths = st.lists(st.integers(5, 40), min_size=1, max_size=6)
seeds = st.integers(0, 99)


def spans(frames: list[int], **changes: Any) -> StoredSpans:
    settings: dict[str, Any] = {"crop_frames": None, "count": 1, "seed": 2}
    return StoredSpans(frames=np.array(frames, np.int64), **settings | changes)


@given(lengths, st.integers(1, 3), st.integers(1, 5), seeds)
def test_stored_crops_lie_within_their_own_utterances(
    frames: list[int], count: int, crop: int, seed: int
) -> None:
    found = spans(frames, crop_frames=crop, count=count, seed=seed)
    assert list(found.source) == [n for n in range(len(frames)) for _ in range(count)]
    for start, source in zip(found.start, found.source, strict=True):
        assert 0 <= start <= frames[source] - crop
    assert list(found.entry_frames) == [crop] * len(found.source)


@given(lengths, st.integers(1, 5), seeds)
def test_a_random_crop_lies_within_an_entry_of_its_utterance(
    frames: list[int], crop: int, seed: int
) -> None:
    found = spans(frames, crop_frames=5, count=2)
    samples = np.arange(len(frames))
    entries, starts = found.draw(generator(seed, "test"), samples, crop)
    assert list(found.source[entries]) == list(samples)
    assert ((starts >= 0) & (starts + crop <= 5)).all()


@given(lengths, st.integers(1, 5))
def test_the_crop_in_the_middle_leaves_as_much_on_either_side(frames: list[int], crop: int) -> None:
    entries, starts = spans(frames).centre(np.arange(len(frames)), crop)
    assert list(entries) == list(range(len(frames)))
    for start, length in zip(starts, frames, strict=True):
        assert 0 <= (length - crop - start) - start <= 1


@given(lengths)
def test_whole_utterances_begin_at_their_beginning(frames: list[int]) -> None:
    found = spans(frames)
    assert list(found.start) == [0] * len(frames)
    assert list(found.entry_frames) == frames


@given(lengths, st.integers(6, 50))
def test_an_utterance_shorter_than_a_stored_crop_is_refused_whatever_the_others(
    frames: list[int], crop: int
) -> None:
    if crop <= min(frames):
        spans(frames, crop_frames=crop)
        return
    with pytest.raises(DataError) as error:
        spans(frames, crop_frames=crop)
    assert str(error.value) == f"utterances: one of {min(frames)} frames; expected at least {crop}"


@given(st.integers(0, 6), st.integers(0, 6), st.sampled_from([Spans, LiveSpans]))
def test_some_entries_of_spans_are_their_slice_and_of_their_kind(
    first: int, last: int, kind: type[Spans]
) -> None:
    found = kind(np.arange(6), np.arange(6) - 3, 4).entries(first, last)
    assert type(found) is kind
    assert list(found.entry) == list(range(6))[first:last]
    assert list(found.first) == list(range(-3, 3))[first:last]
