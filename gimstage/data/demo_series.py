"""Synthetic signals of eight channels, such as an EEG writes, for trying series without any data.

Subjects pass from state to state. A state is a rhythm of three sources, each a noisy oscillator of
a frequency and a strength of its own; a subject is how the sources reach the eight electrodes, and
a tempo, which scales every frequency. The gain of every electrode and its noise are drawn anew for
every recording, so no channel's strength alone tells who it is. The phase of a source wanders, so
what can be predicted for longer than a few tenths of a second is the state and the subject.

With the recipe that comes along, one seed, a linear classifier is right, in per cent: on states,
where chance is 15, 43 untrained and 59 after Greedy InfoMax from a row of the GRU; on subjects,
where chance is 10 and 60 recordings test, 83 and 92 from the mean of its rows. The second module
loses on subjects, 98 untrained and 93 trained.

    x.npy        (sample, time, channel) float32, in microvolts, at 250 Hz
    state.npy    (sample, time) uint8, the state at every row
    subject.npy  (sample,) whose recording it is
    split.npy    (sample,) "train" or "test"

Shapes: N recordings, n rows. Imports `errors` and its neighbours only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from gimstage.data.files import new_folder, require_room
from gimstage.data.listing import in_order
from gimstage.data.splits import Column, FrameLabels, Ints, SequenceSplit
from gimstage.draws import stream_seed
from gimstage.errors import DataError

SIGNALS = "x.npy"
RATE_HZ = 250
ROWS, CHANNELS = 16 * RATE_HZ, 8  # of a recording
STATES = 6

_SOURCES = 3
_STATE_S = (1.0, 4.0)  # how long one lasts
_HZ = (5.0, 30.0)  # between which the frequencies of sources lie
_WANDER = 0.2  # radians a row, of the phase of a source
_TEMPO = 0.25  # octaves, up or down
_GAIN = 0.35  # of an electrode, the standard deviation of its logarithm
_SIGNAL_UV, _NOISE_UV = 12.0, 6.0
_EASE_ROWS = 40  # in which one state passes into the next

Floats = NDArray[np.float32]


def recordings(subjects: int, train: int, test: int) -> tuple[Ints, NDArray[np.str_]]:
    """Whose every recording is, and of which split, both (N,), subject by subject."""
    own = np.array(["train"] * train + ["test"] * test)
    return np.repeat(np.arange(subjects, dtype=np.int64), train + test), np.tile(own, subjects)


def draw_states(seed: int, number: int) -> NDArray[np.uint8]:
    """The state at every row of a recording, (n,): never the same twice in a row."""
    rng = np.random.default_rng(stream_seed(seed, "states", number))
    states, state = np.zeros(ROWS, np.uint8), int(rng.integers(STATES))
    first = 0
    while first < ROWS:
        last = first + int(rng.uniform(*_STATE_S) * RATE_HZ)
        states[first:last] = state
        first, state = last, (state + 1 + int(rng.integers(STATES - 1))) % STATES
    return states


def write_demo_series(root: Path, *, seed: int, subjects: int, train: int, test: int) -> None:
    """Write a folder of synthetic signals; it appears whole or not at all.

    The same numbers give the same bytes.

    Args:
        root: the folder to make; it must not exist, or be empty.
        seed: the seed of every draw.
        subjects: how many, at least 1.
        train: recordings of each subject in that split, at least 1.
        test: recordings of each subject in that split, at least 1.

    Raises:
        DataError: the disk is too small, the folder holds something, or cannot be written.
    """
    whose, split = recordings(subjects, train, test)
    shape = (len(whose), ROWS, CHANNELS)
    require_room(root, 4 * int(np.prod(shape)), "the signals")
    with new_folder(root) as folder:
        signals = np.lib.format.open_memmap(folder / SIGNALS, "w+", np.float32, shape)
        states = np.stack([draw_states(seed, number) for number in range(len(whose))])
        for number, subject in enumerate(whose.tolist()):
            signals[number] = _signals(seed, number, subject, states[number])
        signals.flush()
        del signals
        np.save(folder / "state.npy", states)
        np.save(folder / "subject.npy", whose)
        np.save(folder / "split.npy", split)


def _signals(seed: int, number: int, subject: int, states: NDArray[np.uint8]) -> Floats:
    """The channels of a recording, (n, 8), in microvolts."""
    rng = np.random.default_rng(stream_seed(seed, "signals", number))
    mixing, tempo = _subject(seed, subject)
    hertz, strengths = _states(seed)
    hertz, strength = _eased(hertz[states]) * tempo, _eased(strengths[states])
    wander = np.cumsum(rng.standard_normal(hertz.shape), 0) * _WANDER  # of the phase
    phase = 2 * np.pi * np.cumsum(hertz, 0) / RATE_HZ + wander + rng.uniform(0, 6.3, _SOURCES)
    channels = (strength * np.sin(phase)) @ mixing * _SIGNAL_UV
    channels *= np.exp(_GAIN * rng.standard_normal(CHANNELS))
    channels += _NOISE_UV * np.exp(_GAIN * rng.standard_normal(CHANNELS)) * _pink(rng)
    signals: Floats = channels.astype(np.float32)
    return signals


def _subject(seed: int, subject: int) -> tuple[NDArray[Any], float]:
    """How sources reach the electrodes, (sources, channels) of unit rows, and the tempo."""
    rng = np.random.default_rng(stream_seed(seed, "subject", subject))
    mixing = rng.standard_normal((_SOURCES, CHANNELS))
    tempo = float(2 ** rng.uniform(-_TEMPO, _TEMPO))
    return mixing / np.linalg.norm(mixing, axis=1, keepdims=True) * np.sqrt(CHANNELS), tempo


def _states(seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The frequency in Hz and the strength of every source in every state, (states, sources)."""
    rng = np.random.default_rng(stream_seed(seed, "rhythms"))
    low, high = np.log2(_HZ)
    hertz = 2 ** rng.uniform(low, high, (STATES, _SOURCES))
    return hertz, rng.uniform(0.2, 1.0, (STATES, _SOURCES))


def _eased(values: NDArray[Any]) -> NDArray[Any]:
    """Values (n, sources) that jump from state to state, averaged over a short while."""
    before = np.pad(values, ((_EASE_ROWS, 0), (0, 0)), mode="edge").cumsum(0)
    eased: NDArray[Any] = (before[_EASE_ROWS:] - before[:-_EASE_ROWS]) / _EASE_ROWS
    return eased


def _pink(rng: np.random.Generator) -> NDArray[Any]:
    """Noise (n, 8) whose power falls with the frequency, of unit variance."""
    spectrum = np.fft.rfft(rng.standard_normal((ROWS, CHANNELS)), axis=0)
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 8))[:, None]
    noise = np.fft.irfft(spectrum, ROWS, axis=0)
    pink: NDArray[Any] = noise / noise.std(0)
    return pink


class PlannedSeries(SequenceSplit):
    """A split of signals that `write_demo_series` has still to write.

    Args:
        root: the folder they will be written to.
        name: "train" or "test".
        frame_rows: rows of a frame.
        demo: the arguments of `write_demo_series`.
    """

    channels = CHANNELS
    columns = ("subject",)

    def __init__(self, root: Path, name: str, *, frame_rows: int, **demo: int) -> None:
        self.root, self.name, self.frame_rows, self.seed = root, name, frame_rows, demo.pop("seed")
        self.subjects, split = recordings(**demo)
        self.numbers = np.flatnonzero(split == name)
        self.samples = np.full(len(self.numbers), ROWS, np.int64)

    def __len__(self) -> int:
        """The number of recordings there will be."""
        return len(self.numbers)

    @property
    def ids(self) -> Sequence[str]:
        """The numbers of the recordings, in words: "0"."""
        return list(map(str, self.numbers.tolist()))

    def read(self, index: int, start: int, out: NDArray[np.float32]) -> NoReturn:
        """Refuse: there are no signals yet."""
        found = "the data of this demo is not written yet"
        raise DataError(str(self.root), found, cure="any command that trains or probes writes it")

    def column(self, name: str) -> Column:
        """Whose every recording will be; raises as `Split.column`."""
        if name not in self.columns:
            raise self.no_column(name)
        classes = in_order(map(str, self.subjects.tolist()))
        return Column(name, classes, self.subjects[self.numbers])

    def interval_columns(self) -> Sequence[str]:
        """The one label of stretches: the state."""
        return ["state"]

    def frame_labels(self, name: str) -> FrameLabels:
        """The state in the middle of every frame; raises as `Split.frame_labels`."""
        if name not in self.interval_columns():
            raise self.no_intervals(name)
        step = self.frame_rows
        values = {
            index: draw_states(self.seed, number)[step // 2 :: step][: ROWS // step].astype(
                np.int64
            )
            for index, number in enumerate(self.numbers.tolist())
        }
        return FrameLabels(name, tuple(map(str, range(STATES))), values)
