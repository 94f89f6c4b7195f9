"""Patches as a stage reads them: cut from stored grids, or computed anew."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.homes import CPU, at, edit

from gimstage.draws import generator
from gimstage.inputs import PixelSource, output_source
from gimstage.inputs.grids import GridSource, RecomputedGrids
from gimstage.stack import trained_stack
from gimstage.views import Windows
from gimstage.work.pipeline import Pipeline


@pytest.mark.parametrize("encoding", ["float32", "float16", "round5"])
def test_recomputing_gives_the_input_that_the_cache_gives(home: Path, encoding: str) -> None:
    edit(home, "1_*.toml", '"float16"', f'"{encoding}"')
    pipeline = at(home)
    pipeline.train_stage(1)
    where = pipeline.data.stored.draw(generator(1, "test"), np.arange(48))
    cached = _input(pipeline, GridSource, where)
    shutil.rmtree(home / "runs/tiny/1/features.zarr")
    edit(home, "1_*.toml", '"features"', '"none"')
    recomputed = _input(at(home), RecomputedGrids, where)
    rounding = 1e-6 if encoding == "float32" else 4e-2
    torch.testing.assert_close(cached, recomputed, rtol=rounding, atol=1e-6)


def _input(pipeline: Pipeline, kind: type, where: Windows) -> torch.Tensor:
    source = output_source(pipeline.runs, pipeline.data, pipeline.recipe.chain(1), CPU)
    assert isinstance(source, kind)
    raw = source.fill(source.buffer(len(where), where.size), where)
    return source.prepare(raw, where)


def test_a_latent_crop_is_the_crop_encoded(finished: Path) -> None:
    pipeline = at(finished)
    stack = trained_stack(pipeline.runs, pipeline.recipe.chain(2)).double()
    source = pipeline.data.source()
    windows = pipeline.data.stored.draw(generator(2, "test"), np.arange(8))
    encoded = stack(_patches(source, windows).double())
    grids = stack(_patches(source, pipeline.data.stored.whole(np.arange(8))).double())
    cut = torch.stack(
        [g[r : r + 6, c : c + 6] for g, (_, _, r, c) in zip(grids, windows.starts, strict=True)]
    )
    torch.testing.assert_close(cut, encoded, rtol=1e-12, atol=1e-12)
    off = torch.stack(
        [
            g[(r + 1) % 3 :][:6, c : c + 6]
            for g, (_, _, r, c) in zip(grids, windows.starts, strict=True)
        ]
    )
    assert (off - encoded).abs().max() > 1e-3


def _patches(source: PixelSource | GridSource, windows: object) -> torch.Tensor:
    raw = source.fill(source.buffer(8, windows.size), windows)
    return source.prepare(raw, windows)


def test_features_hold_what_the_frozen_module_gives(finished: Path) -> None:
    pipeline = at(finished)
    chain = pipeline.recipe.chain(2)
    stack = trained_stack(pipeline.runs, chain)
    source = pipeline.data.source()
    expected = stack(_patches(source, pipeline.data.stored.whole(np.arange(8)))).relu()
    stored = GridSource(finished / "runs/tiny/2/features.zarr")
    found = _patches(stored, pipeline.data.stored.whole(np.arange(8)))
    torch.testing.assert_close(found, expected, rtol=5e-3, atol=1e-3)
