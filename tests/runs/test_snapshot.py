"""A command judges each stage once, and again only where something may have changed."""

import hashlib
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from helpers.homes import at

from gimstage.errors import DamagedCacheError, StaleCacheError
from gimstage.runs.folder import RunFolder
from gimstage.runs.snapshot import Snapshot
from gimstage.runs.state import Judgement, Runs
from gimstage.stack import trained_stack

STAGES = 6  # of the recipe, each with weights of a module and of an objective


@pytest.fixture(scope="module")
def finished(finished_speech: Path) -> Path:
    return finished_speech


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a state was judged, and a file of weights hashed."""
    numbers: Counter[str] = Counter()
    judge, digest = Runs._judge, hashlib.file_digest

    def judging(runs: Runs, *place: Any) -> Judgement:
        numbers["judged"] += 1
        return judge(runs, *place)

    def hashing(file: Any, *algorithm: Any) -> Any:
        numbers["hashed"] += str(file.name).endswith(".safetensors")
        return digest(file, *algorithm)

    monkeypatch.setattr(Runs, "_judge", judging)
    monkeypatch.setattr(hashlib, "file_digest", hashing)
    return numbers


def test_a_run_judges_each_stage_four_times_at_most(fresh: Path, counts: Counter[str]) -> None:
    at(fresh).run()
    assert counts["judged"] <= 4 * STAGES
    assert counts["hashed"] <= 4 * STAGES  # when written, and when read for each of the two probes


def test_a_run_of_what_is_done_judges_each_stage_once(home: Path, counts: Counter[str]) -> None:
    at(home).run()
    assert counts == {"judged": STAGES, "hashed": 2 * STAGES}


def test_status_judges_each_stage_once(finished: Path, counts: Counter[str]) -> None:
    pipeline = at(finished)
    states = [status.state for status in pipeline.statuses() + pipeline.probe_statuses()]
    memory = [pipeline.memory(str(number)) for number in range(1, STAGES + 1)]
    assert set(states) == {"done"}
    assert all(memory)
    assert counts == {"judged": STAGES, "hashed": 2 * STAGES}


def test_what_changes_in_between_is_seen_by_the_next_look(home: Path) -> None:
    pipeline = at(home)
    assert {status.state for status in pipeline.statuses()} == {"done"}
    weights = home / "runs/tiny_audio/2/weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    states = [status.state for status in pipeline.statuses()]
    assert states == ["done", "damaged", *["stale"] * 4]


def test_a_stage_trained_by_another_process_is_judged_anew_under_the_lock(
    fresh: Path, finished: Path
) -> None:
    pipeline = at(fresh)
    assert pipeline.runs.status(pipeline.recipe.chain(1)).state == "missing"
    shutil.copytree(finished / "runs/tiny_audio/1", fresh / "runs/tiny_audio/1")
    assert not pipeline.train_stage(1)


def test_a_stage_below_that_changes_before_it_is_held_is_not_trained_on(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, hold = at(home), RunFolder.reading

    def another_is_faster(folder: RunFolder, *rest: Any) -> Any:
        folder.withdraw()
        return hold(folder, *rest)

    shutil.rmtree(home / "runs/tiny_audio/2")
    monkeypatch.setattr(RunFolder, "reading", another_is_faster)
    with pytest.raises(StaleCacheError) as error:
        pipeline.train_stage(2)
    assert str(error.value) == (
        "stage tiny_audio/1: partial (trained; features not complete); expected done; "
        f"run `gimstage train-stage 1 --recipe stages/tiny_audio --runs {home / 'runs'}` first"
    )


def test_weights_that_have_changed_since_they_were_judged_are_not_loaded(home: Path) -> None:
    pipeline = at(home)
    chain = pipeline.recipe.chain(1)
    pipeline.runs.require(chain)
    weights = pipeline.runs.stage_folder(chain).weights
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(DamagedCacheError) as error:
        trained_stack(pipeline.runs, chain)
    assert str(error.value) == (
        f"{weights}: other bytes than its manifest names; run `"
        f"gimstage train-stage 1 --recipe stages/tiny_audio --runs {home / 'runs'}`"
    )


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "tiny/1")
    folder.path.mkdir(parents=True)
    folder.manifest_path.write_text("{}")
    return folder


def looked(snapshot: Snapshot[int], folder: RunFolder, *below: RunFolder) -> bool:
    """Whether the folder is looked at now, and not remembered."""
    looks: list[int] = []
    snapshot.of(folder, below, lambda: looks.append(1) or 1)
    return bool(looks)


def test_what_was_found_out_is_remembered(folder: RunFolder) -> None:
    snapshot = Snapshot[int]()
    assert looked(snapshot, folder)
    snapshot.look_again()
    assert not looked(snapshot, folder)


@pytest.mark.parametrize("change", ["replaced", "written over", "new", "gone", "other times"])
def test_a_change_is_noticed(folder: RunFolder, change: str) -> None:
    snapshot, path = Snapshot[int](), folder.manifest_path
    looked(snapshot, folder)
    if change == "replaced":
        (folder.path / "part").write_text("{}")
        (folder.path / "part").replace(path)
    elif change == "written over":
        path.write_text("[]")
    elif change == "new":
        folder.weights.write_bytes(b"")
    elif change == "gone":
        path.unlink()
    else:
        os.utime(path)
    snapshot.look_again()
    assert looked(snapshot, folder)


def test_a_lock_is_no_change(folder: RunFolder) -> None:
    snapshot = Snapshot[int]()
    looked(snapshot, folder)
    with folder.lock():
        snapshot.look_again()
    assert not looked(snapshot, folder)


def test_a_touch_of_our_own_is_no_change(folder: RunFolder) -> None:
    snapshot = Snapshot[int]()
    looked(snapshot, folder)
    before = folder.manifest_path.stat().st_mtime_ns
    snapshot.touch(folder)
    snapshot.look_again()
    assert folder.manifest_path.stat().st_mtime_ns > before
    assert not looked(snapshot, folder)


def test_a_touch_hides_no_change_of_others(folder: RunFolder) -> None:
    snapshot = Snapshot[int]()
    looked(snapshot, folder)
    folder.manifest_path.write_text('{"other": 1}')
    snapshot.touch(folder)
    snapshot.look_again()
    assert looked(snapshot, folder)


def test_what_rests_on_a_changed_folder_is_forgotten_too(folder: RunFolder) -> None:
    snapshot, above = Snapshot[int](), RunFolder(folder.path.with_name("2"))
    looked(snapshot, folder)
    looked(snapshot, above, folder)
    snapshot.forget(folder)
    assert looked(snapshot, above, folder)


def test_a_change_while_looking_is_a_change(folder: RunFolder) -> None:
    snapshot = Snapshot[int]()
    snapshot.of(folder, (), lambda: folder.weights.write_bytes(b"new"))
    snapshot.look_again()
    assert looked(snapshot, folder)


def test_a_digest_is_of_the_bytes_as_they_are(folder: RunFolder, counts: Counter[str]) -> None:
    snapshot = Snapshot[int]()
    folder.weights.write_bytes(b"a")
    digests = [snapshot.sha256(folder.weights) for _ in range(2)]
    assert counts["hashed"] == 1
    folder.weights.write_bytes(b"bc")
    assert snapshot.sha256(folder.weights) not in digests
    snapshot.forget(folder)
    snapshot.sha256(folder.weights)
    assert counts["hashed"] == 3
