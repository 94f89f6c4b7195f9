"""Stretches of utterances: the draws of crops, and stored crops that never move."""

import numpy as np
import pytest
import torch

from gimstage.errors import DataError
from gimstage.views import StoredSpans

FRAMES = np.array([128, 130, 300], np.int64)


def spans(**changed) -> StoredSpans:
    settings = {"frames": FRAMES, "crop_frames": None, "count": 1, "seed": 2}
    return StoredSpans(**settings | changed)


def rng(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_whole_utterances_are_entries_of_themselves() -> None:
    stored = spans()
    assert stored.source.tolist() == [0, 1, 2]
    assert stored.start.tolist() == [0, 0, 0]
    assert stored.entry_frames.tolist() == FRAMES.tolist()


def test_a_crop_begins_anywhere_it_fits_and_nowhere_else() -> None:
    samples = np.repeat(np.arange(3), 400)
    entry, frame = spans().draw(rng(), samples, 128)
    assert entry.tolist() == samples.tolist()
    places = [set(frame[entry == n].tolist()) for n in range(3)]
    assert places[:2] == [{0}, {0, 1, 2}]
    assert min(places[2]) == 0 or len(places[2]) > 100
    assert max(places[2]) <= 300 - 128


def test_draws_come_from_their_generator_alone() -> None:
    samples = np.arange(3)
    first, again = (spans().draw(rng(5), samples, 100)[1].tolist() for _ in range(2))
    assert first == again
    assert first != spans().draw(rng(6), samples, 100)[1].tolist()


def test_stored_crops_lie_within_their_utterances_and_never_move() -> None:
    stored = spans(crop_frames=128, count=4)
    assert stored.source.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert (stored.start + 128 <= FRAMES[stored.source]).all()
    assert stored.start.tolist() == spans(crop_frames=128, count=4).start.tolist()
    assert len(set(stored.start[8:].tolist())) > 1


def test_a_crop_out_of_stored_crops_is_from_one_of_the_samples_own() -> None:
    stored = spans(crop_frames=128, count=4)
    entry, frame = stored.draw(rng(), np.repeat(np.arange(3), 50), 100)
    assert (stored.source[entry] == np.repeat(np.arange(3), 50)).all()
    assert set(entry.tolist()) == set(range(12))
    assert (frame <= 28).all()


def test_an_utterance_shorter_than_a_stored_crop_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        spans(crop_frames=129)
    assert str(caught.value) == "utterances: one of 128 frames; expected at least 129"
