"""One writer to a stage, and none while another reads it."""

import socket
from pathlib import Path

import pytest
from helpers.homes import at, edit

from gimstage.errors import BusyError


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
