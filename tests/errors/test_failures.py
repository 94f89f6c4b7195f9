"""Errors of the system, told by their numbers: the file, the work, what to do."""

import errno
import os
import re
from pathlib import Path

import pytest

from gimstage.errors.failures import told, working_on
from gimstage.files import naming, write_json

AGAIN = "then run the same command again"
KEPT = "nothing written is lost"


def failure(number: int, path: Path | None = None) -> OSError:
    error = OSError(number, os.strerror(number))
    if path is not None:
        error.filename = str(path)
    return error


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.EACCES, f"{KEPT}: see who may read and write there, {AGAIN}"),
        (errno.EPERM, f"{KEPT}: see who may read and write there, {AGAIN}"),
        (errno.EROFS, "what lies there can be read only: name a folder elsewhere"),
        (
            errno.EIO,
            f"the disk fails: see that it is well, or go on with a copy elsewhere, {AGAIN}",
        ),
        (errno.EMFILE, f"{KEPT}: run `ulimit -n 4096`, {AGAIN}"),
        (errno.ELOOP, f"{KEPT}: see what the system has to say of it, {AGAIN}"),
    ],
)
def test_every_number_has_its_own_cure(tmp_path: Path, number: int, cure: str) -> None:
    path = tmp_path / "x"
    assert told(failure(number, path), "runs") == f"{path}: {os.strerror(number)}; {cure}"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_says_how_much_is_free(tmp_path: Path, number: int) -> None:
    message = told(failure(number, tmp_path / "not/there"), "runs")
    start = f"{tmp_path}/not/there: {os.strerror(number)}; {KEPT}: make room "
    assert re.fullmatch(rf"{re.escape(start)}\([\d,]+ bytes are free\), {AGAIN}", message)


def test_a_folder_in_the_place_of_a_file_is_moved_away(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.mkdir()
    with pytest.raises(OSError, match="Is a directory") as caught:
        write_json(path, {})
    assert told(caught.value, "runs").endswith(
        f"Is a directory; {KEPT}: a folder is in the way: run `mv {path} {path}.aside`, {AGAIN}"
    )


def test_a_file_in_the_place_of_a_folder_is_moved_away(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("x")
    with pytest.raises(OSError, match="Not a directory") as caught:
        (tmp_path / "runs/demo/1").mkdir()
    assert told(caught.value, "runs") == (
        f"{tmp_path}/runs/demo/1: Not a directory; {KEPT}: a file is in the way: run "
        f"`mv {tmp_path}/runs {tmp_path}/runs.aside`, {AGAIN}"
    )


def test_a_link_that_leads_nowhere_is_moved_away(tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to("nowhere")
    with pytest.raises(OSError, match="File exists") as caught:
        (tmp_path / "runs").mkdir(exist_ok=True)
    assert told(caught.value, "runs") == (
        f"{tmp_path}/runs: File exists; {KEPT}: a link is in the way: run "
        f"`mv {tmp_path}/runs {tmp_path}/runs.aside`, {AGAIN}"
    )


def test_a_folder_that_is_not_there_is_to_be_made(tmp_path: Path) -> None:
    path = tmp_path / "nonexist/x.png"
    with pytest.raises(FileNotFoundError) as caught:
        path.write_text("x")
    assert told(caught.value, "runs") == (
        f"{path}: No such file or directory; there is no such folder: "
        f"run `mkdir -p {tmp_path}/nonexist`, {AGAIN}"
    )


def test_what_was_worked_on_and_written_is_named() -> None:
    with (
        pytest.raises(OSError, match="No space left") as caught,
        working_on("stage demo/1"),
        naming(Path("runs/demo/1/metrics.jsonl")),
    ):
        raise failure(errno.ENOSPC)
    start = "stage demo/1, runs/demo/1/metrics.jsonl: No space left on device; "
    assert told(caught.value, "runs").startswith(start)


def test_a_file_that_is_named_already_keeps_its_name() -> None:
    with pytest.raises(OSError, match="No space left") as caught, naming(Path("outer")):
        raise failure(errno.ENOSPC, Path("inner"))
    assert caught.value.filename == "inner"
