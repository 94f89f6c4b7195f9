"""Codes of sequences of any length, in constant memory: long ones go through the stack in pieces.

    sequence ─► piece ─► frozen stack, which keeps what the next piece needs ─► codes of frames

A sequence of up to `WHOLE_FRAMES` is encoded in one piece, as it always was. The codes of a longer
one are those of the whole to float32's rounding, for kernels may add in another order.

Shape letters: T rows in time, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from gimstage.data.splits import SequenceSplit
from gimstage.modality import samples_per_row
from gimstage.modules import Piecewise
from gimstage.probe.base import Stacks, every_stack
from gimstage.probe.mfcc import MFCC
from gimstage.specs import SequenceDataSpec
from gimstage.stack import Stack
from gimstage.views import Ints

WHOLE_FRAMES = 4000  # 40 s; an utterance of LibriSpeech has 35 at most
PIECE_FRAMES = 400  # 4 s; the first module's output of a piece takes 26 MB at full width

Read = Callable[[int, int], Tensor]  # first row, rows ─► normalised rows (1, T, C), on the CPU
Codes = dict[str, Tensor]


def reader(split: SequenceSplit, index: int, spec: SequenceDataSpec, start: int = 0) -> Read:
    """What reads a sequence of a split from a row on, normalised."""

    def read(first: int, count: int) -> Tensor:
        rows = np.empty((count, split.channels), np.float32)
        split.read(index, start + first, rows)
        spec.normalise(rows)
        return torch.from_numpy(rows)[None]

    return read


def codes_of_frames(
    stacks: Stacks, read: Read, *, samples: int, frame_rows: int, device: torch.device
) -> Iterator[tuple[int, Codes]]:
    """Codes (n, C) of every frame of a sequence by input, on the CPU: n of them at a time.

    Args:
        stacks: what is probed.
        read: gives rows of the sequence.
        samples: rows of the sequence.
        frame_rows: rows in a frame.
        device: where to compute.
    """
    every, frames = every_stack(stacks), samples // frame_rows
    if not every:
        yield frames, {}
        return
    if frames <= WHOLE_FRAMES:
        wave = read(0, frames * frame_rows).to(device)
        found = {
            prefix + name: codes.cpu()
            for prefix, stack, asked in every
            for name, codes in frame_codes(stack, wave, frame_rows).items()
            if name in asked
        }
        yield frames, found
        return
    walks = [(prefix, _Frames(stack, frames, frame_rows), asked) for prefix, stack, asked in every]
    waiting: Codes = {}
    for at, count in _pieces(frames):
        x = read(at * frame_rows, count * frame_rows).to(device)
        for prefix, walk, asked in walks:
            for name, codes in walk(x, last=at + count == frames).items():
                if name in asked:
                    waiting[prefix + name] = _joined(waiting.get(prefix + name), codes.cpu())
        ready = min(map(len, waiting.values()))
        yield ready, {name: codes[:ready] for name, codes in waiting.items()}
        waiting = {name: codes[ready:] for name, codes in waiting.items()}


def mean_codes(
    stacks: Stacks, read: Read, *, frames: int, frame_rows: int, device: torch.device
) -> Codes:
    """The mean (C,) of all rows of a long crop by input, on the CPU; arguments as above."""
    found: Codes = {}
    for prefix, stack, asked in every_stack(stacks):
        walk = Piecewise(stack.parts)
        sums, rows = dict.fromkeys(asked, torch.zeros(())), dict.fromkeys(asked, 0)
        for at, count in _pieces(frames):
            x = read(at * frame_rows, count * frame_rows).to(device)
            made = walk(x, last=at + count == frames)
            for name, codes in zip(stack.names, made, strict=True):
                if name in asked:
                    sums[name] = sums[name] + codes[0].sum(0, dtype=torch.float64).cpu()
                    rows[name] += codes.shape[1]
        found |= {prefix + name: (sums[name] / rows[name]).float() for name in asked}
    return found


def mfccs_of_frames(
    mfcc: MFCC, read: Read, frames: Ints, *, samples: int, frame_rows: int
) -> Tensor:
    """MFCCs (n, C) of some frames, (n,) ascending, of a sequence of so many samples.

    Of a long one the frames between the first and the last are read with a margin, so that their
    differences are those of the whole; the loudest of them, 80 dB below which all is floored, is
    their own.
    """
    begin, end = 0, samples
    if samples // frame_rows > WHOLE_FRAMES:
        last = (samples - mfcc.window_samples) // frame_rows
        begin = max(0, min(int(frames[0]) - mfcc.margin, last))
        end = min((int(frames[-1]) + mfcc.margin) * frame_rows + mfcc.window_samples, samples)
    rows = begin * frame_rows
    vectors = mfcc(read(rows, end - rows)[..., 0])[0]
    return of_length(vectors, int(frames[-1]) + 1 - begin)[frames - begin]


def mean_mfccs(mfcc: MFCC, read: Read, *, samples: int, frame_rows: int) -> Tensor:
    """The mean (C,) of the MFCCs of all frames of a crop, in pieces as above where it is long."""
    count = max(1, (samples - mfcc.window_samples) // frame_rows + 1)
    size, total = count if count <= WHOLE_FRAMES else PIECE_FRAMES, torch.zeros(())
    for at in range(0, count, size):
        frames = np.arange(at, min(at + size, count))
        vectors = mfccs_of_frames(mfcc, read, frames, samples=samples, frame_rows=frame_rows)
        total = total + vectors.sum(0, dtype=torch.float64)
    return (total / count).float()


def frame_codes(stack: Stack, wave: Tensor, frame_rows: int) -> Codes:
    """Every module's codes of a sequence (1, T, C), averaged over each frame, (frames, C')."""
    frames = wave.shape[1] // frame_rows
    rows = stack.codes(wave[:, : frames * frame_rows])
    means = {}
    for number, name in enumerate(stack.names, start=1):
        per_frame = frame_rows // samples_per_row(stack.parts[:number])
        whole = of_length(rows[name][0], frames * per_frame)
        means[name] = whole.unflatten(0, (frames, per_frame)).mean(1)
    return means


def of_length(rows: Tensor, count: int) -> Tensor:
    """The first `count` rows (T, C); where there are a few less, the last one again."""
    missing = max(0, count - len(rows))
    return torch.cat([rows, rows[-1:].expand(missing, -1)])[:count]


class _Frames:
    """What `frame_codes` gives of a sequence, as its pieces come."""

    def __init__(self, stack: Stack, frames: int, frame_rows: int) -> None:
        self.walk, self.names = Piecewise(stack.parts), stack.names
        parts = [stack.parts[:number] for number in range(1, len(stack.parts) + 1)]
        self.per_frame = [frame_rows // samples_per_row(row) for row in parts]
        self.missing = [frames * count for count in self.per_frame]  # rows that are still to come
        self.left: list[Tensor | None] = [None] * len(parts)
        self.final = [torch.zeros(0)] * len(parts)  # the last row of each there was

    def __call__(self, x: Tensor, *, last: bool) -> Codes:
        """Codes (n, C') of the frames of every module that are whole by now."""
        means = {}
        for number, made in enumerate(self.walk(x, last=last)):
            per_frame, missing = self.per_frame[number], self.missing[number]
            rows = _joined(self.left[number], made[0].float())
            if last and not len(rows):  # what is missing is the very last row again
                rows = self.final[number]
            rows = of_length(rows, missing) if last else rows[:missing]
            whole = len(rows) // per_frame * per_frame
            means[self.names[number]] = rows[:whole].unflatten(0, (-1, per_frame)).mean(1)
            self.left[number], self.missing[number] = rows[whole:], missing - whole
            if len(rows):
                self.final[number] = rows[-1:]
        return means


def _joined(before: Tensor | None, rows: Tensor) -> Tensor:
    return rows if before is None else torch.cat([before, rows])


def _pieces(frames: int) -> Iterator[tuple[int, int]]:
    """The first frame and the frames of every piece."""
    for at in range(0, frames, PIECE_FRAMES):
        yield at, min(PIECE_FRAMES, frames - at)
