"""Which samples a step reads, and how they are read ahead."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.homes import at

from gimstage.errors import DataError
from gimstage.inputs import TrainingDraws, prefetched
from gimstage.inputs.base import no_labels


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
    places = [pipeline.data.live().centre(np.array([n, n + 1])) for n in range(9)]
    buffers = [source.buffer(2, 6) for _ in range(3)]
    read = [raw.clone() for raw, _ in prefetched(source, places, buffers=buffers, workers=2)]
    for raw, place in zip(read, places, strict=True):
        alone = source.buffer(2, 6)
        source.fill(alone, place)
        assert torch.equal(raw, alone)
    bad = pipeline.data.live().centre(np.array([10**6]))
    with pytest.raises(DataError):
        list(prefetched(source, [bad], buffers=buffers, workers=2))
