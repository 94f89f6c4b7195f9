"""The splits of a demo's data before it is written: counts, lengths and labels, nothing to read.

So that a plan, which writes nothing, can say to the byte what a demo will take. What is drawn here
is what the demos draw first. Imports the demos, the readers of their layouts, and `errors` only.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from gimstage.data.demo import CLASS_NAMES, draw_labels
from gimstage.data.demo_speech import (
    RATE_HZ,
    SECONDS,
    draw_speakers,
    draw_words,
    phone_labels,
    utterance_draws,
    utterance_id,
)
from gimstage.data.librispeech import SpeechSplit
from gimstage.data.stl10 import LABELLED, Stl10Split
from gimstage.data.utterances import Utterance
from gimstage.errors import DataError


class PlannedImages(Stl10Split):
    """A split of pictures that `write_demo` has still to write.

    Args:
        root: the folder it will be written to.
        name: "train", "test" or "unlabeled".
        seed: the seed of every draw.
        count: pictures in the split.
    """

    def __init__(self, root: Path, name: str, *, seed: int, count: int) -> None:
        self.root, self.name, self._count = root, name, count
        self.class_names, self.num_classes = CLASS_NAMES, len(CLASS_NAMES)
        self.labels = draw_labels(seed, name, count) if LABELLED[name] else None

    def __len__(self) -> int:
        """The number of pictures there will be."""
        return self._count

    def image(self, index: int) -> NoReturn:
        """Refuse: there are no pixels yet."""
        raise _not_written(self.root)


class PlannedSpeech(SpeechSplit):
    """A split of utterances that `write_demo_speech` has still to write.

    Args:
        root: the folder it will be written to.
        name: "train" or "test".
        seed: the seed of every draw.
        speakers: how many.
        train: utterances of each speaker in that split.
        test: utterances of each speaker in that split.
        seconds: the shortest and the longest that an utterance may be; the usual ones where None.
    """

    def __init__(
        self,
        root: Path,
        name: str,
        *,
        seed: int,
        speakers: int,
        train: int,
        test: int,
        seconds: Sequence[float] | None = None,
    ) -> None:
        self.root, self.name = root, name
        self.listed, self.unlisted, self.phone_file = True, 0, None
        self._phones: dict[int, NDArray[np.int64]] = {}
        numbers = range(train) if name == "train" else range(train, train + test)
        utterances: list[Utterance] = []
        labels: list[int] = []
        for number, speaker in enumerate(draw_speakers(seed, speakers)):
            for each in numbers:
                draws = utterance_draws(seed, number, each)
                names, ends = draw_words(draws, speaker, seconds or SECONDS)
                self._phones[len(utterances)] = phone_labels(names, ends)
                id_ = utterance_id(number, each)
                whose = id_.partition("-")[0]
                utterances.append(Utterance(id_, whose, root / f"{id_}.flac", ends[-1], RATE_HZ))
                labels.append(number)
        self.utterances, self.labels = tuple(utterances), np.array(labels, np.int64)
        self.samples = np.array([each.samples for each in utterances], np.int64)
        self.speakers = tuple(dict.fromkeys(each.speaker for each in utterances))
        self.num_speakers = speakers

    def read(self, index: int, start: int, out: NDArray[np.float32]) -> NoReturn:
        """Refuse: there are no samples yet."""
        raise _not_written(self.root)

    def phones_if_any(self) -> dict[int, NDArray[np.int64]]:
        """The phone labels of every utterance, by its index in the split."""
        return self._phones


def _not_written(root: Path) -> DataError:
    found = "the data of this demo is not written yet"
    return DataError(str(root), found, cure="any command that trains or probes writes it")
