"""A lease is renewed for as long as it is held; whoever is taken over hears of it and stops."""

import threading
from pathlib import Path

import pytest
from helpers.homes import at
from helpers.leases import FAR, sign

from gimstage.errors import BusyError
from gimstage.runs import leases, locks
from gimstage.runs.leases import Lease
from gimstage.work.base import finish


def test_a_lease_is_renewed_while_it_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RENEWED_S", 0.001)
    with locks.exclusive(tmp_path) as hold:
        first = hold.lease.seen
        while Lease.parse((tmp_path / "lock").read_bytes()) == hold.lease._replace(seen=first):
            pass
    assert hold.lease.seen > first


def test_whoever_was_taken_over_signs_no_more_and_commits_nothing(tmp_path: Path) -> None:
    with locks.exclusive(tmp_path) as hold:
        path = sign(tmp_path, FAR)
        assert not hold.renew()
        with pytest.raises(BusyError) as caught:
            hold.require()
    assert path.read_bytes() == bytes(FAR)
    assert str(caught.value) == (
        f"{tmp_path}: process 12 on elsewhere took this stage over, as this one was not heard of "
        "for 60 s; expected one writer; wait for it, or stop it"
    )


def test_whoever_is_taken_over_hears_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "RENEWED_S", 0.001)
    heard = threading.Event()
    with locks.exclusive(tmp_path, lost=heard.set):
        while not heard.is_set():  # a signature under way may fall upon this one
            path = sign(tmp_path, FAR)
    assert path.read_bytes() == bytes(FAR)


def test_a_training_that_is_taken_over_is_stopped_and_told_so(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RENEWED_S", 0.001)
    pipeline = at(fresh)
    folder = pipeline.runs.folder("tiny/1")
    pipeline.watch.report = lambda progress: None if pipeline.watch.stop.is_set() else taken()

    def taken() -> None:
        while not pipeline.watch.stop.is_set():  # a signature under way may fall upon this one
            sign(folder.path, FAR)

    with pytest.raises(BusyError):
        pipeline.train_stage(1)
    assert not folder.manifest_path.exists()


def test_a_stage_that_was_taken_over_while_it_trained_is_not_committed(fresh: Path) -> None:
    pipeline = at(fresh)
    work = pipeline._stage(1)
    train = work.work
    work.work = lambda: (train(), sign(work.folder.path, FAR))[0]
    with pytest.raises(BusyError):
        finish(work)
    assert not work.folder.manifest_path.exists()
