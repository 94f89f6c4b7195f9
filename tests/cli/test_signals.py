"""Commands that are stopped or killed: they say so, and the same command goes on from there."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.commands import document, gimstage, options
from helpers.homes import bits, edit
from helpers.processes import wait_for


def start(home: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Start a command in a process of its own."""
    command = [sys.executable, "-m", "gimstage", *arguments, *map(str, options(home))]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, **pipes)


@pytest.fixture
def long(fresh: Path) -> Path:
    """A home whose first stage would train for hours."""
    edit(fresh, "1_*.toml", "steps = 12", "steps = 100000")
    return fresh


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_exits(long: Path, number: signal.Signals, code: int) -> None:
    process = start(long, "train-stage", "1")
    wait_for(long / "runs/tiny/1/checkpoint/metrics.jsonl", process)
    process.send_signal(number)
    _, stderr = process.communicate()
    assert process.returncode == code
    assert stderr.endswith("stopped; the same command goes on from here\n")
    assert (long / "runs/tiny/1/checkpoint/state.safetensors").exists()
    [stage, *_] = document("status", *options(long))["stages"]
    assert stage["state"] == "partial"
    assert stage["why"] == ["training interrupted; it continues from its checkpoint"]


def test_a_second_process_on_a_stage_is_refused(long: Path) -> None:
    process = start(long, "train-stage", "1")
    wait_for(long / "runs/tiny/1/checkpoint/metrics.jsonl", process)
    result = gimstage("train-stage", 1, *options(long))
    process.kill()
    process.communicate()
    assert result.exit_code == 1
    assert f"process {process.pid} on " in result.stderr


def test_killed_at_random_moments_a_run_ends_in_the_same_bits(fresh: Path, finished: Path) -> None:
    moments = random.Random(os.getpid())
    for _ in range(6):
        with start(fresh, "run", "--checkpoint-every", "0.001") as process:
            try:
                process.communicate(timeout=2 + 4 * moments.random())
            except subprocess.TimeoutExpired:
                process.kill()
    with start(fresh, "run") as process:
        assert process.wait() == 0
    assert bits(fresh) == bits(finished)
    assert not list((fresh / "runs/tiny").rglob("*.part"))


@pytest.mark.usefixtures("hangups")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_fit_of_a_classifier_hears_a_signal(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    def fit(*_: object) -> None:
        signal.raise_signal(number)
        raise AssertionError("it went on")

    monkeypatch.setattr("sklearn.linear_model.LogisticRegression.fit", fit)
    monkeypatch.setattr("gimstage.cli.base._received", [])
    result = gimstage("run", *options(fresh))
    assert result.exit_code == code
    assert result.stderr.endswith("stopped; the same command goes on from here\n")
    monkeypatch.undo()
    assert document("run", *options(fresh))["rows"]
