"""What the probes of speech read: codes of whole frames, MFCCs, labels, and only what was asked."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch.testing import assert_close

from gimstage.data.splits import NO_LABEL
from gimstage.errors import DataError, NoLabelsError
from gimstage.inputs.speech import Speech
from gimstage.modules import Conv1dModule
from gimstage.probe import open_probe
from gimstage.probe.frames import FrameProbe
from gimstage.probe.labels import SpeakerProbe
from gimstage.probe.mfcc import MFCC
from gimstage.probe.pieces import frame_codes, reader
from gimstage.progress import Watch
from gimstage.specs import (
    FrameProbeSpec,
    LabelProbeSpec,
    MFCCSpec,
    PhoneProbeSpec,
    SpeakerProbeSpec,
    SpeechDataSpec,
)
from gimstage.stack import Stack

CPU = torch.device("cpu")
SETTINGS: dict[str, Any] = {"device": CPU, "workers": 1, "watch": Watch()}
MFCCS = {"coefficients": 13, "mel_bands": 40, "window_samples": 400, "delta_frames": 5}
CONVERGED = {"l2": [0.1], "validation_share": 0.5, "seed": 1}


def tree(root: Path, samples: dict[str, int], labels: dict[str, int]) -> Speech:
    """Noise of so many samples by id, and so many labels; ids ending in 1 are for the test."""
    rng = np.random.default_rng(0)
    for id_, count in samples.items():
        path = root / Path(*id_.split("-")[:2]) / f"{id_}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * rng.standard_normal(count), 16_000, subtype="PCM_16")
    for name, test in (("train", False), ("test", True)):
        ids = [id_ for id_ in samples if id_.endswith("-1") is test]
        (root / f"{name}_split.txt").write_text("\n".join(ids))
    lines = [" ".join([id_, *(str(n % 2) for n in range(count))]) for id_, count in labels.items()]
    (root / "converted_aligned_phones.txt").write_text("\n".join(lines))
    data = SpeechDataSpec.model_validate(
        {
            "source": "librispeech",
            "train_split": "train",
            "mean": 0.0,
            "std": 0.1,
            "views": {"crop_frames": 10},
            "stored_views": {"kind": "utterances"},
        }
    )
    return Speech(data, root)


def phone_spec(**changed: Any) -> PhoneProbeSpec:
    table = {
        "inputs": [1],
        "weights": "trained",
        "task": "phone",
        "train_split": "train",
        "test_split": "test",
        "offset": 1,
        "converged": {"frames": 100, **CONVERGED},
    }
    return PhoneProbeSpec.model_validate(table | changed)


def convs() -> list[Conv1dModule]:
    torch.manual_seed(1)
    first = Conv1dModule(in_channels=1, channels=3, kernel=10, stride=5, padding=2)
    return [first, Conv1dModule(in_channels=3, channels=4, kernel=8, stride=4, padding=2)]


def stacks() -> dict[str, tuple[Stack, ...]]:
    pair = tuple(Stack(convs(), ["x/1", "x/2"]) for _ in range(2))
    return {"x/2": pair}


def labels_of(samples: int) -> int:
    return (samples - 400) // 160 + 1


@pytest.fixture
def speech(tmp_path: Path) -> Speech:
    # 3,290 samples are 20 frames and 90 samples: one label more than from whole frames alone.
    samples = {"1-1-0": 3_290, "2-1-0": 3_200, "1-1-1": 3_290, "2-1-1": 3_200}
    return tree(tmp_path, samples, {id_: labels_of(n) for id_, n in samples.items()})


def test_mfccs_of_a_wave_do_not_depend_on_its_batch() -> None:
    rng = torch.Generator().manual_seed(2)
    waves = torch.randn(3, 4_000, generator=rng)
    waves[1] *= 1e-4  # a quiet one beside loud ones
    mfcc = MFCC(MFCCSpec(**MFCCS), rate_hz=16_000, frame_rows=160)
    together = mfcc(waves)
    assert together.shape == (3, 23, 39)
    for alone, wave in zip(together, waves, strict=True):
        assert_close(mfcc(wave[None])[0], alone)


def test_each_label_has_the_code_of_its_frame_and_the_mfcc_of_its_window(speech: Speech) -> None:
    probe = FrameProbe(phone_spec(mfcc=MFCCS), speech, **SETTINGS)
    found = list(probe._stretches("train", stacks()))
    assert [len(each.labels) for each in found] == [19, 18]
    wave = reader(speech.split("train"), 0, speech.spec)(0, 3_290)
    codes = found[0].codes
    assert_close(codes["x/2"], frame_codes(stacks()["x/2"][0], wave, 160)["x/2"][1:20])
    whole = MFCC(MFCCSpec(**MFCCS), rate_hz=16_000, frame_rows=160)(wave[..., 0])[0]
    assert len(whole) == 19
    assert_close(codes["mfcc"], whole)


def test_a_probe_reads_only_the_inputs_asked_for(speech: Speech) -> None:
    probe = FrameProbe(phone_spec(), speech, **SETTINGS)
    codes = next(probe._stretches("train", stacks())).codes
    assert set(codes) == {"x/2", "random x/2"}


def test_mfccs_move_no_other_row(speech: Speech) -> None:
    rows = [
        FrameProbe(phone_spec(**extra), speech, **SETTINGS).rows("x", "probe", stacks())[0]
        for extra in ({}, {"mfcc": MFCCS})
    ]
    assert rows[0] == rows[1]


def test_frame_codes_are_means_of_the_rows_of_each_frame() -> None:
    modules, wave = convs(), torch.randn(1, 800, 1)
    codes = frame_codes(Stack(modules, ["x/1", "x/2"]), wave, 160)
    with torch.no_grad():
        rows = modules[0](wave)[0]
    assert len(rows) == 5 * 32 - 1
    assert_close(codes["x/1"][:4], rows[:128].unflatten(0, (4, 32)).mean(1))
    assert_close(codes["x/1"][4], torch.cat([rows[128:], rows[-1:]]).mean(0))
    assert codes["x/2"].shape == (5, 4)


def test_frame_codes_are_finite_where_a_module_gives_fewer_rows_than_frames() -> None:
    narrow = Conv1dModule(in_channels=1, channels=2, kernel=400, stride=160, padding=0)
    codes = frame_codes(Stack([narrow], ["x/1"]), torch.randn(1, 1_600, 1), 160)
    assert codes["x/1"].shape == (10, 2)
    assert bool(codes["x/1"].isfinite().all())


def test_utterances_too_short_for_a_label_are_passed_over(tmp_path: Path) -> None:
    samples = {"1-1-0": 3_200, "1-2-0": 400, "1-3-0": 300, "1-1-1": 3_200}
    speech = tree(tmp_path, samples, {"1-1-0": 18, "1-2-0": 1, "1-3-0": 0, "1-1-1": 18})
    probe = FrameProbe(phone_spec(mfcc=MFCCS), speech, **SETTINGS)
    assert {index: len(labels) for index, labels in probe.labels["train"].items()} == {0: 18, 1: 1}
    assert [len(each.labels) for each in probe._stretches("train", stacks())] == [18, 1]


def test_labels_none_of_which_has_a_code_are_refused(tmp_path: Path) -> None:
    speech = tree(tmp_path, {"1-1-0": 300, "1-1-1": 3_200}, {"1-1-0": 0, "1-1-1": 18})
    with pytest.raises(NoLabelsError) as caught:
        FrameProbe(phone_spec(), speech, **SETTINGS)
    assert str(caught.value) == (
        f"{tmp_path}, split 'train': no labelled utterance is long enough for a label and its "
        "code; expected one of 25 ms at least; label longer utterances, or lower offset"
    )


def test_chance_is_the_share_of_the_phone_most_frequent_in_training(speech: Speech) -> None:
    row = FrameProbe(phone_spec(), speech, **SETTINGS).rows("x", "probe", stacks())[0]
    # Labels alternate 0 1 0 …: of 19 and 18 in each split, 0 comes first.
    assert math.isclose(row["chance"], (10 + 9) / 37)


def test_a_speaker_heard_only_in_short_utterances_is_refused(tmp_path: Path) -> None:
    samples = {"1-1-0": 3_200, "2-1-0": 3_200, "3-1-0": 800, "3-1-1": 3_200}
    speech = tree(tmp_path, samples, {})
    spec = SpeakerProbeSpec.model_validate(
        {
            "inputs": [1],
            "weights": "trained",
            "task": "speaker",
            "train_split": "train",
            "test_split": "test",
            "converged": {"views": 1, **CONVERGED},
        }
    )
    with pytest.raises(DataError) as caught:
        SpeakerProbe(spec, speech, **SETTINGS)
    assert str(caught.value) == (
        f"{tmp_path}: speakers of 'test' that 'train' lacks: 1, first '3'; expected every speaker "
        "of 'test' in 'train' too; probe speakers on lists that share them; other probes need not"
    )


def test_a_label_of_utterances_is_told_as_speakers_are(tmp_path: Path) -> None:
    samples = {f"{speaker}-1-{number}": 3_200 for speaker in (1, 2) for number in range(4)}
    speech = tree(tmp_path, samples, {})
    table = {
        "inputs": [1],
        "weights": "trained",
        "train_split": "train",
        "test_split": "test",
        "mfcc": MFCCS,
        "converged": {"views": 2, **CONVERGED},
    }
    speaker = SpeakerProbeSpec.model_validate(table | {"task": "speaker"})
    label = LabelProbeSpec.model_validate(table | {"task": "label", "label": "speaker"})
    told, named = (
        open_probe(s, speech, **SETTINGS).rows("x", "p", stacks()) for s in (speaker, label)
    )
    assert named == told


def test_frames_are_told_as_phones_are_and_those_without_a_label_passed_over(
    speech: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = phone_spec(mfcc=MFCCS).model_dump() | {"task": "frames", "label": "phone"}
    spec = FrameProbeSpec.model_validate(table)
    phones, frames = (FrameProbe(s, speech, **SETTINGS) for s in (phone_spec(mfcc=MFCCS), spec))
    assert frames.rows("x", "p", stacks()) == phones.rows("x", "p", stacks())
    gaps = speech.split("train").frame_labels("phone")
    gaps.values[0][:5] = NO_LABEL
    monkeypatch.setattr(speech.split("train"), "frame_labels", lambda name: gaps)
    some = list(FrameProbe(spec, speech, **SETTINGS)._stretches("train", stacks()))
    every = list(phones._stretches("train", stacks()))
    assert [len(each.labels) for each in some] == [14, 18]
    for name, codes in some[0].codes.items():
        assert_close(codes, every[0].codes[name][5:])


def test_labels_of_stretches_that_nobody_gave_are_refused(speech: Speech) -> None:
    spec = FrameProbeSpec.model_validate(
        phone_spec().model_dump() | {"task": "frames", "label": "word"}
    )
    with pytest.raises(NoLabelsError) as caught:
        FrameProbe(spec, speech, **SETTINGS)
    assert str(caught.value) == (
        f"{speech.root}, split 'train': no labels 'word' of stretches; expected one of phone; "
        "choose from: phone"
    )
