"""Checkpoints that lost bits: the one before is gone on from, or the start, to the same bits."""

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.homes import at, bits, states, why
from safetensors.torch import save_file

from gimstage.errors import CheckpointError
from gimstage.progress import Interrupted, Progress, Watch
from gimstage.runs.folder import RunFolder
from gimstage.runs.tensors import read_header, read_tensors
from gimstage.train import checkpoints
from gimstage.train.checkpoints import Checkpoints

STAGE = "runs/tiny/2"


class StopAtStep7(Watch):
    """A watch that hears of every step and asks to stop after the seventh of a training."""

    def __init__(self) -> None:
        super().__init__(report=self.hear)

    def due(self) -> bool:
        return True

    def hear(self, progress: Progress) -> None:
        if (progress.unit, progress.done) == ("steps", 7):
            self.stop.set()


@pytest.fixture(scope="module")
def stopped(finished_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose second stage was stopped after step 7, with checkpoints of steps 6 and 7."""
    home = Path(shutil.copytree(finished_images, tmp_path_factory.mktemp("stopped") / "home"))
    shutil.rmtree(home / STAGE)
    with pytest.raises(Interrupted):
        at(home, StopAtStep7(), checkpoint_every_s=0.0).train_stage(2)
    return home


@pytest.fixture
def home(stopped: Path, tmp_path: Path) -> Path:
    """A copy of it, which may be changed."""
    return Path(shutil.copytree(stopped, tmp_path / "home"))


def by_step(home: Path) -> list[Path]:
    """The checkpoints, the last first."""
    paths = RunFolder(home / STAGE).training.states
    return sorted(paths, key=lambda path: -(read_header(path) or {"step": 0})["step"])


def losses(home: Path) -> list[dict[str, Any]]:
    """What metrics.jsonl says of the second stage, but for times."""
    lines = map(json.loads, (home / STAGE / "metrics.jsonl").read_text().splitlines())
    clocks = ("samples_per_s", "waiting_share", "seconds")
    return [{k: v for k, v in line.items() if k not in clocks} for line in lines]


def flip(path: Path, seed: int) -> None:
    """Flip a bit of a file, chosen by a seed."""
    content = bytearray(path.read_bytes())
    place = random.Random(seed).randrange(8 * len(content))
    content[place // 8] ^= 1 << place % 8
    path.write_bytes(content)


def goes_on_to_the_same_bits(home: Path, finished: Path) -> bool:
    at(home).train_stage(2)
    return bits(home) == bits(finished) and losses(home) == losses(finished)


def aside(path: Path, reason: str, then: str) -> str:
    return f"{path}: {reason}; set aside as {path.name}.damaged, training {then}"


def test_the_last_two_checkpoints_are_kept(home: Path, finished: Path) -> None:
    assert [(read_header(path) or {})["step"] for path in by_step(home)] == [7, 6]
    assert goes_on_to_the_same_bits(home, finished)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("which", [[0], [1], [0, 1]], ids=["last", "before", "both"])
def test_a_flipped_bit_changes_no_number(
    home: Path, finished: Path, which: list[int], seed: int
) -> None:
    paths = by_step(home)
    for number in which:
        flip(paths[number], seed=100 * seed + number)
    flip(home / STAGE / "checkpoint/metrics.jsonl", seed)
    assert states(home)[1] == "partial"
    assert goes_on_to_the_same_bits(home, finished)


def test_of_a_damaged_last_one_and_of_two_it_is_said_from_where_training_goes_on(
    home: Path, finished: Path, caplog: pytest.LogCaptureFixture
) -> None:
    last, before = by_step(home)
    last.write_bytes(last.read_bytes()[:-1] + b"\x55")
    other = Path(shutil.copytree(home, home.parent / "other"))
    assert goes_on_to_the_same_bits(home, finished)
    assert caplog.messages == [aside(last, "other bytes than were written", "goes on from step 6")]
    caplog.clear()
    last, before = (other / path.relative_to(home) for path in (last, before))
    before.write_bytes(before.read_bytes()[:-1] + b"\x55")
    assert goes_on_to_the_same_bits(other, finished)
    assert sorted(caplog.messages) == sorted(
        aside(path, "other bytes than were written", "starts anew") for path in (last, before)
    )


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def made_a_folder(path: Path) -> None:
    path.unlink()
    (path / "x").mkdir(parents=True)


def made_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def of_an_earlier_release(path: Path) -> None:
    stored = read_tensors(path)
    save_file(stored.tensors, path, metadata={"gimstage": json.dumps(stored.header)})


def nested(path: Path) -> None:
    facts = b'{"__metadata__": {"gimstage": "' + b"[" * 100_000 + b'"}}'
    path.write_bytes(len(facts).to_bytes(8, "little") + facts)


BREAKS = [emptied, made_a_folder, made_a_pipe, of_an_earlier_release, nested]


@pytest.mark.parametrize("damage", BREAKS)
def test_a_checkpoint_broken_in_any_way_is_set_aside(
    home: Path,
    finished: Path,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], None],
) -> None:
    for path in by_step(home):
        damage(path)
    assert states(home)[1] == "partial"
    assert goes_on_to_the_same_bits(home, finished)
    assert len(caplog.messages) == 2
    assert all(message.endswith("training starts anew") for message in caplog.messages)


def test_status_does_not_promise_to_go_on_from_what_cannot_be_read(home: Path) -> None:
    last, before = by_step(home)
    emptied(last)
    assert why(home, 2) == ("training interrupted; it continues from its checkpoint",)
    emptied(before)
    assert why(home, 2) == ("begun, but nothing to go on from; it starts anew",)


def test_a_checkpoint_that_does_not_fit_the_stage_is_set_aside(tmp_path: Path) -> None:
    kept = Checkpoints(RunFolder(tmp_path), "f" * 64)
    kept.save({"a": torch.ones(2)}, step=1, metrics={})
    kept.save({"a": torch.zeros(2)}, step=2, metrics={})
    stored = kept.newest(lambda stored: bool(stored.tensors["a"].any()))
    assert stored is not None
    assert stored.header["step"] == 1


def test_a_checkpoint_of_another_training_is_passed_over(tmp_path: Path) -> None:
    Checkpoints(RunFolder(tmp_path), "a" * 64).save({}, step=5, metrics={})
    assert Checkpoints(RunFolder(tmp_path), "b" * 64).newest(lambda stored: True) is None
    assert Checkpoints(RunFolder(tmp_path), "a" * 64).newest(lambda stored: True) is not None


def test_what_a_killed_process_had_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".tmp2OziLT").write_bytes(b"half")
    assert Checkpoints(RunFolder(tmp_path), "a" * 64).newest(lambda stored: True) is None
    assert not list(tmp_path.iterdir())


def test_the_one_before_the_last_stays_until_the_next_is_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Checkpoints(RunFolder(tmp_path), "f" * 64)
    for step in (1, 2):
        kept.save({"a": torch.ones(2)}, step=step, metrics={})

    def full(path: Path, *_: object) -> None:
        path.with_name(path.name + ".part").write_bytes(b"cut")
        raise CheckpointError(str(path), "cannot be written")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "save_tensors", full)
        with pytest.raises(CheckpointError):
            kept.save({"a": torch.ones(2)}, step=3, metrics={})
    headers = [read_header(path) or {} for path in RunFolder(tmp_path).states]
    assert [header["step"] for header in headers] == [1, 2]
    again = Checkpoints(RunFolder(tmp_path), "f" * 64)
    assert again.newest(lambda stored: True) is not None
    again.save({"a": torch.ones(2)}, step=3, metrics={})
    headers = [read_header(path) or {} for path in RunFolder(tmp_path).states]
    assert [header["step"] for header in headers] == [3, 2]
