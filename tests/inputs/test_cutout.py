"""Cutout on real reading: first stages train on it, and nothing else ever sees it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.homes import CPU, RECIPES

from gimstage.draws import generator
from gimstage.inputs import Images, Stl10Images
from gimstage.probe.crops import mean_code
from gimstage.probe.labels import ClassProbe
from gimstage.progress import Watch
from gimstage.recipe.recipe import Recipe
from gimstage.train.loop import load_samples
from gimstage.views import Crops, Windows, cut_out, patch_grid

RECIPE = Recipe.load(RECIPES / "tiny")
CUTOUT_PX = 24


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """The tiny recipe's synthetic images."""
    images = Stl10Images.find(RECIPE.data, None, tmp_path_factory.mktemp("runs"))
    images.make(Watch())
    return images


@pytest.fixture(scope="module")
def cut(plain: Images) -> Images:
    """The same ones with cutout."""
    views = RECIPE.data.views.model_copy(update={"cutout_px": CUTOUT_PX})
    return Stl10Images(RECIPE.data.model_copy(update={"views": views}), plain.root)


def prepared(images: Images, where: Crops | Windows) -> torch.Tensor:
    source = images.source()
    return source.prepare(source.fill(source.buffer(len(where), 6), where), where)


@pytest.mark.parametrize("flip", [False, True])
def test_zeros_are_where_the_squares_are_whether_flipped_or_not(cut: Images, flip: bool) -> None:
    where = cut.spec.live_views().draw(generator(1, "test"), np.arange(16))
    where = replace(where, flip=np.full(16, flip))
    source = cut.source()
    pixels = source.normalised(source.fill(source.buffer(16, 6), where))
    assert torch.equal(prepared(cut, replace(where, cutout=None)), patch_grid(pixels, 16, 8))
    with_zeros = cut_out(pixels, where.cutout)
    assert (with_zeros == 0).sum() > 16 * (CUTOUT_PX // 2) ** 2 > (pixels == 0).sum()
    assert torch.equal(prepared(cut, where), patch_grid(with_zeros, 16, 8))


def test_micro_batches_have_the_squares_of_the_whole_batch(cut: Images) -> None:
    source, where = cut.source(), cut.spec.live_views().draw(generator(1, "test"), np.arange(16))
    raw = source.fill(source.buffer(16, 6), where)
    whole = load_samples(source, raw, where, CPU, 0, 16)
    parts = [load_samples(source, raw, where, CPU, at, at + 4) for at in range(0, 16, 4)]
    assert torch.equal(torch.cat(parts), whole)


def test_only_a_first_stage_trains_on_cutout(plain: Images, cut: Images) -> None:
    chain = RECIPE.chain
    first, before = (images.draws(chain(1))(3) for images in (cut, plain))
    assert first.cutout.shape == (8, 4)
    assert before.cutout is None
    assert np.array_equal(first.y, before.y)
    second, before = (images.draws(chain(2))(3) for images in (cut, plain))
    assert np.array_equal(second.starts, before.starts)
    assert torch.equal(prepared(cut, second), prepared(plain, before))


def test_probes_see_whole_crops(plain: Images, cut: Images) -> None:
    spec = RECIPE.probe("probe")
    codes = [
        ClassProbe(spec, images, device=CPU, workers=1, watch=Watch()).codes(
            spec.paper, {}, reading=mean_code
        )
        for images in (plain, cut)
    ]
    for role in ("train", "test"):
        assert np.array_equal(codes[0]["pixels"][role], codes[1]["pixels"][role])
