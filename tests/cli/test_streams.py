"""Commands on streams as they are: of few letters, full, closed, left by their reader."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.commands import options
from helpers.homes import edit

from gimstage.session.streams import READABLE, Tolerant

KEPT = "what was computed is kept: run the same command again, to a stream that can be"


def run(*arguments: object, **settings: Any) -> "subprocess.CompletedProcess[bytes]":
    """A command in a process of its own, on pipes unless other streams are given."""
    command = [sys.executable, "-m", "gimstage", *map(str, arguments)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | settings
    environment = os.environ | streams.pop("env", {})
    return subprocess.run(command, env=environment, check=False, **streams)


def in_shell(line: str, *arguments: object) -> "subprocess.CompletedProcess[bytes]":
    """A command whose streams a line of the shell decides, "$@" being the command itself."""
    command = [sys.executable, "-m", "gimstage", *map(str, arguments)]
    return subprocess.run(["sh", "-c", line, "sh", *command], capture_output=True, check=False)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_a_result_is_never_lost_because_of_a_character(fresh: Path, encoding: str) -> None:
    result = run("train-stage", 1, *options(fresh), env={"PYTHONIOENCODING": encoding})
    assert result.returncode == 0
    assert b" -> " in result.stdout
    result = run("status", *options(fresh), "--json", env={"PYTHONIOENCODING": encoding})
    assert (result.returncode, result.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("text", "written"),
    [("a → b × c", b"a -> b x c"), ("é", b"\\xe9"), ("\udcff", b"\\udcff"), ("ok", b"ok")],
)
def test_what_an_encoding_lacks_stays_readable(text: str, written: bytes) -> None:
    assert text.encode("ascii", READABLE) == written


def test_a_path_may_look_like_markup_and_is_shown_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "a[" / "b]:star:[red]c"
    result = run("data", "demo", folder, "--unlabeled", 2, "--train", 10, "--test", 10)
    assert result.returncode == 0
    assert result.stdout.decode() == f"synthetic images are in {folder}\n"


@pytest.mark.parametrize("variable", ["FORCE_COLOR", "TTY_COMPATIBLE"])
def test_no_progress_rows_go_into_a_file(fresh: Path, variable: str) -> None:
    result = run("train-stage", 1, *options(fresh), env={variable: "1"})
    assert result.returncode == 0
    assert b"\x1b[2K" not in result.stderr
    assert len(result.stderr.splitlines()) <= 3  # train, encode


@pytest.mark.parametrize("words", [["status"], ["status", "--json"], ["--help"]])
@pytest.mark.parametrize("line", ['"$@" > /dev/full', '"$@" >&-'])
def test_a_stdout_that_takes_nothing_is_said_on_stderr(
    fresh: Path, words: list[str], line: str
) -> None:
    result = in_shell(line, *words, *(options(fresh) if words != ["--help"] else []))
    assert (result.returncode, result.stdout) == (1, b"")
    said = result.stderr.decode()
    assert said.count("\n") == 1
    assert "it cannot be written (" in said
    assert "Traceback" not in said


def test_what_is_wrong_is_said_on_stdout_where_stderr_is_closed(tmp_path: Path) -> None:
    result = in_shell('"$@" 2>&-', "report", "--runs", tmp_path)
    assert (result.returncode, result.stderr) == (1, b"")
    assert result.stdout.startswith(b"error ")


def test_work_goes_on_where_its_progress_cannot_be_shown(fresh: Path) -> None:
    for line in ('"$@" 2>&-', '"$@" 2>/dev/full'):
        result = in_shell(line, "train-stage", 1, *options(fresh))
        assert (result.returncode, result.stderr) == (0, b"")


def test_a_reader_that_went_away_is_no_error(fresh: Path) -> None:
    for words in (["status"], ["status", "--json"]):
        line = '{ "$@"; echo $? >&2; } | true'
        assert in_shell(line, *words, *options(fresh)).stderr == b"0\n"


def test_what_a_stream_does_not_take_is_lost_in_peace() -> None:
    with open("/dev/full", "w") as full:
        stream = Tolerant(full)
        assert stream.write("progress") == 8
        stream.flush()
        assert stream.isatty() is False


@pytest.mark.usefixtures("hangups")
def test_a_closed_terminal_saves_and_exits(fresh: Path) -> None:
    edit(fresh, "1_*.toml", "steps = 12", "steps = 100000")
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "gimstage", "train-stage", "1"]
    command += ["--checkpoint-every", "0.001", *map(str, options(fresh))]
    process = subprocess.Popen(command, stdout=child, stderr=child, start_new_session=True)
    os.close(child)
    while b"steps" not in os.read(parent, 1 << 16):
        assert process.poll() is None
    os.close(parent)
    process.send_signal(signal.SIGHUP)
    assert process.wait() == 129
    assert (fresh / "runs/tiny/1/checkpoint/state.safetensors").exists()


def test_what_saves_nothing_is_stopped_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gimstage", "data", "demo", str(tmp_path / "d")]
    process = subprocess.Popen([*command, "--unlabeled", "100000"], stderr=subprocess.PIPE)
    while not list(tmp_path.rglob("test_X.bin")):
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate()
    assert (process.returncode, list(tmp_path.iterdir())) == (143, [])
    assert stderr == b"stopped; the same command begins anew\n"
