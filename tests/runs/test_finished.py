"""Folders of results by the digests that their manifests mention."""

import os
from pathlib import Path

import pytest
from helpers.homes import at
from helpers.manifests import write_stage

from gimstage.runs import finished as module
from gimstage.runs.finished import Finished
from gimstage.runs.folder import RunFolder

NOWHERE = RunFolder(Path("nowhere"))
ONE, OTHER = "1" * 64, "2" * 64


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for name in ("b", "a@10", "a"):
        write_stage(tmp_path, f"{name}/1", weights_sha256=ONE, objective_sha256=OTHER)
    write_stage(tmp_path, "c/1", weights_sha256=ONE)
    return tmp_path


def names(found: list[RunFolder]) -> list[str]:
    return [folder.path.parent.name for folder in found]


def test_folders_come_in_the_order_of_their_names(runs: Path) -> None:
    assert names(Finished(runs).mentioning([ONE], beside=NOWHERE)) == ["a", "a@10", "b", "c"]


def test_a_folder_has_to_mention_every_digest(runs: Path) -> None:
    found = Finished(runs).mentioning([ONE, OTHER], beside=RunFolder(runs / "b/1"))
    assert names(found) == ["a", "a@10"]


def test_what_comes_and_goes_is_seen_by_the_next_look(runs: Path) -> None:
    finished = Finished(runs)
    finished.mentioning([ONE], beside=NOWHERE)
    (runs / "a/1/manifest.json").unlink()
    write_stage(runs, "d/1", weights_sha256=ONE)
    assert names(finished.mentioning([ONE], beside=NOWHERE)) == ["a", "a@10", "b", "c"]
    finished.look_again()
    assert names(finished.mentioning([ONE], beside=NOWHERE)) == ["a@10", "b", "c", "d"]


def test_each_manifest_is_read_once_until_it_changes(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    reading = module.read_regular

    def counted(path: Path, *, most_bytes: int) -> bytes:
        read.append(path.parent.parent.name)
        return reading(path, most_bytes=most_bytes)

    monkeypatch.setattr(module, "read_regular", counted)
    finished = Finished(runs)
    for _ in range(3):
        finished.mentioning([ONE], beside=NOWHERE)
        finished.look_again()
    assert read == ["a", "a@10", "b", "c"]
    os.utime(runs / "b/1/manifest.json", ns=(1, 1))
    finished.mentioning([ONE], beside=NOWHERE)
    assert read[4:] == ["b"]


@pytest.mark.parametrize("kind", ["folder", "pipe", "link that leads nowhere"])
def test_what_is_no_file_is_no_manifest(runs: Path, kind: str) -> None:
    path = runs / "a/1/manifest.json"
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("nowhere")
    assert names(Finished(runs).mentioning([ONE], beside=NOWHERE)) == ["a@10", "b", "c"]


def test_no_other_run_is_looked_at_where_all_is_done(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Finished, "_list", lambda self: pytest.fail("looked"))
    pipeline = at(finished)
    states = {each.state for each in pipeline.statuses() + pipeline.probe_statuses()}
    assert states == {"done"}
