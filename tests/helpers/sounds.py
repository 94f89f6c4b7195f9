"""Utterances in LibriSpeech's layout, which tests write by hand."""

import numpy as np
import pytest
import soundfile

from gimstage.errors import DataError

TRAIN = ["84-1-0000", "84-1-0001", "19-2-0000", "19-2-0001"]
TEST = ["19-3-0000", "84-1-0002"]
SAMPLES = 4_000
LABELS = 23


def place(root, id_):
    speaker, chapter, _ = id_.split("-")
    return root / "LibriSpeech" / "train-clean-100" / speaker / chapter / f"{id_}.flac"


def write(root, id_, sound, rate_hz=16_000):
    path = place(root, id_)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound, rate_hz, format="FLAC", subtype="PCM_16")
    return path


def tone(count, rate_hz=16_000, hz=440):
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(count) / rate_hz)).astype(np.float32)


def refusal(call, *args):
    with pytest.raises(DataError) as info:
        call(*args)
    return str(info.value)
