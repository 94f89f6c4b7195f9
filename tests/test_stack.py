"""Frozen stacks: loaded from their manifests, or of random weights."""

import shutil
from pathlib import Path

import pytest
import torch
from helpers.homes import at
from helpers.manifests import rewrite

import gimstage
from gimstage.draws import generator
from gimstage.errors import DamagedCacheError, StaleCacheError
from gimstage.stack import random_stack, trained_stack


def test_load_gives_the_frozen_modules_of_speech(finished_speech: Path) -> None:
    stack = gimstage.load(finished_speech / "runs/tiny_audio/6")
    codes = stack.codes(torch.zeros(2, 20_480, 1))
    lengths = [codes[f"tiny_audio/{n}"].shape[1] for n in range(1, 7)]
    assert lengths == [4095, 1023, 512, 257, 128, 128]


def test_random_stacks_of_a_chain_share_their_modules(finished_speech: Path) -> None:
    recipe = at(finished_speech).recipe
    top, below = random_stack(recipe.chain(6)), random_stack(recipe.chain(2))
    assert all(
        torch.equal(a, b)
        for a, b in zip(top.parts[1].parameters(), below.parts[1].parameters(), strict=True)
    )


def test_load_gives_the_frozen_stack_from_its_manifests_alone(home: Path) -> None:
    pipeline = at(home)
    expected = trained_stack(pipeline.runs, pipeline.recipe.chain(3))
    shutil.rmtree(home / "tiny")
    stack = gimstage.load(home / "runs/tiny/3")
    patches = torch.rand(2, 6, 6, 1, 16, 16, generator=generator(4, "test"))
    assert stack.names == ["tiny/1", "tiny/2", "tiny/3"]
    assert torch.equal(stack(patches), expected(patches))
    assert {name: codes.shape for name, codes in stack.codes(patches).items()} == {
        "tiny/1": (2, 6, 6, 8),
        "tiny/2": (2, 6, 6, 16),
        "tiny/3": (2, 6, 6, 16),
    }


def test_load_refuses_a_stack_whose_parts_do_not_belong_together(home: Path) -> None:
    manifest = home / "runs/tiny/1/manifest.json"
    rewrite(manifest, weights_sha256="0" * 64, files=[])
    with pytest.raises(StaleCacheError) as error:
        gimstage.load(home / "runs/tiny/3")
    assert str(error.value) == (
        f"{home / 'runs/tiny/1'}: trained again since the stage above; "
        "run `gimstage run` to bring all stages up to date"
    )


def test_open_features_gives_a_checked_reader(home: Path) -> None:
    reader = gimstage.open_features(home / "runs/tiny/2")
    assert reader.array("codes").shape == (48, 1, 8, 8, 16)
    next((home / "runs/tiny/2/features.zarr/codes").glob("c*")).unlink()
    with pytest.raises(DamagedCacheError):
        gimstage.open_features(home / "runs/tiny/2")
