"""Frozen stacks: loaded from their manifests, or of random weights."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.homes import at
from helpers.manifests import rewrite

import gimstage
import gimstage.stack as stack_module
from gimstage.draws import generator
from gimstage.errors import BusyError, DamagedCacheError, StaleCacheError
from gimstage.runs.folder import file_sha256
from gimstage.runs.tensors import Stored, read_tensors, save_tensors
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
    state = torch.random.get_rng_state()
    stack = gimstage.load(home / "runs/tiny/3")
    assert torch.equal(torch.random.get_rng_state(), state)
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
        f"run `gimstage run --recipe stages/tiny --runs {home / 'runs'}` to bring "
        "all stages up to date"
    )


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def training(home: Path, number: int) -> str:
    return f"run `gimstage train-stage {number} --recipe stages/tiny --runs {home / 'runs'}`"


def made_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("damage", [cut_short, flipped])
def test_load_refuses_weights_of_other_bytes_than_the_manifest_names(
    home: Path, number: int, damage: Callable[[Path], None]
) -> None:
    path = home / f"runs/tiny/{number}/weights.safetensors"
    damage(path)
    with pytest.raises(DamagedCacheError) as error:
        gimstage.load(home / "runs/tiny/3")
    assert str(error.value) == (
        f"{path}: other bytes than its manifest names; {training(home, number)}"
    )


def test_load_says_what_lies_in_the_place_of_weights(home: Path) -> None:
    path = home / "runs/tiny/1/weights.safetensors"
    made_a_folder(path)
    with pytest.raises(DamagedCacheError) as error:
        gimstage.load(home / "runs/tiny/3")
    assert str(error.value) == (f"{path}: not readable: a folder; {training(home, 1)}")
    path.rmdir()
    with pytest.raises(DamagedCacheError) as error:
        gimstage.load(home / "runs/tiny/3")
    assert str(error.value) == (f"{path}: missing; expected a file of tensors; {training(home, 1)}")


def test_load_refuses_weights_of_another_module(home: Path) -> None:
    shutil.copy(home / "runs/tiny/2/weights.safetensors", home / "runs/tiny/3")
    vouch_anew(home / "runs/tiny/3")
    with pytest.raises(DamagedCacheError) as error:
        gimstage.load(home / "runs/tiny/3")
    start = f"{home / 'runs/tiny/3/weights.safetensors'}: weights of another module: Error(s) in "
    assert str(error.value).startswith(start)
    assert str(error.value).endswith(f" …; {training(home, 3)}")


def vouch_anew(stage: Path, **changes: object) -> None:
    """Have a manifest name the weights that lie beside it, and no other files."""
    digest = file_sha256(stage / "weights.safetensors")
    rewrite(stage / "manifest.json", weights_sha256=digest, files=[], **changes)


def test_load_refuses_stages_that_stand_on_themselves(home: Path) -> None:
    first = home / "runs/tiny/1"
    digest = json.loads((first / "manifest.json").read_text())["weights_sha256"]
    upstream = {"stage": "tiny/1", "fingerprint": "f" * 64}
    vouch_anew(first, upstream=upstream, upstream_weights_sha256=digest)
    for number in (1, 3):
        with pytest.raises(DamagedCacheError) as error:
            gimstage.load(home / f"runs/tiny/{number}")
        assert str(error.value) == (
            f"{first / 'manifest.json'}: a circle of stages; {training(home, 1)}"
        )


@pytest.mark.parametrize(
    "key", ["../../etc", "tiny/../1", "./1", "../1", "/1", "tiny/1.1", "1", ""]
)
def test_load_refuses_to_follow_what_is_no_stage(home: Path, key: str) -> None:
    path = home / "runs/tiny/2/manifest.json"
    vouch_anew(path.parent, upstream={"stage": key, "fingerprint": "f" * 64})
    with pytest.raises(DamagedCacheError, match="not readable: upstream.stage") as error:
        gimstage.load(path.parent)
    assert str(error.value).startswith(f"{path}: ")


def test_load_refuses_another_number_of_stages_than_the_identity_tells(home: Path) -> None:
    path = home / "runs/tiny/2/manifest.json"
    vouch_anew(path.parent, upstream=None, upstream_weights_sha256=None)
    with pytest.raises(DamagedCacheError) as error:
        gimstage.load(path.parent)
    assert str(error.value) == (
        f"{path}: 2 stages in its identity, 1 by upstream; {training(home, 2)}"
    )


def test_load_reads_anew_what_is_trained_again_meanwhile(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, plain, newer = home / "runs/tiny/1", stack_module.read_tensors, iter((2, 3))
    weights = read_tensors(stage / "weights.safetensors")

    def replaced(path: Path, *, sha256: str | None) -> Stored:
        for factor in newer:  # what another process does between manifest and weights
            save_tensors(path, {n: t * factor for n, t in weights.tensors.items()}, {})
            vouch_anew(stage)
            break
        return plain(path, sha256=sha256)

    monkeypatch.setattr(stack_module, "read_tensors", replaced)
    loaded = gimstage.load(stage).stages[0].state_dict()
    assert all(torch.equal(loaded[n], t * 3) for n, t in weights.tensors.items())


def test_load_gives_up_on_what_is_trained_again_and_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, plain, factors = home / "runs/tiny/1", stack_module.read_tensors, iter(range(2, 100))
    weights = read_tensors(stage / "weights.safetensors")

    def replaced(path: Path, *, sha256: str | None) -> Stored:
        factor = next(factors)
        save_tensors(path, {n: t * factor for n, t in weights.tensors.items()}, {})
        vouch_anew(stage)
        return plain(path, sha256=sha256)

    monkeypatch.setattr(stack_module, "read_tensors", replaced)
    with pytest.raises(BusyError) as error:
        gimstage.load(stage)
    assert str(error.value) == (
        f"{stage}: trained again while it was read; expected stages that stay as they are; "
        "load it when that is over"
    )


def test_load_takes_a_stage_from_inside_the_folder_of_its_run(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home / "runs/tiny")
    assert gimstage.load("2").names == ["tiny/1", "tiny/2"]


def test_open_features_gives_a_checked_reader(home: Path) -> None:
    reader = gimstage.open_features(home / "runs/tiny/2")
    assert reader.array("codes").shape == (48, 1, 8, 8, 16)
    next((home / "runs/tiny/2/features.zarr/codes").glob("c*")).unlink()
    with pytest.raises(DamagedCacheError):
        gimstage.open_features(home / "runs/tiny/2")
