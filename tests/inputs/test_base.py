"""Which samples a step reads, and how they are read ahead."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.homes import at
from hypothesis import given
from hypothesis import strategies as st

from gimstage.errors import DataError
from gimstage.inputs import TrainingDraws, prefetched
from gimstage.inputs.base import given_folder, no_labels
from gimstage.inputs.draws import divided
from gimstage.specs import ValidationSpec


def test_an_epoch_shows_every_sample_once() -> None:
    draws = TrainingDraws(
        samples=np.arange(48),
        batch_size=8,
        seed=3,
        size=7,
        draw=lambda rng, samples: samples,
        labels=no_labels,
        held_out=[],
    )
    epochs = [np.concatenate([draws(6 * epoch + i) for i in range(6)]) for epoch in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(48))
    assert not np.array_equal(epochs[0], epochs[1])


def test_prefetching_keeps_the_order_and_passes_errors_on(finished: Path) -> None:
    pipeline = at(finished)
    source = pipeline.data.source()
    places = [pipeline.data.spec.live_views().centre(np.array([n, n + 1])) for n in range(9)]
    buffers = [source.buffer(2, 6) for _ in range(3)]
    read = [raw.clone() for raw, _ in prefetched(source, places, buffers=buffers, workers=2)]
    for raw, place in zip(read, places, strict=True):
        alone = source.buffer(2, 6)
        source.fill(alone, place)
        assert torch.equal(raw, alone)
    bad = pipeline.data.spec.live_views().centre(np.array([10**6]))
    with pytest.raises(DataError):
        list(prefetched(source, [bad], buffers=buffers, workers=2))


@given(count=st.integers(1, 60), share=st.floats(0.05, 0.95), seed=st.integers(0, 9))
def test_every_sample_is_either_trained_on_or_held_out(count: int, share: float, seed: int) -> None:
    samples = np.arange(count, dtype=np.int64) * 3 + 1
    spec = ValidationSpec(share=share, seed=seed, evaluations=1, batches=1)
    division = divided(samples, spec)
    assert sorted([*division.trained, *division.held_out]) == samples.tolist()
    assert len(division.held_out) == round(count * share)
    for half in (division.trained, division.held_out):
        assert half.tolist() == sorted(half)


def test_without_validation_nothing_is_held_out() -> None:
    division = divided(np.arange(5), None)
    assert (division.trained.tolist(), division.held_out.tolist()) == ([0, 1, 2, 3, 4], [])


def draws_of(count: int, batch_size: int, seed: int = 3) -> TrainingDraws:
    return TrainingDraws(
        samples=np.arange(count) * 2,
        batch_size=batch_size,
        seed=seed,
        size=7,
        draw=lambda rng, samples: (samples, torch.rand(2, generator=rng).tolist()),
        labels=no_labels,
        held_out=[],
    )


@given(count=st.integers(1, 40), batch_size=st.integers(1, 40))
def test_an_epoch_is_made_of_whole_batches_of_different_samples(
    count: int, batch_size: int
) -> None:
    draws = draws_of(max(count, batch_size), batch_size)
    seen = [draws(step)[0] for step in range(draws.steps_per_epoch)]
    together = np.concatenate(seen)
    assert {len(each) for each in seen} == {batch_size}
    assert len(set(together)) == len(together) > draws.samples.size - batch_size


def test_a_step_draws_the_same_whatever_was_drawn_before() -> None:
    forwards, backwards = draws_of(20, 4), draws_of(20, 4)
    ahead = [forwards(step) for step in range(15)]
    behind = [backwards(step) for step in reversed(range(15))][::-1]
    for (samples, view), (same_samples, same_view) in zip(ahead, behind, strict=True):
        assert samples.tolist() == same_samples.tolist()
        assert view == same_view
    assert len({tuple(view) for _, view in ahead}) == 15


def test_another_seed_shows_the_samples_in_another_order() -> None:
    one, other = draws_of(40, 40, seed=1), draws_of(40, 40, seed=2)
    assert one(0)[0].tolist() != other(0)[0].tolist()


class Counted:
    """A source whose reads are counted."""

    def __init__(self) -> None:
        self.read: list[int] = []

    def fill(self, buffer: torch.Tensor, where: int) -> torch.Tensor:
        self.read.append(where)
        return buffer.fill_(where)


def test_no_more_is_read_ahead_than_there_are_buffers() -> None:
    source, buffers = Counted(), [torch.empty(1) for _ in range(3)]
    read = prefetched(source, iter(range(100)), buffers=buffers, workers=1)
    for number in range(5):
        raw, place = next(read)
        assert (raw.item(), place) == (number, number)
    read.close()
    assert source.read == sorted(source.read)
    assert 5 <= len(source.read) <= 5 + 3


def test_a_buffer_holds_until_the_next_is_asked_for() -> None:
    read = prefetched(Counted(), range(20), buffers=[torch.empty(1), torch.empty(1)], workers=2)
    assert [(raw.item(), place) for raw, place in read] == [(n, n) for n in range(20)]


def test_nothing_to_read_is_read_at_once() -> None:
    assert list(prefetched(Counted(), [], buffers=[torch.empty(1)], workers=2)) == []


def test_data_that_is_asked_for_and_not_given_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        given_folder(None, "a tree of files", "add --data DIR")
    assert str(caught.value) == (
        "--data: not given; expected the folder that holds a tree of files; add --data DIR"
    )
    assert given_folder(Path("here"), "files", "") == Path("here")
