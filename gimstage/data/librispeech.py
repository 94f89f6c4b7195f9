"""Speech in LibriSpeech's layout: utterances read by crop, speakers, phone labels.

The first step of the audio pipeline: a folder of FLAC files becomes float32 samples at 16 kHz.
Anywhere below the folder lie

    SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE.flac    mono; its name is the utterance's id
    train_split.txt  test_split.txt                   one id per line; both or neither
    converted_aligned_phones.txt                      an id and its labels 0 … 40 per line; optional

A phone label stands for 25 ms, one every 10 ms. Opening reads the header of each file, no sound.
Shapes: N utterances, n samples, L labels. Imports `errors`, `data.files`, `data.utterances` only.
"""

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from gimstage.data.files import reading
from gimstage.data.utterances import (
    CALLER,
    RESTORE,
    SAMPLE_RATE_HZ,
    Utterance,
    read_header,
    read_samples,
)
from gimstage.errors import DataError, NoLabelsError, nearest

FRAME_SAMPLES = 160  # one frame is 10 ms
NUM_PHONES = 41
SPLITS = ("train", "test")

_WINDOW_SAMPLES = 400  # what one phone label stands for
_LISTS = {split: f"{split}_split.txt" for split in SPLITS}
_PHONES = "converted_aligned_phones.txt"
_LABELS = {str(label).encode(): label for label in range(NUM_PHONES)}
_PATTERN = "SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE.flac"

_Files = dict[str, Path]
_Utterances = Iterable["Utterance"]
_Ids = dict[str, list[str]]  # of each split

_log = logging.getLogger(__name__)


class SpeechSplit:
    """One split of a folder in LibriSpeech's layout; pickling carries its path, not its samples.

    Without split lists about a fifth of each speaker's utterances is the test split, chosen by a
    hash of the id; that is logged, and so are sampling rates other than 16 kHz.

    Args:
        root: the folder.
        name: "train" or "test".

    Attributes:
        utterances: N of them, in the order of the split list.
        samples: how many each has, (N,) int64.
        speakers: the speakers of the training split, in order; then those of the test alone.
        num_speakers: how many.
        labels: index into `speakers` of every utterance, (N,) int64.
        listed: whether the folder has split lists.
        unlisted: how many audio files of the folder are in neither split.
        phone_file: where the phone labels are; None where the folder has none.
    """

    def __init__(self, root: Path, name: str) -> None:
        audio, texts = _walk(root)
        lists = _lists(root, audio, texts, name)
        self.root, self.name = root, name
        self.listed = _LISTS[name] in texts
        self.unlisted = len(audio) - sum(map(len, lists.values()))
        self.phone_file = texts.get(_PHONES)
        self._known = set(audio)
        self.utterances = tuple(read_header(id_, audio[id_]) for id_ in lists[name])
        self.samples = np.array([u.samples for u in self.utterances], np.int64)
        trained, tested = (_speakers(lists[split]) for split in SPLITS)
        self.speakers = trained + tuple(s for s in tested if s not in trained)
        self.num_speakers = len(self.speakers)
        self.labels = np.array([self.speakers.index(u.speaker) for u in self.utterances], np.int64)
        self._say_what_is_unusual(lists)

    def __len__(self) -> int:
        """The number of utterances, N."""
        return len(self.utterances)

    def __reduce__(self) -> tuple[type["SpeechSplit"], tuple[Path, str]]:
        """What pickle stores: the way to open the split again, in whichever process."""
        return SpeechSplit, (self.root, self.name)

    def read(self, index: int, start: int, out: NDArray[np.float32]) -> None:
        """Fill `out` with consecutive samples of one utterance, on the scale -1 … 1.

        Seeks, so that a crop costs about the same anywhere in a file; a file of another rate is
        decoded whole, and the last few such are kept. Any number of threads may read at once.

        Args:
            index: which utterance, 0 … N - 1.
            start: the first sample, at 16 kHz.
            out: (n,) float32.

        Raises:
            DataError: the request lies outside, or the file cannot be decoded as its header says.
        """
        if not 0 <= index < len(self):
            found, expected = f"utterance {index}", f"0 to {len(self) - 1}"
            raise DataError(f"{self.root}, split '{self.name}'", found, expected, CALLER)
        read_samples(self.utterances[index], start, out)

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
            raise NoLabelsError(str(self.phone_file or self.root), found, expected, cure)
        return labels

    def phones_if_any(self) -> dict[int, NDArray[np.int64]]:
        """Like `phones`, but empty where there are none.

        Raises:
            DataError: a line of the label file is wrong.
        """
        labels: dict[int, NDArray[np.int64]] = {}
        index_of = {utterance.id: index for index, utterance in enumerate(self.utterances)}
        for where, id_, line in _lines(self.phone_file, {}) if self.phone_file else ():
            if id_ not in self._known:
                found, expected = f"'{id_}' has no audio file", f"a .flac file below {self.root}"
                raise DataError(where, found, expected, "remove the line, or fetch the file")
            index = index_of.get(id_)
            if index is not None:
                labels[index] = _parse_labels(where, self.utterances[index], line.split()[1:])
        return labels

    def _say_what_is_unusual(self, lists: _Ids) -> None:
        if not self.listed and self.name == SPLITS[0]:  # once for both
            share = f"{len(lists['test']):,} of {sum(map(len, lists.values())):,} utterances"
            what = "%s: no split lists, so a hash of the ids chose %s as test, a fifth per speaker"
            _log.warning(what, self.root, share)
        rates = Counter(u.rate_hz for u in self.utterances if u.rate_hz != SAMPLE_RATE_HZ)
        if rates:
            files = ", ".join(f"{rates[rate]:,} at {rate:,} Hz" for rate in sorted(rates))
            _log.warning("%s, split '%s': files to resample: %s", self.root, self.name, files)


def open_split(root: Path, split: str) -> SpeechSplit:
    """One split of the folder, its lists and the headers of its files checked; no sound is read.

    Raises:
        DataError: the split is unknown, the folder or a file is missing or unreadable, a file is
            out of place, not FLAC, empty or not mono, or the split lists do not fit the files.
    """
    return SpeechSplit(root, split)


def refuse_unseen_speakers(root: Path, train: _Utterances, test: _Utterances) -> None:
    """Refuse test utterances of speakers that nobody could learn from the training ones.

    Raises:
        DataError: a speaker of `test` has no utterance in `train`.
    """
    heard = {utterance.speaker for utterance in train}
    strange = _speakers(u.id for u in test if u.speaker not in heard)
    if strange:
        found = f"speakers of 'test' that 'train' lacks: {len(strange):,}, first '{strange[0]}'"
        cure = f"move some of their utterances to {_LISTS['train']}"
        raise DataError(str(root), found, "every speaker of 'test' in 'train' too", cure)


def files(root: Path, split: str) -> dict[str, Path]:
    """The files whose ids, in this order, and contents are the identity of a split.

    Args:
        root: a folder in LibriSpeech's layout; neither its place nor its phones count.
        split: "train" or "test".

    Raises:
        DataError: a file is missing or out of place, or the lists do not fit the files.
    """
    audio, texts = _walk(root)
    return {id_: audio[id_] for id_ in _lists(root, audio, texts, split)[split]}


def phone_file(root: Path) -> Path | None:
    """The file of phone labels, whose content is their identity; None where there is none.

    Raises:
        DataError: the folder is unreadable, or there are two of it.
    """
    return _walk(root)[1].get(_PHONES)


def num_labels(samples: int) -> int:
    """How many phone labels an utterance of so many samples has: one per 10 ms that 25 ms fit."""
    return max(0, (samples - _WINDOW_SAMPLES) // FRAME_SAMPLES + 1)


def _walk(root: Path) -> tuple[_Files, _Files]:
    """What lies below the folder: the audio files by id, the text files by name."""
    audio: _Files = {}
    texts: _Files = {}
    for folder, folders, names in os.walk(root, onerror=_refuse_unreadable):
        folders.sort()  # so that of several faults the same is named every time
        for name in sorted(names):
            if name.endswith(".flac"):
                path = Path(folder, name)
                _put(audio, _id(root, path), path)
            elif name == _PHONES or name in _LISTS.values():
                _put(texts, name, Path(folder, name))
    if not audio:
        expected = f"{_PATTERN}, in folders that are no links"
        cure = "check the path of the data set, or fetch the set again"
        raise DataError(str(root), "no .flac file lies below it", expected, cure)
    return audio, texts


def _refuse_unreadable(error: OSError) -> NoReturn:
    with reading(Path(error.filename)):
        raise error


def _put(known: _Files, name: str, path: Path) -> None:
    first = known.setdefault(name, path)
    if first is not path:
        raise DataError(str(path), f"there is {first} too", f"one {name}", "remove one of the two")


def _id(root: Path, path: Path) -> str:
    parts, names = path.relative_to(root).parts[:-1], path.stem.split("-")
    if len(names) != 3 or not names[2] or list(parts[-2:]) != names[:2]:
        found, expected = "its place and its name do not fit", f"{_PATTERN} below {root}"
        raise DataError(str(path), found, expected, "rename it, or move it away")
    return path.stem


def _speakers(ids: Iterable[str]) -> tuple[str, ...]:
    """The speakers of these utterances, each once, in numerical order where they are numbers."""
    names = {id_.partition("-")[0] for id_ in ids}
    return tuple(sorted(names, key=lambda s: (not s.isdecimal(), s.isdecimal() and int(s), s)))


def _lists(root: Path, audio: _Files, texts: _Files, split: str) -> _Ids:
    """The ids of both splits, of which `split` is known and not empty."""
    if split not in SPLITS:
        raise DataError(str(root), f"there is no split '{split}'", cure=nearest(split, SPLITS))
    present = [texts[name] for name in _LISTS.values() if name in texts]
    if len(present) == 1:
        cure = "add the other, or remove this one to have the utterances divided"
        raise DataError(str(present[0]), "the other list is missing", "both or neither", cure)
    seen: dict[str, str] = {}
    read = [_read_list(root, audio, path, seen) for path in present]
    lists = dict(zip(SPLITS, read, strict=True)) if present else _divide(audio)
    if not lists[split]:
        found = f"no speaker has two utterances, so the split '{split}' is empty"
        cure = f"add utterances, or {_LISTS['train']} and {_LISTS['test']}"
        raise DataError(str(root), found, "two or more of one speaker at least", cure)
    return lists


def _lines(path: Path, seen: dict[str, str]) -> Iterator[tuple[str, str, bytes]]:
    """The place, first word and whole of every line; `seen` says where each id stands so far."""
    with reading(path), path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                id_ = line.split(None, 1)[0].decode(errors="replace")
                where = f"{path}, line {number}"
                if seen.setdefault(id_, where) is not where:
                    found = f"'{id_}' is on {seen[id_]} too"
                    raise DataError(where, found, "every id once", "remove one of the two")
                yield where, id_, line


def _read_list(root: Path, audio: _Files, path: Path, seen: dict[str, str]) -> list[str]:
    ids = [id_ for _, id_, _ in _lines(path, seen)]
    if not ids:
        raise DataError(str(path), "it names no utterance", "one id per line", RESTORE)
    missing = [id_ for id_ in ids if id_ not in audio]
    if missing:
        found = f"ids without an audio file: {len(missing):,} of {len(ids):,}, first '{missing[0]}'"
        cure = "fetch the files that are missing, or take the ids off the list"
        raise DataError(str(path), found, f"a .flac file below {root} for each", cure)
    return ids


def _divide(ids: Iterable[str]) -> _Ids:
    """About a fifth of each speaker's utterances, of two or more at least one, to test."""
    by_speaker: dict[str, list[str]] = {}
    for id_ in sorted(ids, key=lambda id_: hashlib.sha256(id_.encode()).digest()):
        by_speaker.setdefault(id_.partition("-")[0], []).append(id_)
    lists: _Ids = {split: [] for split in SPLITS}
    for own in by_speaker.values():
        tested = max(round(len(own) / 5), int(len(own) > 1))
        lists["test"] += own[:tested]
        lists["train"] += own[tested:]
    return {split: sorted(chosen) for split, chosen in lists.items()}


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
