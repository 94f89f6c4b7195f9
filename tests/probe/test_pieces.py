"""Long sequences go through the stack in pieces, and what is read of them stays the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.homes import CPU, at
from torch import Tensor
from torch.testing import assert_close

from gimstage.modules import Conv1dModule, GRUModule
from gimstage.probe import labels, pieces
from gimstage.probe.crops import mean_code
from gimstage.probe.mfcc import MFCC
from gimstage.probe.pieces import codes_of_frames, mean_mfccs, mfccs_of_frames
from gimstage.specs import MFCCSpec
from gimstage.stack import Stack, trained_stack

ROWS = 20  # in a frame


@pytest.fixture
def in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sequences of more than two frames are long, and pieces have three."""
    monkeypatch.setattr(pieces, "WHOLE_FRAMES", 2)
    monkeypatch.setattr(pieces, "PIECE_FRAMES", 3)


def conv(kernel: int, stride: int, padding: int, *, first: bool = False) -> Conv1dModule:
    how = {"kernel": kernel, "stride": stride, "padding": padding}
    return Conv1dModule(in_channels=1 if first else 4, channels=4, **how)


def small_stack() -> Stack:
    torch.manual_seed(1)
    gru = GRUModule(in_channels=4, channels=4, bptt=True)
    parts = [conv(10, 5, 2, first=True), conv(4, 2, 2), conv(4, 2, 1), gru]
    return Stack([part.double() for part in parts], ["x/1", "x/2", "x/3", "x/4"])


def wave(samples: int) -> Tensor:
    rng = torch.Generator().manual_seed(2)
    return torch.randn(1, samples, 1, generator=rng, dtype=torch.float64)


def codes(stack: Stack, samples: int) -> dict[str, Tensor]:
    x, stacks = wave(samples), {name: (stack,) for name in stack.names}
    read = lambda first, count: x[:, first : first + count]  # noqa: E731
    how: dict[str, Any] = {"samples": samples, "frame_rows": ROWS, "device": CPU}
    found = list(codes_of_frames(stacks, read, **how))
    assert sum(count for count, _ in found) == samples // ROWS
    return {name: torch.cat([part[name] for _, part in found]) for name in stack.names}


@pytest.mark.parametrize("frames", [3, 7, 12])
def test_codes_of_a_sequence_in_pieces_are_those_of_the_whole(
    frames: int, request: pytest.FixtureRequest
) -> None:
    stack = small_stack()
    whole = codes(stack, frames * ROWS + 7)
    request.getfixturevalue("in_pieces")
    for name, found in codes(stack, frames * ROWS + 7).items():
        assert found.shape == (frames, 4)
        assert_close(found, whole[name], rtol=1e-5, atol=1e-6)


def test_a_module_of_fewer_rows_than_frames_gives_the_last_again(
    request: pytest.FixtureRequest,
) -> None:
    stack = Stack([conv(70, ROWS, 0, first=True).double()], ["x/1"])
    whole = codes(stack, 10 * ROWS)
    request.getfixturevalue("in_pieces")
    assert_close(codes(stack, 10 * ROWS), whole)


def test_mfccs_in_pieces_are_those_of_the_whole(request: pytest.FixtureRequest) -> None:
    mfcc = MFCC(
        MFCCSpec(coefficients=5, mel_bands=8, window_samples=400, delta_frames=5),
        rate_hz=16_000,
        frame_rows=160,
    )
    x = wave(20 * 160 + 300).float()
    read = lambda first, count: x[:, first : first + count]  # noqa: E731
    how = {"samples": x.shape[1], "frame_rows": 160}
    whole, mean = mfcc(x[..., 0])[0], mean_mfccs(mfcc, read, **how)
    request.getfixturevalue("in_pieces")
    parts = [mfccs_of_frames(mfcc, read, np.arange(n, n + 3), **how) for n in (0, 7, 17)]
    assert_close(torch.cat(parts), whole[[0, 1, 2, 7, 8, 9, 17, 18, 19]], rtol=1e-4, atol=1e-3)
    assert_close(mean_mfccs(mfcc, read, **how), mean, rtol=1e-4, atol=1e-3)


def test_a_phone_probe_of_long_utterances_tells_as_much(
    finished_speech: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = at(finished_speech)
    stack = {"tiny_audio/2": (trained_stack(pipeline.runs, pipeline.recipe.chain(2)),)}
    probe = pipeline._probe("probe_phone").open()
    probe.mfcc = None
    probe.spec = probe.spec.model_copy(
        update={"paper": probe.spec.paper.model_copy(update={"epochs": 1})}
    )
    probe.labels = {role: dict(list(own.items())[:3]) for role, own in probe.labels.items()}
    probe.frames = {role: probe._held(own.values()) for role, own in probe.labels.items()}
    whole = probe.rows("tiny_audio", "p", stack)
    monkeypatch.setattr(pieces, "WHOLE_FRAMES", 100)
    monkeypatch.setattr(pieces, "PIECE_FRAMES", 60)
    stretches = list(probe._stretches("train", stack))
    assert [each.number for each in stretches if each.ends] == [0, 1, 2]
    assert len(stretches) > 6
    for found, wanted in zip(probe.rows("tiny_audio", "p", stack), whole, strict=True):
        assert found["accuracy"] == pytest.approx(wanted["accuracy"], abs=0.01)


def test_mean_codes_of_long_crops_are_those_of_the_whole(
    finished_speech: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = at(finished_speech)
    stacks = {"tiny_audio/6": (trained_stack(pipeline.runs, pipeline.recipe.chain(6)),)}
    probe = pipeline._probe("probe_speaker").open()
    probe.kept = {role: own[:3] for role, own in probe.kept.items()}
    protocol = probe.spec.converged
    whole = probe.read("train", protocol, stacks, reading=mean_code)
    monkeypatch.setattr(pieces, "WHOLE_FRAMES", 40)
    monkeypatch.setattr(pieces, "PIECE_FRAMES", 30)
    monkeypatch.setattr(labels, "PIECE_FRAMES", 30)
    long = probe.read("train", protocol, stacks, reading=mean_code)
    assert set(long) == set(whole) == {"tiny_audio/6", "mfcc"}
    for name, found in long.items():
        np.testing.assert_allclose(found, whole[name], rtol=1e-3, atol=2e-3)
