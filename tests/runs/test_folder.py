"""One writer to a stage, and none while another reads it."""

import os
import socket
from pathlib import Path

import pytest
from helpers.homes import at, edit

from gimstage.errors import BusyError, CacheError, DamagedCacheError
from gimstage.runs.folder import RunFolder, check_files


def test_a_second_process_on_a_stage_is_refused(fresh: Path) -> None:
    with at(fresh).runs.folder("tiny/1").lock(), pytest.raises(BusyError) as error:
        at(fresh).train_stage(1)
    assert "works on this stage; expected one writer; wait for it, or stop it" in str(error.value)


def test_a_stage_that_another_one_reads_is_not_trained_again(home: Path) -> None:
    edit(home, "1_*.toml", "learning_rate = 1e-3", "learning_rate = 2e-3")
    folder = at(home).runs.folder("tiny/1")
    with folder.reading(), folder.reading(), pytest.raises(BusyError) as error:
        at(home).train_stage(1)
    assert str(error.value) == (
        f"{folder.path}: another process reads this stage; expected one writer; "
        "wait for it, or stop it"
    )


def test_a_lock_left_by_a_killed_process_is_no_obstacle(home: Path) -> None:
    (home / "runs/tiny/1/lock").write_text(f"999999 {socket.gethostname()}\n")
    assert not at(home).train_stage(1)


def test_a_lock_of_another_host_is_respected(fresh: Path) -> None:
    lock = fresh / "runs/tiny/1/lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("12 elsewhere\n")
    with pytest.raises(BusyError) as error:
        at(fresh).train_stage(1)
    assert str(error.value) == (
        f"{lock.parent}: process 12 on elsewhere works on this stage; expected one writer; "
        f"if it no longer runs there, delete {lock}"
    )


@pytest.mark.parametrize("name", ["weights", "objective"])
def test_weights_of_other_bytes_are_named(home: Path, name: str) -> None:
    folder = at(home).runs.folder("tiny/1")
    path, manifest = getattr(folder, name), folder.manifest()
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DamagedCacheError) as caught:
        check_files(folder, manifest)
    assert str(caught.value) == (
        f"{path}: other bytes than its manifest names; run the stage again"
    )
    path.unlink()
    with pytest.raises(DamagedCacheError) as caught:
        check_files(folder, manifest)
    assert str(caught.value) == (
        f"{path}: missing; expected the file its manifest names; run the stage again"
    )


def test_a_training_is_installed_with_its_weights_last(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.training.path.mkdir()
    for name in ("weights", "objective", "metrics", "memory", "manifest_path"):
        getattr(folder.training, name).write_text(f"new {name}")
    for path in folder.training.states:
        path.write_text("new state")
    folder.manifest_path.write_text("of the weights before")
    folder.install()
    left = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert left == {
        "weights.safetensors": "new weights",
        "objective.safetensors": "new objective",
        "metrics.jsonl": "new metrics",
        "memory.json": "new memory",
    }


def test_installing_again_finishes_what_was_begun(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.training.path.mkdir()
    folder.objective.write_text("new objective")  # moved before the kill
    folder.training.weights.write_text("new weights")
    folder.weights.write_text("old weights")
    folder.install()
    assert folder.weights.read_text() == "new weights"
    assert folder.objective.read_text() == "new objective"
    assert not folder.training.path.exists()


def test_many_may_read_at_once_and_nobody_writes_meanwhile(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "1")
    again = RunFolder(tmp_path / "1")
    with folder.reading(), again.reading(), pytest.raises(BusyError), again.lock():
        pass
    with folder.lock():
        pass


def test_while_one_writes_nobody_reads(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "1")
    with folder.lock(), pytest.raises(BusyError) as caught, folder.reading():
        pass
    assert f"process {os.getpid()} on {socket.gethostname()} works on this" in str(caught.value)


def test_a_lock_names_its_holder_only_while_it_is_held(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "1").lock():
        assert (tmp_path / "1/lock").read_text() == f"{os.getpid()} {socket.gethostname()}\n"
    assert (tmp_path / "1/lock").read_text() == ""


def test_features_that_are_not_finished_are_refused_with_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(CacheError) as caught:
        RunFolder(tmp_path).open_features()
    assert str(caught.value) == (
        f"{tmp_path}: no finished features; run `gimstage train-stage`; "
        'features need store = "features" in [output]'
    )
