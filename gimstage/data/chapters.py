"""Chapters of LibriSpeech: utterances that were cut from one recording, joined end to end again.

An utterance has 35 s at most, a chapter of train-clean-100 ten minutes on average. Every utterance
is cut to whole frames of 10 ms, so frames and their labels lie in a chapter as in the utterances.

Shapes: N chapters, L labels. Imports its neighbours only.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gimstage.data.librispeech import FRAME_SAMPLES, SpeechSplit


class Chapters(SpeechSplit):
    """The chapters of a split, each of its utterances that the split has, in their order.

    Args:
        split: the utterances, read or planned.
    """

    def __init__(self, split: SpeechSplit) -> None:
        vars(self).update(vars(split))
        self.split = split
        members: dict[str, list[int]] = {}
        for index in np.argsort([each.id for each in split.utterances], kind="stable"):
            chapter = split.utterances[index].id.rpartition("-")[0]
            members.setdefault(chapter, []).append(int(index))
        self._frames = split.samples // FRAME_SAMPLES
        self._members = list(members.values())
        self._ends = [np.cumsum(self._frames[own]) * FRAME_SAMPLES for own in self._members]
        self.samples = np.array([ends[-1] for ends in self._ends], np.int64)
        self.labels = split.labels[[own[0] for own in self._members]]
        self.utterances = tuple(
            replace(split.utterances[own[0]], id=chapter, samples=int(samples))
            for (chapter, own), samples in zip(members.items(), self.samples, strict=True)
        )

    def __reduce__(self) -> tuple[Any, Any]:
        """What pickle stores: the utterances, which are joined again in whichever process."""
        return Chapters, (self.split,)

    def read(self, index: int, start: int, out: NDArray[np.float32]) -> None:
        """Fill `out` (n, 1) with consecutive samples of one chapter; raises as of utterances."""
        ends, done = self._ends[index], 0
        while done < len(out):
            place = int(np.searchsorted(ends, start + done, side="right"))
            begin = int(ends[place - 1]) if place else 0
            stop = min(len(out), int(ends[place]) - start)
            member = self._members[index][place]
            self.split.read(member, start + done - begin, out[done:stop])
            done = stop

    def phones_if_any(self) -> dict[int, NDArray[np.int64]]:
        """The labels of the chapters all of whose utterances have them, one for every frame.

        The last frames of an utterance, of which no whole window of 25 ms begins, have the label of
        the frame before.
        """
        phones = self.split.phones_if_any()
        labels = {}
        for index, own in enumerate(self._members):
            told = [member for member in own if self._frames[member]]
            if all(len(phones.get(member, ())) for member in told):
                parts = [_of_length(phones[each], int(self._frames[each])) for each in told]
                labels[index] = np.concatenate([*parts, np.zeros(0, np.int64)])
        return labels


def _of_length(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The first `count` labels; where there are a few less, the last one again."""
    return np.pad(labels, (0, max(0, count - len(labels))), mode="edge")[:count]
