"""Synthetic speech: layout, determinism, labels that fit the sound, and what it can teach."""

import shutil
from collections import namedtuple
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from sklearn.linear_model import RidgeClassifier
from sklearn.preprocessing import StandardScaler

from gimstage.data.demo_speech import PHONES, draw_speakers, draw_utterance, write_demo_speech
from gimstage.data.librispeech import open_split
from gimstage.data.planned import PlannedSpeech
from gimstage.errors import DataError

SMALL = {"speakers": 2, "train": 2, "test": 1}
VOWELS = [PHONES[name].label for name in ("AA", "AE", "AO", "EH", "ER", "IY", "UW")]


def contents(root):
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def refusal(root, **counts):
    with pytest.raises(DataError) as info:
        write_demo_speech(root, seed=1, **SMALL | counts)
    return str(info.value)


def lines(root, stem):
    return (root / "LibriSpeech100_labels_split" / f"{stem}.txt").read_text().splitlines()


def labels_of(root):
    """The labels of every utterance, by its id."""
    split = (line.split() for line in lines(root, "converted_aligned_phones"))
    return {name: np.array(labels, int) for name, *labels in split}


def samples_of(root, name):
    speaker, chapter, _ = name.split("-")
    path = root / "LibriSpeech" / "train-clean-100" / speaker / chapter / f"{name}.flac"
    return soundfile.read(path, dtype="float32")[0]


def spectra(samples):
    """Level of 32 bands of 250 Hz in every labelled window, dB, (t, 32)."""
    windows = np.lib.stride_tricks.sliding_window_view(samples, 400)[::160] * np.hanning(400)
    power = np.abs(np.fft.rfft(windows, 512))[:, 1:] ** 2
    return 10 * np.log10(power.reshape(len(power), 32, 8).mean(2) + 1e-7)


def accuracy(train, labels, test, truth):
    scaler = StandardScaler().fit(train)
    model = RidgeClassifier(alpha=1).fit(scaler.transform(train), labels)
    return model.score(scaler.transform(test), truth)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo") / "set"
    write_demo_speech(root, seed=1, speakers=6, train=8, test=4)
    return root


@pytest.fixture(scope="module")
def spoken(root):
    """Band levels and labels of every utterance, by its id."""
    return {name: (spectra(samples_of(root, name)), own) for name, own in labels_of(root).items()}


@pytest.fixture(scope="module")
def by_split(root, spoken):
    """Ids and speakers of both splits."""
    names = [lines(root, f"{split}_split") for split in ("train", "test")]
    return [(own, [name.split("-")[0] for name in own]) for own in names]


def speaker_accuracy(by_split, describe):
    parts = [[describe(name) for name in names] for names, _ in by_split]
    return accuracy(parts[0], by_split[0][1], parts[1], by_split[1][1])


def test_it_is_a_folder_in_the_layout_of_librispeech(tmp_path):
    write_demo_speech(tmp_path / "a" / "set", seed=1, **SMALL)
    speech = [
        f"LibriSpeech/train-clean-100/{speaker}/{chapter}/{speaker}-{chapter}-{number:04d}.flac"
        for speaker, chapter in ((100, 10000), (107, 10100))
        for number in range(3)
    ]
    stems = ("converted_aligned_phones", "test_split", "train_split")
    lists = [f"LibriSpeech100_labels_split/{stem}.txt" for stem in stems]
    assert sorted(contents(tmp_path / "a" / "set")) == speech + lists


def test_a_seed_always_gives_the_same_bytes(tmp_path):
    for name in ("one", "same"):
        write_demo_speech(tmp_path / name, seed=1, **SMALL)
    assert contents(tmp_path / "one") == contents(tmp_path / "same")


def test_another_seed_gives_other_speech(tmp_path):
    for name, seed in (("one", 1), ("other", 2)):
        write_demo_speech(tmp_path / name, seed=seed, **SMALL)
    one, other = contents(tmp_path / "one"), contents(tmp_path / "other")
    assert one.keys() == other.keys()
    assert not [name for name in one if name.endswith(".flac") and one[name] == other[name]]


def test_each_split_has_every_speaker_as_often_as_asked(by_split):
    for (_, speakers), count in zip(by_split, (8, 4), strict=True):
        assert np.unique(speakers, return_counts=True)[1].tolist() == [count] * 6


def test_the_splits_share_no_utterance_and_leave_none_out(root, by_split):
    (train, _), (test, _) = by_split
    assert sorted(train + test) == sorted(labels_of(root))
    assert len(labels_of(root)) == 72


def test_files_are_16_khz_mono_16_bit_flac(root):
    found = [soundfile.info(path) for path in root.rglob("*.flac")]
    kinds = {(file.samplerate, file.channels, file.format, file.subtype) for file in found}
    assert len(found) == 72
    assert kinds == {(16000, 1, "FLAC", "PCM_16")}


def test_utterances_are_of_many_lengths(root):
    lengths = [len(samples_of(root, name)) for name in labels_of(root)]
    assert min(lengths) >= 32_000
    assert max(lengths) <= 56_000
    assert len({length % 160 for length in lengths}) > 20


def test_every_whole_window_has_a_label(root):
    for name, labels in labels_of(root).items():
        assert len(labels) == (len(samples_of(root, name)) - 400) // 160 + 1


def test_every_phone_is_said(root):
    said = set(np.concatenate(list(labels_of(root).values())).tolist())
    assert said == {phone.label for phone in PHONES.values()}


def test_labels_of_phones_are_distinct_and_within_41():
    labels = [phone.label for phone in PHONES.values()]
    assert len(set(labels)) == len(labels)
    assert set(labels) < set(range(41))


def test_utterances_begin_and_end_in_silence(root):
    assert {(own[0], own[-1]) for own in labels_of(root).values()} == {(0, 0)}


def test_phones_last_40_to_160_ms(root):
    lasting = []
    for labels in labels_of(root).values():
        starts = np.flatnonzero(np.diff(labels)) + 1
        lasting += [stop - start for start, stop in pairwise(starts)]
    assert min(lasting) >= 4
    assert np.quantile(lasting, 0.99) <= 16  # a word may end with the phone that begins the next


def test_vowels_are_louder_than_silence(spoken):
    for levels, labels in spoken.values():
        loud = levels.max(1)
        assert np.median(loud[np.isin(labels, VOWELS)]) > np.median(loud[labels == 0]) + 15


def test_hiss_is_higher_than_a_vowel(spoken):
    levels = np.concatenate([levels for levels, _ in spoken.values()])
    labels = np.concatenate([labels for _, labels in spoken.values()])
    balance = levels[:, 16:].mean(1) - levels[:, :4].mean(1)
    means = {name: balance[labels == PHONES[name].label].mean() for name in ("S", "Z", "AA")}
    assert means["S"] > means["Z"] > means["AA"]


def test_labels_stand_where_the_sound_changes(spoken):
    shifts = range(-4, 5)
    contrast = []
    for shift in shifts:
        apart = []
        for levels, labels in spoken.values():
            loud, vowel = levels.max(1), np.isin(np.roll(labels, shift), VOWELS)
            apart.append(loud[vowel].mean() - loud[~vowel].mean())
        contrast.append(np.mean(apart))
    assert shifts[int(np.argmax(contrast))] == 0


def test_a_higher_voice_has_the_higher_pitch():
    speakers = sorted(draw_speakers(1, 6), key=lambda speaker: speaker.pitch)
    assert octaves_of(speakers[-1]) > octaves_of(speakers[0]) + 0.4


def octaves_of(speaker):
    """Mean pitch of the vowels of some utterances, from the peak of their autocorrelation."""
    found = []
    for number in range(8):
        samples, labels = draw_utterance(np.random.default_rng(number), speaker)
        windows = np.lib.stride_tricks.sliding_window_view(samples / 32768, 800)[::160]
        windows = windows[np.isin(labels[: len(windows)], VOWELS)]
        power = np.abs(np.fft.rfft(windows, 2048)) ** 2
        lag = 40 + np.fft.irfft(power)[:, 40:300].argmax(1)
        found.append(np.median(np.log2(16000 / lag)))
    return np.mean(found)


def test_speakers_are_spread_over_the_range_of_every_trait():
    traits = np.array([speaker[:6] for speaker in draw_speakers(1, 8)])
    spread = np.sort(traits, axis=0)
    assert (np.diff(spread[::2], axis=0) > 0.1 * np.ptp(traits, axis=0)).all()


def test_the_mean_spectrum_tells_speakers_apart(by_split, spoken):
    assert speaker_accuracy(by_split, lambda name: spoken[name][0].mean(0)) > 0.7


def test_no_band_tells_the_speaker(by_split, spoken):
    bands = [
        speaker_accuracy(by_split, lambda name, band=band: spoken[name][0][:, [band]].mean(0))
        for band in range(32)
    ]
    assert max(bands) < 0.5


def test_raw_samples_say_little_of_the_speaker(root, by_split):
    assert speaker_accuracy(by_split, lambda name: samples_of(root, name)[16000:18000]) < 0.4


def test_a_window_tells_phones_far_above_chance_but_not_all(spoken, by_split):
    train, labels, test, truth = (
        np.concatenate([spoken[name][kind] for name in names])
        for names, _ in by_split
        for kind in (0, 1)
    )
    assert 0.4 < accuracy(train, labels, test, truth) < 0.75


def test_what_was_said_tells_what_comes_next(root):
    pairs = np.zeros((41, 41))
    for labels in labels_of(root).values():
        said = labels[np.flatnonzero(np.diff(labels, prepend=-1))]
        np.add.at(pairs, (said[:-1], said[1:]), 1)
    blind, told = pairs.sum(0).max() / pairs.sum(), pairs.max(1).sum() / pairs.sum()
    assert told > 3 * blind


def test_an_empty_folder_is_filled(tmp_path):
    write_demo_speech(tmp_path, seed=1, **SMALL)
    assert len(contents(tmp_path)) == 9


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine").write_bytes(b"mine")
    assert refusal(tmp_path) == (
        f"{tmp_path}: it holds something already; expected a new folder; remove it first"
    )
    assert contents(tmp_path) == {"mine": b"mine"}


@pytest.mark.parametrize("name", ["speakers", "train", "test"])
def test_a_count_below_one_is_refused(tmp_path, name):
    message = f"'{name}': 0; expected at least 1; ask for more"
    assert refusal(tmp_path / "set", **{name: 0}) == message


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    usage = namedtuple("usage", "total used free")(2 * 10**9, 10**9, 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    monkeypatch.setattr("gimstage.data.demo_speech.draw_utterance", full)
    assert refusal(tmp_path / "set") == (
        f"{tmp_path / 'set'}: it cannot be written (No space left on device); "
        "nothing written is lost: make room (1,000,000,000 bytes are free), "
        "then run the same command again"
    )
    assert not list(tmp_path.iterdir())


def test_more_utterances_than_anybody_can_mean_are_refused(tmp_path):
    with pytest.raises(DataError) as info:
        write_demo_speech(tmp_path / "set", seed=1, speakers=1000, train=100, test=100)
    assert str(info.value) == (
        f"{tmp_path}/set: 200,000 utterances; expected at most 100,000; ask for fewer"
    )


def test_utterances_are_as_long_as_asked_and_planned_before_they_are_written(tmp_path):
    counts = {"seed": 1, "speakers": 2, "train": 1, "test": 1, "seconds": (7.0, 9.0)}
    planned = PlannedSpeech(tmp_path, "train", **counts)
    write_demo_speech(tmp_path / "set", **counts)
    written = open_split(tmp_path / "set", "train")
    assert planned.samples.tolist() == written.samples.tolist()
    assert all(7 * 16_000 <= samples <= 9 * 16_000 for samples in written.samples)
    for index, labels in written.phones().items():
        assert np.array_equal(labels, planned.phones()[index])
