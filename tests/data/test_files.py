"""Folders that appear whole, and what killed processes leave of them."""

import os
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from helpers.processes import wait_for

from gimstage.data import files
from gimstage.data.demo import write_demo
from gimstage.data.demo_speech import write_demo_speech
from gimstage.data.files import draft, new_folder
from gimstage.errors import DataError


def test_a_folder_that_another_process_made_meanwhile_is_kept(tmp_path):
    root = tmp_path / "set"
    with new_folder(root) as folder:
        (folder / "file").write_bytes(b"ours")
        root.mkdir()
        (root / "file").write_bytes(b"theirs")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert (root / "file").read_bytes() == b"theirs"


def test_a_folder_that_other_files_filled_meanwhile_is_refused(tmp_path):
    root = tmp_path / "set"

    def fill():
        with new_folder(root):
            root.mkdir()
            (root / "mine").write_bytes(b"mine")

    with pytest.raises(DataError) as info:
        fill()
    assert str(info.value) == (
        f"{root}: it cannot be written (Directory not empty); "
        f"nothing written is lost: a folder is in the way: run `mv {root} {root}.aside`, "
        "then run the same command again"
    )
    assert [path.name for path in root.iterdir()] == ["mine"]


def writing(root: Path) -> "subprocess.Popen[bytes]":
    """Another process that has begun to write a folder, and goes on until it is killed."""
    code = (
        "import sys, time; from pathlib import Path; from gimstage.data.files import new_folder\n"
    )
    code += "with new_folder(Path(sys.argv[1])) as folder: (folder / 'x').touch(); time.sleep(1e6)"
    return subprocess.Popen([sys.executable, "-c", code, str(root)])


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    process = writing(tmp_path / "set")
    wait_for(tmp_path / ".set.part0" / "whole" / "x", process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [path.name for path in tmp_path.iterdir()] == [".set.part0"]
    with new_folder(tmp_path / "set") as folder:
        assert list(folder.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_what_a_living_process_writes_is_left_alone(tmp_path):
    with writing(tmp_path / "set") as process:
        theirs = tmp_path / ".set.part0" / "whole" / "x"
        wait_for(theirs, process)
        with new_folder(tmp_path / "set"):
            pass
        assert theirs.exists()
        assert sorted(path.name for path in tmp_path.iterdir()) == [".set.part0", "set"]
        process.kill()


def test_where_folders_cannot_be_locked_nothing_of_others_is_removed(tmp_path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    (tmp_path / ".set.part0").mkdir()
    with draft(tmp_path / "set") as folder:
        assert folder.name.startswith(".set.")
    assert os.listdir(tmp_path) == [".set.part0"]


@pytest.mark.parametrize(
    ("write", "counts", "needed", "what"),
    [
        (write_demo, {"unlabeled": 100, "train": 10, "test": 10}, "3,317,760", "the images"),
        (write_demo_speech, {"speakers": 3, "train": 2, "test": 1}, "1,008,000", "the utterances"),
    ],
)
def test_a_demo_is_refused_before_a_byte_is_written_if_it_would_not_fit(
    tmp_path, monkeypatch, write, counts, needed, what
):
    usage = namedtuple("usage", "free")(1000)
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage)
    with pytest.raises(DataError) as info:
        write(tmp_path / "set", seed=1, **counts)
    assert str(info.value) == (
        f"{tmp_path}/set: 1,000 bytes are free on this disk; expected {needed} for {what}; "
        "make room, or choose another folder"
    )
    assert list(tmp_path.iterdir()) == []
