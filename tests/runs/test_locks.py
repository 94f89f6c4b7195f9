"""One writer to a stage, and none while another reads it, whatever machine or file system it is."""

import errno
import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.homes import at, edit
from helpers.leases import FAR, Clock, never, refusing, sign
from helpers.trees import tree

from gimstage.errors import BusyError, CacheError
from gimstage.progress import Interrupted, Watch
from gimstage.runs import locks
from gimstage.runs.folder import RunFolder
from gimstage.runs.leases import Lease

NO_LOCKS = sorted(locks.NO_LOCKS)


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


def test_a_lock_of_another_host_and_an_older_release_is_respected(fresh: Path) -> None:
    lock = fresh / "runs/tiny/1/lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("12 elsewhere\n")
    with pytest.raises(BusyError) as error:
        at(fresh).train_stage(1)
    assert str(error.value) == (
        f"{lock.parent}: process 12 on elsewhere works on this stage; expected one writer; "
        f"if it no longer runs there, run `rm {lock}`"
    )


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
    with RunFolder(tmp_path / "1").lock() as hold:
        assert (tmp_path / "1/lock").read_bytes() == bytes(hold.lease)
    assert hold.lease[:2] == (os.getpid(), socket.gethostname())
    assert (tmp_path / "1/lock").read_text() == ""


@pytest.fixture
def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has no kernel locks."""
    monkeypatch.setattr(fcntl, "flock", refusing(errno.ENOSYS))
    monkeypatch.setattr(locks, "_said", set())


def test_a_lease_of_another_machine_that_is_not_renewed_is_taken_over_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sign(tmp_path, FAR)
    clock = Clock()
    with locks.exclusive(tmp_path, clock) as hold:
        assert Lease.parse((tmp_path / "lock").read_bytes()) == hold.lease
    assert clock.now == locks.SILENT_S
    assert caplog.messages == [
        f"{tmp_path}: process 12 on elsewhere works on this stage, or did; it is watched for "
        "another 50 s, as it was not heard of for 10 s",
        f"{tmp_path}: process 12 on elsewhere worked on this stage and was not heard of for 60 s; "
        "it is taken to have ended",
    ]


@pytest.mark.parametrize("renewed", [1, 30, 60])
def test_a_lease_of_another_machine_that_is_renewed_is_never_taken_over(
    tmp_path: Path, renewed: int
) -> None:
    path = sign(tmp_path, FAR)
    before = FAR._replace(seen=2)
    clock = Clock(lambda now: now == renewed and path.write_bytes(bytes(before)))
    with pytest.raises(BusyError) as caught, locks.exclusive(tmp_path, clock):
        pass
    assert clock.now == renewed
    assert path.read_bytes() == bytes(before)
    assert str(caught.value) == (
        f"{tmp_path}: process 12 on elsewhere works on this stage; expected one writer; "
        "wait for it, or stop it"
    )


def test_a_lease_that_is_given_back_while_it_is_watched_is_free(tmp_path: Path) -> None:
    path = sign(tmp_path, FAR)
    with locks.exclusive(tmp_path, Clock(lambda now: now == 7 and path.write_bytes(b""))) as hold:
        assert path.read_bytes() == bytes(hold.lease)


def test_a_lease_that_goes_from_one_machine_to_a_third_is_watched_again(tmp_path: Path) -> None:
    path, third = sign(tmp_path, FAR), FAR._replace(pid=7, token="b2")
    clock = Clock(lambda now: now == 7 and path.write_bytes(bytes(third)))
    with locks.exclusive(tmp_path, clock):
        pass
    assert clock.now == 7 + locks.SILENT_S


def test_the_clocks_of_machines_do_not_matter(tmp_path: Path) -> None:
    path = sign(tmp_path, FAR._replace(seen=1 << 62))
    os.utime(path, (1 << 33, 1 << 33))
    clock = Clock()
    with locks.exclusive(tmp_path, clock):
        pass
    assert clock.now == locks.SILENT_S


def test_whoever_was_killed_on_this_machine_is_not_waited_for(tmp_path: Path) -> None:
    sign(tmp_path, Lease.new()._replace(pid=1, host="a container that is gone", space="pid:[1]"))
    with locks.exclusive(tmp_path, never):
        pass


def test_a_reader_watches_a_writer_on_another_machine_too(tmp_path: Path) -> None:
    path = sign(tmp_path, FAR)
    renewed = bytes(FAR._replace(seen=2))
    clock = Clock(lambda now: now == 5 and path.write_bytes(renewed))
    with pytest.raises(BusyError), locks.shared(tmp_path, clock):
        pass
    with locks.shared(tmp_path, clock):
        assert path.read_bytes() == renewed


def test_a_stop_ends_the_watching(tmp_path: Path) -> None:
    sign(tmp_path, FAR)
    watch = Watch()
    watch.stop.set()
    with pytest.raises(Interrupted), locks.exclusive(tmp_path, watch.pause):
        pass


@pytest.mark.parametrize("number", NO_LOCKS, ids=errno.errorcode.get)
def test_a_file_system_without_locks_is_no_busy_stage_and_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(number))
    monkeypatch.setattr(locks, "_said", set())
    for _ in range(2):
        with locks.exclusive(tmp_path, never), locks.shared(tmp_path / "other", never):
            pass
    assert caplog.messages == [
        f"the file system of {tmp_path} has no locks ({os.strerror(number)}): a lease in lock "
        "takes their place; do not train a stage again while another process reads it"
    ]
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["lock"]


@pytest.mark.parametrize("number", sorted(locks.HELD), ids=errno.errorcode.get)
def test_only_a_lock_that_is_held_is_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(number))
    with pytest.raises(BusyError), locks.exclusive(tmp_path, never):
        pass


def test_any_other_failure_of_a_lock_is_the_system_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(errno.EIO))
    with pytest.raises(OSError, match=os.strerror(errno.EIO)), locks.exclusive(tmp_path, never):
        pass


@pytest.mark.usefixtures("without_locks")
def test_without_kernel_locks_a_lease_keeps_others_out(tmp_path: Path) -> None:
    with locks.exclusive(tmp_path, never) as hold:
        clock = Clock(lambda now: now == 5 and hold.renew())
        with pytest.raises(BusyError) as caught, locks.exclusive(tmp_path, clock):
            pass
    assert f"process {os.getpid()} on {socket.gethostname()} works on this" in str(caught.value)
    with locks.exclusive(tmp_path, never):
        pass


@pytest.mark.usefixtures("without_locks")
def test_without_kernel_locks_a_killed_process_of_this_machine_is_not_waited_for(
    tmp_path: Path,
) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    sign(tmp_path, Lease.new()._replace(pid=ended.pid))
    with locks.exclusive(tmp_path, never):
        pass


@pytest.mark.usefixtures("without_locks")
def test_of_two_who_find_a_silent_lease_one_takes_it_over(tmp_path: Path) -> None:
    path, claim = sign(tmp_path, FAR), tmp_path / "lock.claim"
    other = bytes(FAR._replace(pid=7, token="b2"))
    claim.touch()  # the other one is signing just now

    def signed(now: float) -> None:
        if now > locks.SILENT_S:
            path.write_bytes(other)
            claim.unlink()

    with pytest.raises(BusyError) as caught, locks.exclusive(tmp_path, Clock(signed)):
        pass
    assert "process 7 on elsewhere works on this stage" in str(caught.value)
    assert path.read_bytes() == other


@pytest.mark.usefixtures("without_locks")
def test_a_claim_that_was_left_by_a_killed_process_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "lock.claim").touch()
    with locks.exclusive(tmp_path, Clock()):
        assert not (tmp_path / "lock.claim").exists()


@pytest.mark.parametrize(
    "text", [b"", b"\xff\xfe\x00", b"one two three", b"12 host kernel", b"x" * 10_000, b"\n"]
)
def test_a_lock_file_in_which_nobody_has_signed_is_free(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "lock").write_bytes(text)
    with locks.exclusive(tmp_path, never):
        pass
    with locks.shared(tmp_path, never):
        pass


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda path: path.mkdir(), "a folder"),
        (lambda path: os.mkfifo(path), "a pipe"),
        (lambda path: path.symlink_to("manifest.json"), "a link"),
    ],
    ids=["folder", "pipe", "link"],
)
def test_what_is_no_lock_file_is_named(
    tmp_path: Path, make: Callable[[Path], None], kind: str
) -> None:
    make(tmp_path / "lock")
    for hold in (locks.exclusive, locks.shared):
        with pytest.raises(CacheError) as caught, hold(tmp_path, never):
            pass
        assert str(caught.value) == (
            f"{tmp_path}/lock: {kind}; expected the file that says who works here; remove it"
        )


def test_readers_open_no_file_for_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lock").touch()
    before, flags = os.open, []
    monkeypatch.setattr(os, "open", lambda *words: flags.append(words[1]) or before(*words))
    with locks.shared(tmp_path, never):
        pass
    assert all(each & os.O_ACCMODE == os.O_RDONLY and not each & os.O_CREAT for each in flags)


@pytest.mark.parametrize("number", sorted(locks.NOT_WRITABLE), ids=errno.errorcode.get)
def test_readers_do_without_where_nothing_may_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "open", refusing(number))
    before = tree(tmp_path)
    with locks.shared(tmp_path, never):
        pass
    assert tree(tmp_path) == before


def test_readers_who_only_look_leave_no_lock_file(tmp_path: Path) -> None:
    before = tree(tmp_path)
    with locks.shared(tmp_path, never, leave=False), locks.shared(tmp_path / "none", leave=False):
        pass
    assert tree(tmp_path) == before


def test_asking_who_works_there_waits_for_nobody_and_writes_nothing(tmp_path: Path) -> None:
    assert not locks.is_held(tmp_path)
    with locks.exclusive(tmp_path):
        assert locks.is_held(tmp_path)
    assert not locks.is_held(tmp_path)
    sign(tmp_path, FAR)
    before = tree(tmp_path)
    assert locks.is_held(tmp_path)
    assert tree(tmp_path) == before
