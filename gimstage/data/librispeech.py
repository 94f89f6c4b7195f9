"""Speech in LibriSpeech's layout: utterances read by crop, speakers, phone labels.

The first step of the audio pipeline: a folder of FLAC files becomes float32 samples at 16 kHz.
Anywhere below the folder lie

    SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE.flac    mono; its name is the utterance's id
    train_split.txt  test_split.txt                   see `data.lists`; both or neither
    converted_aligned_phones.txt                      an id and its labels 0 … 40 per line; optional

A phone label stands for 25 ms, one every 10 ms. Opening reads the header of each file, no sound.
Shapes: N utterances, n samples, L labels. Imports `errors` and its neighbours only.
"""

import logging
import shlex
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gimstage.data.lists import LISTS, SPLITS, Ids, lines, read_splits, visible
from gimstage.data.splits import Column, FrameLabels, SequenceSplit
from gimstage.data.tree import Tree, look
from gimstage.data.utterances import (
    CALLER,
    RESTORE,
    SAMPLE_RATE_HZ,
    Utterance,
    read_header,
    read_samples,
)
from gimstage.errors import DataError, NoLabelsError

FRAME_SAMPLES = 160  # one frame is 10 ms
NUM_PHONES = 41
PHONE = "phone"  # what these labels are called

_WINDOW_SAMPLES = 400  # what one phone label stands for
_PHONES = "converted_aligned_phones.txt"
_LABELS = {str(label).encode(): label for label in range(NUM_PHONES)}

_Subsets = Collection[str] | None

_log = logging.getLogger(__name__)


class SpeechSplit(SequenceSplit):
    """One split of a folder in LibriSpeech's layout; pickling carries its path, not its samples.

    Without split lists about a fifth of each speaker's utterances is the test split, chosen by a
    hash of the id; that is logged, and so are sampling rates other than 16 kHz.

    Args:
        root: the folder.
        name: "train" or "test".
        subsets: the names of the folders of speakers that are taken; all where None.

    Attributes:
        utterances: N of them, in the order of the split list.
        samples: how many each has, (N,) int64.
        speakers: the speakers of the training split, in order; then those of the test alone.
        num_speakers: how many.
        labels: index into `speakers` of every utterance, (N,) int64.
        listed: whether the folder has split lists.
        tree: what lies below the folder, read or not.
        unlisted: how many audio files of the folder are in neither split.
        phone_file: where the phone labels are; None where the folder has none.
    """

    def __init__(self, root: Path, name: str, subsets: _Subsets = None) -> None:
        self.tree = tree = look_at(root, subsets)
        lists = read_splits(tree, name)
        self.root, self.name, self.subsets = root, name, subsets
        self.listed = LISTS[name] in tree.texts
        self.unlisted = len(tree.audio) - sum(map(len, lists.values()))
        self.phone_file = tree.texts.get(_PHONES)
        self.utterances = tuple(read_header(id_, tree.audio[id_]) for id_ in lists[name])
        self.samples = np.array([u.samples for u in self.utterances], np.int64)
        trained, tested = (_speakers(lists[split]) for split in SPLITS)
        self.speakers = trained + tuple(s for s in tested if s not in trained)
        self.num_speakers = len(self.speakers)
        self.labels = np.array([self.speakers.index(u.speaker) for u in self.utterances], np.int64)
        self._say_what_is_unusual(lists)

    channels = 1
    columns = ("speaker",)

    def __len__(self) -> int:
        """The number of utterances, N."""
        return len(self.utterances)

    @property
    def ids(self) -> Sequence[str]:
        """The ids of the utterances, "2911-12359-0007"."""
        return [utterance.id for utterance in self.utterances]

    def column(self, name: str) -> Column:
        """Who speaks in every utterance; raises as `Split.column`."""
        if name not in self.columns:
            raise self.no_column(name)
        return Column(name, self.speakers, self.labels)

    def __reduce__(self) -> tuple[Any, Any]:
        """What pickle stores: the way to open the split again, in whichever process."""
        return SpeechSplit, (self.root, self.name, self.subsets)

    def read(self, index: int, start: int, out: NDArray[np.float32]) -> None:
        """Fill `out` with consecutive samples of one utterance, on the scale -1 … 1.

        Seeks, so that a crop costs about the same anywhere in a file; a file of another rate is
        decoded whole, and the last few such are kept. Any number of threads may read at once.

        Args:
            index: which utterance, 0 … N - 1.
            start: the first sample, at 16 kHz.
            out: (n, 1) float32.

        Raises:
            DataError: the request lies outside, or the file cannot be decoded as its header says.
        """
        if not 0 <= index < len(self):
            found, expected = f"utterance {index}", f"0 to {len(self) - 1}"
            raise DataError(f"{self.root}, split '{self.name}'", found, expected, CALLER)
        read_samples(self.utterances[index], start, out[:, 0])

    def interval_columns(self) -> Sequence[str]:
        """Phones, where the folder has their labels."""
        return (PHONE,) if self.phone_file else ()

    def frame_labels(self, name: str) -> FrameLabels:
        """The phone at every 10 ms; raises as `phones`, and where another label is asked for."""
        if name != PHONE:
            raise self.no_intervals(name)
        return FrameLabels(PHONE, tuple(map(str, range(NUM_PHONES))), self.phones())

    def phone_notes(self) -> list[str]:
        """A line on a file that may hold phone labels under another name; none as a rule."""
        like = None if self.phone_file else self.tree.almost(_PHONES)
        return [f"no {_PHONES}, but {like}: phone labels under that name are not read"] * bool(like)

    def phones(self) -> dict[int, NDArray[np.int64]]:
        """The phone labels of the utterances that have any: index in the split → (L,) int64.

        L is `num_labels(samples)`.

        Raises:
            DataError: a line of the label file is wrong.
            NoLabelsError: no utterance of the split has labels.
        """
        labels = self.phones_if_any()
        if not labels:
            found = f"no utterance of the split '{self.name}' has phone labels"
            expected = f"a line for at least one of them in {_PHONES}"
            cure = "add the file, or the lines that are missing"
            like = self.tree.almost(_PHONES)
            if self.phone_file is None and like:
                new = shlex.quote(str(like.with_name(_PHONES)))
                found += f", but there is {like.name}"
                cure = f"if it holds them, `mv {shlex.quote(str(like))} {new}`"
            raise NoLabelsError(str(self.phone_file or self.root), found, expected, cure)
        return labels

    def phones_if_any(self) -> dict[int, NDArray[np.int64]]:
        """Like `phones`, but empty where there are none.

        Raises:
            DataError: a line of the label file is wrong.
        """
        labels: dict[int, NDArray[np.int64]] = {}
        index_of = {utterance.id: index for index, utterance in enumerate(self.utterances)}
        for where, id_, line in lines(self.phone_file, {}) if self.phone_file else ():
            if id_ not in self.tree.audio and self.subsets is None:
                found = f"'{visible(id_)}' has no audio file"
                expected = f"a .flac file below {self.root}"
                raise DataError(where, found, expected, "remove the line, or fetch the file")
            index = index_of.get(id_)
            if index is not None:
                labels[index] = _parse_labels(where, self.utterances[index], line.split()[1:])
        return labels

    def _say_what_is_unusual(self, lists: Ids) -> None:
        if not self.listed and self.name == SPLITS[0]:  # once for both
            share = f"{len(lists['test']):,} of {sum(map(len, lists.values())):,} utterances"
            what = "%s: no split lists, so a hash of the ids chose %s as test, a fifth per speaker"
            _log.warning(what, self.root, share)
        rates = Counter(u.rate_hz for u in self.utterances if u.rate_hz != SAMPLE_RATE_HZ)
        if rates:
            files = ", ".join(f"{rates[rate]:,} at {rate:,} Hz" for rate in sorted(rates))
            _log.warning("%s, split '%s': files to resample: %s", self.root, self.name, files)


def open_split(root: Path, split: str, subsets: _Subsets = None) -> SpeechSplit:
    """One split of the folder, its lists and the headers of its files checked; no sound is read.

    Args:
        root: the folder.
        split: "train" or "test".
        subsets: the names of the folders of speakers that are taken; all where None.

    Raises:
        DataError: the split is unknown, the folder or a file is missing or unreadable, a file is
            out of place, not FLAC, empty or not mono, or the split lists do not fit the files.
    """
    return SpeechSplit(root, split, subsets)


def look_at(root: Path, subsets: _Subsets = None) -> Tree:
    """What lies below a folder of speech, read or not; arguments and errors as of `tree.look`."""
    return look(root, {_PHONES, *LISTS.values()}, subsets)


def files(root: Path, split: str, subsets: _Subsets = None) -> dict[str, Path]:
    """The files whose ids, in this order, and contents are the identity of a split.

    Args:
        root: a folder in LibriSpeech's layout; neither its place nor its phones count.
        split: "train" or "test".
        subsets: the names of the folders of speakers that are taken; all where None.

    Raises:
        DataError: a file is missing or out of place, or the lists do not fit the files.
    """
    tree = look_at(root, subsets)
    return {id_: tree.audio[id_] for id_ in read_splits(tree, split)[split]}


def phone_file(root: Path, subsets: _Subsets = None) -> Path | None:
    """The file of phone labels, whose content is their identity; None where there is none.

    Args:
        root: a folder in LibriSpeech's layout.
        subsets: the names of the folders of speakers that are taken; all where None.

    Raises:
        DataError: the folder is unreadable, or there are two of it.
    """
    return look_at(root, subsets).texts.get(_PHONES)


def num_labels(samples: int) -> int:
    """How many phone labels an utterance of so many samples has: one per 10 ms that 25 ms fit."""
    return max(0, (samples - _WINDOW_SAMPLES) // FRAME_SAMPLES + 1)


def _speakers(ids: Iterable[str]) -> tuple[str, ...]:
    """The speakers of these utterances, each once, in numerical order where they are numbers."""
    names = {id_.partition("-")[0] for id_ in ids}
    return tuple(sorted(names, key=lambda s: (not s.isdecimal(), s.isdecimal() and int(s), s)))


def _parse_labels(where: str, utterance: Utterance, tokens: list[bytes]) -> NDArray[np.int64]:
    try:
        labels = np.fromiter(map(_LABELS.__getitem__, tokens), np.int64, len(tokens))
    except KeyError:
        number = next(i for i, token in enumerate(tokens) if token not in _LABELS)
        found = f"label {number + 1} is '{tokens[number].decode(errors='replace')}'"
        raise DataError(where, found, f"integers 0 to {NUM_PHONES - 1}", RESTORE) from None
    expected = num_labels(utterance.samples)
    if len(labels) != expected:
        found = f"{len(labels):,} labels for the {utterance.samples:,} samples of '{utterance.id}'"
        raise DataError(where, found, f"{expected:,}, one per 10 ms", RESTORE)
    return labels
