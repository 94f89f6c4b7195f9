"""Damage of every kind of file: set aside, made again to the same bits, and said aloud."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.homes import at, bits, states
from helpers.manifests import BESIDE

from gimstage.errors import DamagedCacheError
from gimstage.files import set_aside
from gimstage.runs.folder import RunFolder
from gimstage.work.verify import damage_in

STORED = ["zarr.json", "features/zarr.json", "source_sample/c.0", "features/c.0.0.0.0.0.0.0"]
MADE = [name for name in BESIDE if name != "metrics.jsonl"]
FILES = ["manifest.json", *MADE, *(f"features.zarr/{name}" for name in STORED)]


def flip_middle(path: Path) -> None:
    """Change one bit."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def flip_last(path: Path) -> None:
    """Change one bit of a shard's index, or of a checksum."""
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    """Leave half of the file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def in_the_way(path: Path) -> None:
    """Put a folder with something in it there."""
    path.unlink()
    path.mkdir()
    (path / "x").write_text("x")


def dangling(path: Path) -> None:
    """Put a link to nowhere there."""
    path.unlink()
    path.symlink_to("nowhere")


def kept(home: Path) -> dict[str, bytes]:
    """All bits of the runs that are the same in every training."""
    records = {path.name: path.read_bytes() for path in (home / "runs/tiny/2").glob("memory.json")}
    return bits(home) | records


def everything(home: Path) -> set[str]:
    """The names of all files below a recipe's runs."""
    runs = home / "runs/tiny"
    return {path.relative_to(runs).as_posix() for path in runs.rglob("*") if path.is_file()}


@pytest.mark.parametrize("damage", [flip_middle, flip_last, cut, in_the_way, dangling])
@pytest.mark.parametrize("name", FILES)
def test_damage_is_set_aside_and_made_again_to_the_same_bits(
    home: Path,
    finished: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    damage: Callable[[Path], None],
) -> None:
    path = home / "runs/tiny/2" / name
    damage(path)
    if "features/c" in name and damage is flip_middle:
        at(home).extract_stage(2)  # reads every byte; to look at indices finds no such thing
    else:
        assert states(home) == ["done", "damaged", "stale", "stale"]
        at(home).run()
    (message,) = [m for m in caplog.messages if "set aside" in m]
    assert message.startswith(f"{path}: ")
    assert f"; set aside as {path.name}.damaged, " in message
    assert kept(home) == kept(finished)
    assert everything(home) == everything(finished)
    assert states(home) == ["done"] * 4
    assert list(damage_in(at(home).verify())) == []


@pytest.mark.parametrize("damage", [flip_middle, cut, in_the_way, dangling, Path.unlink])
def test_damaged_losses_are_done_without_and_nothing_is_trained_again(
    home: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    folder = RunFolder(home / "runs/tiny/2")
    recorded, weights = folder.manifest(), folder.weights.stat()
    damage(folder.metrics)
    assert states(home) == ["done", "damaged", "stale", "stale"]
    at(home).run()
    (message,) = caplog.messages
    assert message.startswith(f"{folder.metrics}: ")
    assert message.endswith("the stage goes on without its losses, but for the first and the last")
    assert not list(folder.path.glob("metrics*"))
    assert states(home) == ["done"] * 4
    assert list(damage_in(at(home).verify())) == []
    now = folder.manifest()
    assert recorded is not None
    assert now is not None
    assert now.training == recorded.training
    assert (folder.weights.stat().st_ino, now.weights_sha256) == (
        weights.st_ino,
        recorded.weights_sha256,
    )


@pytest.mark.parametrize("name", ["features.zarr", "features.zarr/features"])
@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("nowhere")])
def test_what_lies_in_the_place_of_a_folder_is_set_aside(
    home: Path, finished: Path, name: str, make: Callable[[Path], None]
) -> None:
    path = home / "runs/tiny/2" / name
    shutil.rmtree(path)
    make(path)
    assert states(home)[1] == "damaged"
    at(home).run()
    assert kept(home) == kept(finished)
    assert everything(home) == everything(finished)


@pytest.mark.parametrize("damage", [flip_middle, cut, in_the_way, dangling])
def test_a_damaged_record_of_a_probe_is_set_aside_and_fitted_again(
    home: Path, damage: Callable[[Path], None]
) -> None:
    rows = at(home).probe("probe")
    damage(home / "runs/tiny/probe/manifest.json")
    assert states(home) == ["done", "done", "done", "damaged"]
    assert at(home).run() == rows
    assert states(home) == ["done"] * 4


@pytest.mark.parametrize("damage", [flip_middle, flip_last, cut, in_the_way, Path.unlink])
def test_features_below_that_are_damaged_are_stored_again_before_they_are_trained_on(
    home: Path, finished: Path, damage: Callable[[Path], None]
) -> None:
    damage(home / "runs/tiny/1/features.zarr/features/c.0.0.0.0.0.0.0")
    shutil.rmtree(home / "runs/tiny/2")
    at(home).train_stage(2)
    assert bits(home) == bits(finished)
    assert everything(home) == everything(finished)


def test_features_below_that_cannot_be_stored_again_are_refused_with_what_to_run(
    home: Path,
) -> None:
    shard = home / "runs/tiny/1/features.zarr/features/c.0.0.0.0.0.0.0"
    flip_middle(shard)
    shutil.rmtree(home / "runs/tiny/2")
    held = RunFolder(home / "runs/tiny/1")
    with held.reading(), pytest.raises(DamagedCacheError) as caught:
        at(home).train_stage(2)
    assert str(caught.value).startswith(f"{shard}, chunk ")
    assert f" --runs {home / 'runs'}` first, which now ended in: " in str(caught.value)
    assert str(held.path) in str(caught.value)


def test_features_below_that_lie_with_another_recipe_are_left_to_it(home: Path) -> None:
    (home / "runs/tiny").rename(home / "runs/other")
    shard = home / "runs/other/1/features.zarr/features/c.0.0.0.0.0.0.0"
    flip_middle(shard)
    shutil.rmtree(home / "runs/other/2")
    with pytest.raises(DamagedCacheError) as caught:
        at(home).train_stage(2)
    assert str(caught.value).startswith(f"{shard}, chunk ")
    assert str(caught.value).endswith(f" --runs {home / 'runs'}` first")


def test_damaged_weights_below_are_not_trained_again_unasked(home: Path) -> None:
    flip_middle(home / "runs/tiny/1/weights.safetensors")
    shutil.rmtree(home / "runs/tiny/2")
    with pytest.raises(DamagedCacheError) as caught:
        at(home).train_stage(2)
    assert str(caught.value).startswith("stage tiny/1: damaged (")
    assert str(caught.value).endswith(
        f"run `gimstage train-stage 1 --recipe stages/tiny --runs {home / 'runs'}` first"
    )


def test_what_was_set_aside_is_told_until_the_stage_is_done(home: Path) -> None:
    path = home / "runs/tiny/2/weights.safetensors"
    set_aside(path, "damaged", "it is made again")
    aside = f"{path}.damaged was damaged and is set aside"
    assert aside in at(home).statuses()[1].why
    at(home).run()
    assert not os.path.lexists(f"{path}.damaged")
    assert at(home).statuses()[1].why == ()


def test_a_record_of_a_probe_that_was_set_aside_is_told_of(home: Path) -> None:
    path = home / "runs/tiny/probe/manifest.json"
    set_aside(path, "damaged", "it is made again")
    (status,) = at(home).probe_statuses()
    assert status.why == (f"{path}.damaged was damaged and is set aside",)
    at(home).run()
    assert sorted(os.listdir(path.parent)) == ["lock", "manifest.json"]
