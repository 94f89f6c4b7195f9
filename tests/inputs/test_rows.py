"""Rows as a stage reads them: cut from the store, or computed anew by the frozen modules."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.homes import CPU, at, edit
from helpers.rows import features, read
from torch.testing import assert_close

from gimstage.cache.shards import with_crc
from gimstage.draws import generator
from gimstage.errors import DamagedCacheError
from gimstage.inputs import output_source
from gimstage.inputs.rows import RecomputedRows, RowSource, reach, zero_outside
from gimstage.modules import Conv1dModule
from gimstage.views import Spans

PUBLISHED = [(10, 5, 2), (8, 4, 2), (4, 2, 2), (4, 2, 2), (4, 2, 1)]

# Rows that the padding of a crop changes, at its left and at its right end.
EDGES = [(1, 0), (1, 0), (2, 1), (2, 2), (2, 1)]


@pytest.fixture(scope="module")
def finished(finished_speech: Path) -> Path:
    """The small recipe is that of speech."""
    return finished_speech


def encoder(dtype: torch.dtype) -> list[Conv1dModule]:
    torch.manual_seed(1)
    sizes = [1, 6, 6, 6, 6, 6]
    return [
        Conv1dModule(in_channels=sizes[i], channels=sizes[i + 1], kernel=k, stride=s, padding=p).to(
            dtype
        )
        for i, (k, s, p) in enumerate(PUBLISHED)
    ]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_a_latent_crop_is_the_crop_encoded_but_for_its_padded_edges(
    dtype: torch.dtype, tolerance: float
) -> None:
    rng = torch.Generator().manual_seed(2)
    wave = torch.randn(1, 200 * 160, 1, generator=rng, dtype=torch.float64).to(dtype)
    first, frames, per_frame = 31, 128, 160
    utterance, crop = wave, wave[:, first * 160 : (first + frames) * 160]
    with torch.no_grad():
        for module, (left, right) in zip(encoder(dtype), EDGES, strict=True):
            utterance, crop = module(utterance), module(crop)
            per_frame //= module.stride
            start, count = first * per_frame + left, crop.shape[1] - left - right
            inner = crop[:, left : left + count]
            cut = utterance[:, start : start + count]
            assert_close(cut, inner, rtol=tolerance, atol=tolerance)
            off = utterance[:, start + 1 : start + 1 + count]
            assert (off - inner).abs().max() > 1e-3


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_tiles_of_a_long_recording_give_the_rows_of_the_whole(
    dtype: torch.dtype, tolerance: float
) -> None:
    rng = torch.Generator().manual_seed(3)
    x = torch.randn(1, 150 * 160, 1, generator=rng, dtype=torch.float64).to(dtype)
    for module in encoder(dtype):
        lengths = np.array([x.shape[1]])
        out = np.array([module.length(x.shape[1])])
        parts = []
        with torch.no_grad():
            for start in range(0, int(out[0]), 37):
                tile = Spans(np.zeros(1, int), np.array([start]), min(37, int(out[0]) - start))
                below = reach(module, tile)
                padded = torch.nn.functional.pad(x, (0, 0, 16, 16))
                begin = int(below.first[0]) + 16
                rows = zero_outside(padded[:, begin : begin + below.count], below, lengths)
                parts.append(module.advance(rows, None)[0])
            y = module(x)
        assert_close(torch.cat(parts, 1), y, rtol=tolerance, atol=tolerance)
        x = y


@pytest.mark.parametrize("encoding", ["float32", "float16", "round5"])
def test_recomputing_gives_the_rows_that_the_cache_gives(home: Path, encoding: str) -> None:
    for number in (1, 2, 3):
        edit(home, f"{number}_*.toml", '"float16"', f'"{encoding}"')
        at(home).train_stage(number)
    lengths = RowSource(features(home, 3)).lengths
    count = 300
    entries = np.arange(4)
    # The first begins before its entry, the last ends beyond it.
    where = Spans(entries, np.array([-5, 0, 17, lengths[3] - 290]), count)
    cached = read(RowSource(features(home, 3)), where)
    for number in (1, 2, 3):
        edit(home, f"{number}_*.toml", '"features"', '"none"')
        shutil.rmtree(features(home, number))
    pipeline = at(home)
    source = output_source(pipeline.runs, pipeline.data, pipeline.recipe.chain(3), CPU)
    assert isinstance(source, RecomputedRows)
    tolerance = {"float32": 1e-6, "float16": 2e-3, "round5": 7e-2}[encoding]
    assert_close(read(source, where), cached, rtol=tolerance, atol=tolerance / 10)


def test_offsets_that_do_not_fit_the_rows_are_damage(home: Path) -> None:
    small = features(home, 5) / "offsets/c.0"
    values = np.frombuffer(small.read_bytes()[:-4], "<i8").copy()
    values[-1] -= 3
    small.write_bytes(with_crc(values.tobytes()))
    with pytest.raises(DamagedCacheError) as caught:
        RowSource(features(home, 5))
    assert str(caught.value) == (
        f"{features(home, 5)}: offsets from 0 to {values[-1]}; expected ascending from 0 to the "
        f"{values[-1] + 3} rows of features; run `"
        f"gimstage extract 5 --recipe stages/tiny_audio --runs {home / 'runs'}`"
    )


def test_training_draws_lie_within_their_entries(finished: Path) -> None:
    pipeline = at(finished)
    for number in (1, 2, 6):
        chain = pipeline.recipe.chain(number)
        draws = pipeline.data.draws(chain)
        source = output_source(pipeline.runs, pipeline.data, chain.upstream, CPU)
        for step in range(6):
            where = draws(step)
            assert (where.first >= 0).all()
            assert (where.first + where.count <= source.lengths[where.entry]).all()
    rng = generator(1, "test")
    assert pipeline.data.stored.draw(rng, np.arange(15), 128)[1].max() > 0
