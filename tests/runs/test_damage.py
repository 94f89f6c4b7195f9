"""Files that lost bits or were never finished: found, and written again to the same bits."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.homes import StopAfter, at, bits, edit, states
from safetensors.torch import save_file

from gimstage.errors import TrainingError
from gimstage.progress import Interrupted
from gimstage.runs.folder import RunFolder, file_sha256
from gimstage.runs.tensors import read_tensors
from gimstage.work.stage import StageWork


def flip_last_bit(path: Path) -> None:
    """Damage a file without changing its size."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["weights", "objective"])
@pytest.mark.parametrize("damage", [Path.unlink, flip_last_bit])
def test_damaged_weights_are_trained_again_to_the_same_bits(
    home: Path, finished: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(home / f"runs/tiny/2/{name}.safetensors")
    assert states(home) == ["done", "damaged", "stale", "stale"]
    at(home).run()
    assert bits(home) == bits(finished)


def test_features_of_other_weights_are_never_kept(home: Path, finished: Path) -> None:
    group = home / "runs/tiny/2/features.zarr/zarr.json"
    attributes = json.loads(group.read_text())
    attributes["attributes"]["weights_sha256"] = "0" * 64
    group.write_text(json.dumps(attributes, indent=2) + "\n")
    shard = next((home / "runs/tiny/2/features.zarr/features").glob("c*"))
    flip_last_bit(shard)
    (home / "runs/tiny/2/manifest.json").unlink()
    at(home).run()
    assert bits(home) == bits(finished)


def test_an_extraction_that_goes_on_checks_what_lies_there(home: Path, finished: Path) -> None:
    shard = next((home / "runs/tiny/2/features.zarr/features").glob("c*"))
    content = bytearray(shard.read_bytes())
    content[5000] ^= 1
    shard.write_bytes(content)
    (home / "runs/tiny/2/manifest.json").unlink()
    at(home).run()
    assert bits(home) == bits(finished)


def test_a_truncated_shard_is_damage_and_only_it_is_written_again(
    home: Path, finished: Path
) -> None:
    shard = next((home / "runs/tiny/2/features.zarr/features").glob("c*"))
    shard.write_bytes(shard.read_bytes()[:-100])
    assert states(home) == ["done", "damaged", "stale", "stale"]
    weights = (home / "runs/tiny/2/weights.safetensors").stat().st_mtime_ns
    at(home).run()
    assert bits(home) == bits(finished)
    assert (home / "runs/tiny/2/weights.safetensors").stat().st_mtime_ns == weights


def test_a_stage_stays_whole_until_its_new_training_is_over(home: Path) -> None:
    before, text = bits(home), next((home / "tiny").glob("1_*.toml")).read_text()
    edit(home, "data.toml", "std = [0.2570]", "std = [1e-37]")
    with pytest.raises(TrainingError):
        at(home).train_stage(1)
    edit(home, "data.toml", "std = [1e-37]", "std = [0.2570]")
    edit(home, "1_*.toml", "learning_rate = 1e-3", "learning_rate = 3e-3")
    with pytest.raises(Interrupted):
        at(home, StopAfter(5)).train_stage(1)
    next((home / "tiny").glob("1_*.toml")).write_text(text)
    assert states(home) == ["done"] * 4
    assert {k: v for k, v in bits(home).items() if "checkpoint" not in k} == before


def test_a_training_killed_while_it_is_installed_is_installed_later(
    fresh: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(self: RunFolder) -> None:
        self.training.objective.replace(self.objective)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "install", killed)
        with pytest.raises(KeyboardInterrupt):
            at(fresh).train_stage(1)
    at(fresh).run()
    assert bits(fresh) == bits(finished)


def test_a_checkpoint_goes_whose_training_was_killed_when_its_weights_were_in_place(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("gimstage.runs.folder.sync_folder", killed)
        with pytest.raises(KeyboardInterrupt):
            at(fresh, checkpoint_every_s=0).train_stage(1)
    assert (fresh / "runs/tiny/1/checkpoint/state.safetensors").exists()
    at(fresh).train_stage(1)
    assert not (fresh / "runs/tiny/1/checkpoint").exists()


@pytest.mark.parametrize("name", ["weights", "objective"])
@pytest.mark.parametrize("installed", [False, True])
def test_weights_that_lost_a_bit_before_a_manifest_names_them_are_trained_again(
    fresh: Path,
    finished: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    installed: bool,
) -> None:
    def killed(self: StageWork | RunFolder, *_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(StageWork, "_extract", killed)
        if not installed:
            patched.setattr(RunFolder, "install", killed)
        with pytest.raises(KeyboardInterrupt):
            at(fresh).train_stage(1)
    path = fresh / "runs/tiny/1" / ("" if installed else "checkpoint") / f"{name}.safetensors"
    flip_last_bit(path)
    at(fresh).run()
    assert caplog.messages == [
        f"{path}: other bytes than were written; set aside as {name}.safetensors.damaged, "
        "the stage is trained again"
    ]
    assert bits(fresh) == bits(finished)


def without_checksum(path: Path) -> None:
    """Make a file of tensors one of an earlier release."""
    stored = read_tensors(path)
    save_file(stored.tensors, path, metadata={"gimstage": json.dumps(stored.header)})


def test_a_stage_of_an_earlier_release_is_done_and_its_features_are_stored_anew(home: Path) -> None:
    stage = home / "runs/tiny/3"
    for name in ("weights", "objective"):
        without_checksum(stage / f"{name}.safetensors")
    document = json.loads((stage / "manifest.json").read_text()) | {
        "format": 1,
        "weights_sha256": file_sha256(stage / "weights.safetensors"),
        "objective_sha256": file_sha256(stage / "objective.safetensors"),
    }
    later = ("files", "sha256")
    document = {key: value for key, value in document.items() if key not in later}
    (stage / "manifest.json").write_text(json.dumps(document))
    assert states(home)[:3] == ["done"] * 3
    weights = (stage / "weights.safetensors").read_bytes()
    edit(home, "3_*.toml", '"float16"', '"round5"')
    assert at(home).train_stage(3)
    assert (stage / "weights.safetensors").read_bytes() == weights
    assert states(home)[:3] == ["done"] * 3


LOST = ['{"step": 1, "lo', '{"stfp": 12, "seconds": 1.0}', '{"step": "x", "seconds": {}}', "[7]"]


@pytest.mark.parametrize("record", LOST)
def test_a_lost_record_of_losses_does_not_lose_the_weights(home: Path, record: str) -> None:
    (home / "runs/tiny/2/manifest.json").unlink()
    (home / "runs/tiny/2/metrics.jsonl").write_text(record)
    weights = (home / "runs/tiny/2/weights.safetensors").read_bytes()
    at(home).train_stage(2)
    assert (home / "runs/tiny/2/weights.safetensors").read_bytes() == weights
    assert json.loads((home / "runs/tiny/2/manifest.json").read_text())["training"]["last"] is None


def test_a_store_left_by_a_kill_while_it_was_removed_is_cleared_away(home: Path) -> None:
    left = home / "runs/tiny/2/features.zarr.part"
    left.mkdir()
    (left / "x").write_text("x")
    shutil.rmtree(home / "runs/tiny/2/features.zarr")
    at(home).train_stage(2)
    assert not left.exists()


def test_a_checkpoint_that_the_disk_would_not_remove_goes_before_the_stage_is_done(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(home / "runs/tiny/2")
    with pytest.raises(Interrupted):
        at(home, StopAfter(14)).train_stage(2)
    assert (home / "runs/tiny/2/checkpoint/state.safetensors").exists()
    real, refused = shutil.rmtree, []

    def once_refused(path: Path, *, ignore_errors: bool = False) -> None:
        if path.name == "checkpoint" and not refused:
            refused.append(path)
        else:
            real(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", once_refused)
    at(home).train_stage(2)
    assert refused
    assert not refused[0].exists()
