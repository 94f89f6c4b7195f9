"""Utterances as a first stage reads them, and those too short for its crops."""

import logging
from pathlib import Path

import pytest
import soundfile
from helpers.homes import at

from gimstage.errors import DataError


@pytest.fixture(scope="module")
def finished(finished_speech: Path) -> Path:
    """The small recipe is that of speech."""
    return finished_speech


def shorten(home: Path, count: int, frames: int) -> list[str]:
    """Cut the first training utterances to so many frames; their ids."""
    data = at(home).data
    for utterance in data.train.utterances[:count]:
        wave, rate = soundfile.read(utterance.path, dtype="int16")
        soundfile.write(utterance.path, wave[: frames * 160], rate, subtype="PCM_16")
    return [utterance.id for utterance in data.train.utterances[:count]]


def test_utterances_shorter_than_a_crop_are_left_out_aloud(
    fresh: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ids = shorten(fresh, 2, 100)
    with caplog.at_level(logging.WARNING):
        assert at(fresh).data.num_samples == 13
    assert caplog.messages == [
        "split 'train': 2 of 15 utterances are shorter than a crop of 128 frames and are left out: "
        + ", ".join(ids)
    ]


def test_nothing_but_short_utterances_is_refused(fresh: Path) -> None:
    shorten(fresh, 15, 100)
    pipeline = at(fresh)
    with pytest.raises(DataError) as caught:
        pipeline.train_stage(1)
    root = pipeline.data.root
    assert str(caught.value) == (
        f"{root}, split 'train': all 15 utterances are shorter than a crop of 128 frames; expected "
        "at least one that is as long; lower crop_frames in [views], or use longer utterances"
    )
