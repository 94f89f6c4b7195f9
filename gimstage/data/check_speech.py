"""Looking at a folder in LibriSpeech's layout before training on it: counts, lengths, a sheet.

Reads through `librispeech` and decodes every file once, so everything that would stop training
stops the check. Imports `errors` and its neighbours only; matplotlib and torch when a sheet is
drawn. Shapes: n samples, f frequencies, t frames of 10 ms, L labels.
"""

import os
from collections import Counter
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gimstage.data.kinds import by_folder
from gimstage.data.librispeech import FRAME_SAMPLES, SpeechSplit, open_split
from gimstage.data.lists import SPLITS
from gimstage.data.spectrogram import WINDOW_SAMPLES, spectrogram
from gimstage.data.utterances import SAMPLE_RATE_HZ
from gimstage.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMED = 5  # ids of utterances that are too short, so many per split
SHOWN_S = 6  # of each utterance in the sheet

_FLOOR_DB = -60
_WIDTH_PX, _ROW_PX, _STRIP_PX = 1400, 150, 22
_LEFT_PX, _RIGHT_PX, _GAP_PX, _FOOT_PX = 60, 20, 34, 46
_DPI = 100
_NUMBER_S = 0.055  # a phone shorter than this has no room for its number


@dataclass(frozen=True)
class SpeechSplitReport:
    """What one split holds.

    Args:
        name: "train" or "test".
        speakers: how many have an utterance in it.
        utterances: how many.
        minutes: the minutes of sound.
        shortest_s: length of the shortest utterance in seconds.
        longest_s: length of the longest utterance in seconds.
        too_short: utterances with fewer whole frames of 10 ms than asked for.
        too_short_first: the ids of the first few.
        phone_labelled: utterances that have phone labels.
        label_coverage: their share, 0 to 1.
        rates: files per sampling rate in Hz.
        silent: utterances whose samples are all the same.
    """

    name: str
    speakers: int
    utterances: int
    minutes: float
    shortest_s: float
    longest_s: float
    too_short: int
    too_short_first: tuple[str, ...]
    phone_labelled: int
    label_coverage: float
    rates: dict[str, int]
    silent: int


@dataclass(frozen=True)
class SpeechReport:
    """What a folder in LibriSpeech's layout holds.

    Args:
        root: the folder.
        shortest_frames: how many frames of 10 ms an utterance must have not to be too short.
        speakers: the speakers of both splits.
        unseen: the speakers of test that train does not have.
        listed: whether the folder has split lists; without them the split is made by hash.
        unlisted: audio files in neither split.
        splits: train and test.
        taken: audio files per folder of speakers.
        left: files of sound that are not read, per folder and reason.
        notes: what is remarkable of the files, a line each.
    """

    root: str
    shortest_frames: int
    speakers: int
    unseen: tuple[str, ...]
    listed: bool
    unlisted: int
    splits: tuple[SpeechSplitReport, ...]
    taken: dict[str, int]
    left: dict[str, dict[str, int]]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The report as a dictionary that `json.dumps` takes."""
        return asdict(self)


def check_speech(root: Path, *, shortest_frames: int) -> SpeechReport:
    """Open both splits, decode every file, read every phone label and count what is there.

    Args:
        root: a folder in LibriSpeech's layout.
        shortest_frames: whole frames of 10 ms below which an utterance counts as too short.

    Raises:
        DataError: whatever `open_split`, `SpeechSplit.read` and `SpeechSplit.phones_if_any` raise,
            for the first split concerned.
    """
    train, test = splits = [open_split(root, name) for name in SPLITS]
    return SpeechReport(
        root=str(root),
        shortest_frames=shortest_frames,
        speakers=train.num_speakers,
        unseen=tuple(test.speakers[i] for i in sorted({*test.labels} - {*train.labels})),
        listed=train.listed,
        unlisted=train.unlisted,
        splits=tuple(_report(split, shortest_frames) for split in splits),
        taken=dict(train.tree.taken),
        left=by_folder(train.tree.left),
        notes=(*train.tree.notes(), *train.phone_notes()),
    )


def waveform_sheet(root: Path, png_path: Path, *, rows: int) -> None:
    """Draw utterances of the train split as a PNG, each of another speaker.

    A row is the spectrogram of the first seconds, 0 to 8 kHz, bright where it is loud; below it, if
    the utterance has them, its phone labels, silence (0) white. Speakers with phone labels come
    first.

    Args:
        root: a folder in LibriSpeech's layout.
        png_path: the file to write; an existing one is replaced.
        rows: how many utterances at most, at least 1.

    Raises:
        DataError: the split cannot be opened, a file not be read, or the picture not be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    train = open_split(root, SPLITS[0])
    phones = train.phones_if_any()
    chosen = _choose(train, phones, rows)
    height = _FOOT_PX + sum(_GAP_PX + _ROW_PX + _STRIP_PX * (index in phones) for index in chosen)
    figure = Figure(figsize=(_WIDTH_PX / _DPI, height / _DPI), dpi=_DPI)
    FigureCanvasAgg(figure)
    width = 1 - (_LEFT_PX + _RIGHT_PX) / _WIDTH_PX
    seconds = min(SHOWN_S, train.samples[chosen].max() / SAMPLE_RATE_HZ)

    def place(bottom_px: int, height_px: int) -> "Axes":
        box = _LEFT_PX / _WIDTH_PX, bottom_px / height, width, height_px / height
        axes = figure.add_axes(box, xlim=(0, seconds))
        axes.tick_params(labelbottom=bottom_px == _FOOT_PX)
        return axes

    bottom = height
    for index in chosen:
        bottom -= _GAP_PX + _ROW_PX
        lowest = place(bottom, _ROW_PX)
        _draw_sound(lowest, train, index)
        if index in phones:
            bottom -= _STRIP_PX
            lowest = place(bottom, _STRIP_PX)
            _draw_phones(lowest, phones[index])
    lowest.set_xlabel("seconds")
    try:
        figure.savefig(png_path, format="png")
    except OSError as error:
        found = f"it cannot be written ({error.strerror})"
        raise DataError(str(png_path), found, cure="choose another place") from error


def _report(split: SpeechSplit, shortest_frames: int) -> SpeechSplitReport:
    labelled = len(split.phones_if_any())
    silent = _decode_all(split)
    short = np.flatnonzero(split.samples // FRAME_SAMPLES < shortest_frames)
    seconds = split.samples / SAMPLE_RATE_HZ
    rates = Counter(utterance.rate_hz for utterance in split.utterances)
    return SpeechSplitReport(
        name=split.name,
        speakers=len(np.unique(split.labels)),
        utterances=len(split),
        minutes=float(seconds.sum()) / 60,
        shortest_s=float(seconds.min()),
        longest_s=float(seconds.max()),
        too_short=len(short),
        too_short_first=tuple(split.utterances[index].id for index in short[:NAMED]),
        phone_labelled=labelled,
        label_coverage=labelled / len(split),
        rates={str(rate): rates[rate] for rate in sorted(rates)},
        silent=silent,
    )


def _decode_all(split: SpeechSplit) -> int:
    """Read every file to its end; how many are silent.

    Decoding lets go of the interpreter, so threads share it.
    """
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return sum(threads.map(lambda i: all([*split.silence(i)]), range(len(split))))


def _choose(split: SpeechSplit, labelled: Collection[int], rows: int) -> list[int]:
    """At most `rows` utterances of different speakers, those with phone labels before others."""
    first: dict[int, int] = {}
    for index in [*labelled, *range(len(split))]:
        first.setdefault(int(split.labels[index]), index)
    with_labels = [index for index in first.values() if index in labelled]
    without = [index for index in first.values() if index not in labelled]
    chosen = _spread(with_labels, rows)
    return chosen + _spread(without, rows - len(chosen))


def _spread(values: list[int], wanted: int) -> list[int]:
    """At most `wanted` of the values, evenly spaced."""
    places = np.linspace(0, len(values) - 1, min(len(values), wanted)).astype(np.int64)
    return [values[place] for place in places]


def _draw_sound(axes: "Axes", split: SpeechSplit, index: int) -> None:
    utterance, length_s = split.utterances[index], split.samples[index] / SAMPLE_RATE_HZ
    sound = np.empty((min(SHOWN_S * SAMPLE_RATE_HZ, utterance.samples), 1), np.float32)
    split.read(index, 0, sound)
    loudness = _loudness(sound[:, 0])
    limits = axes.get_xlim()
    half_s = FRAME_SAMPLES / SAMPLE_RATE_HZ / 2
    axes.imshow(
        loudness,
        aspect="auto",
        origin="lower",
        extent=(-half_s, (2 * loudness.shape[1] - 1) * half_s, 0, SAMPLE_RATE_HZ / 2000),
        cmap="magma",
        vmin=_FLOOR_DB,
        vmax=0,
    )
    axes.set_xlim(limits)
    part = f"the first {SHOWN_S} of " if length_s > SHOWN_S else ""
    title = f"{utterance.id}, {part}{length_s:.2f} s"
    axes.set_title(title, loc="left", fontsize=10, parse_math=False)
    axes.set_yticks([0, 2, 4, 6, 8])
    axes.set_ylabel("kHz")


def _loudness(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Level in dB below the loudest point, (f, t) float32; frame t is centred on sample 160 t."""
    lifted = sound.copy()
    lifted[1:] -= 0.97 * sound[:-1]  # the high frequencies, where speech is faint
    level = spectrogram(lifted, hop_samples=FRAME_SAMPLES, beyond="constant")
    level -= level.max()
    return level


def _draw_phones(axes: "Axes", labels: NDArray[np.int64]) -> None:
    """A box per run of equal labels, from the middle of the windows on its sides."""
    from matplotlib import colormaps

    starts = np.flatnonzero(np.diff(labels, prepend=-1))
    runs = np.diff(starts, append=len(labels))
    hop = FRAME_SAMPLES / SAMPLE_RATE_HZ
    shift = (WINDOW_SAMPLES - FRAME_SAMPLES) / 2 / SAMPLE_RATE_HZ
    for start, run, label in zip(starts.tolist(), runs.tolist(), labels[starts], strict=True):
        left = start * hop + shift
        hue = label * 0.618 % 1  # neighbours in number far apart in colour
        colour = "white" if label == 0 else colormaps["hsv"](hue, alpha=0.5)
        axes.barh(0, run * hop, left=left, height=1, color=colour, edgecolor="gray", linewidth=0.3)
        if run * hop >= _NUMBER_S:
            middle = left + run * hop / 2
            axes.text(middle, 0, str(label), ha="center", va="center", fontsize=7, clip_on=True)
    axes.set_ylim(-0.5, 0.5)
    axes.set_yticks([0], ["phone"])
    axes.tick_params(axis="y", length=0)
