"""Utterances of LibriSpeech joined to the chapters they were cut from."""

import pickle

import numpy as np
import pytest

from gimstage.data.chapters import Chapters
from gimstage.data.demo_speech import write_demo_speech
from gimstage.data.librispeech import SpeechSplit, open_split
from gimstage.data.planned import PlannedSpeech

COUNTS = {"seed": 1, "speakers": 2, "train": 10, "test": 1}  # chapters of eight utterances


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> SpeechSplit:
    root = tmp_path_factory.mktemp("speech") / "set"
    write_demo_speech(root, **COUNTS)
    return open_split(root, "train")


def sound(split: SpeechSplit, index: int, start: int, count: int) -> np.ndarray:
    out = np.empty((count, 1), np.float32)
    split.read(index, start, out)
    return out


def test_a_chapter_is_its_utterances_cut_to_whole_frames_end_to_end(split: SpeechSplit) -> None:
    chapters = Chapters(split)
    assert list(chapters.ids) == ["100-10000", "100-10001", "107-10100", "107-10101"]
    assert chapters.labels.tolist() == [0, 0, 1, 1]
    cut = [sound(split, n, 0, int(split.samples[n]) // 160 * 160) for n in range(8)]
    whole = sound(chapters, 0, 0, int(chapters.samples[0]))
    assert np.array_equal(whole, np.concatenate(cut))
    assert np.array_equal(sound(chapters, 0, 30_000, 100_000), whole[30_000:130_000])


def test_every_frame_of_a_chapter_has_the_label_it_has_in_its_utterance(split: SpeechSplit) -> None:
    chapters, phones = Chapters(split), split.phones()
    labels = chapters.phones()[0]
    assert len(labels) == chapters.samples[0] // 160
    frames = int(split.samples[0]) // 160
    assert np.array_equal(labels[: len(phones[0])], phones[0])
    assert np.array_equal(labels[frames : frames + len(phones[1])], phones[1])


def test_chapters_are_planned_as_they_will_be(split: SpeechSplit) -> None:
    planned, written = Chapters(PlannedSpeech(split.root, "train", **COUNTS)), Chapters(split)
    assert planned.samples.tolist() == written.samples.tolist()
    assert list(planned.ids) == list(written.ids)
    assert all(np.array_equal(planned.phones()[n], own) for n, own in written.phones().items())


def test_chapters_are_joined_again_in_another_process(split: SpeechSplit) -> None:
    there = pickle.loads(pickle.dumps(Chapters(split)))
    assert np.array_equal(sound(there, 3, 5, 50), sound(Chapters(split), 3, 5, 50))
