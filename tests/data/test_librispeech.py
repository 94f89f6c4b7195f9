"""Speech in LibriSpeech's layout: what a split holds, and what is read of it."""

import logging
import os
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
from helpers.digests import fingerprint
from helpers.sounds import SAMPLES, TRAIN, place, refusal, tone, write

from gimstage.data.librispeech import files, open_split


def warnings(caplog):
    return [record.getMessage() for record in caplog.records]


def test_utterances_stand_in_the_order_of_the_list(root):
    split = open_split(root, "train")
    assert [utterance.id for utterance in split.utterances] == TRAIN
    assert (split.name, len(split)) == ("train", 4)


def test_an_utterance_says_what_its_file_is(root):
    utterance = open_split(root, "test").utterances[1]
    assert (utterance.id, utterance.speaker) == ("84-1-0002", "84")
    assert (utterance.samples, utterance.rate_hz) == (SAMPLES, 16_000)
    assert utterance.path == place(root, "84-1-0002")


def test_samples_are_counted_per_utterance(root):
    write(root, "19-2-0000", tone(801))
    samples = open_split(root, "train").samples
    assert samples.dtype == np.int64
    assert samples.tolist() == [SAMPLES, SAMPLES, 801, SAMPLES]


def test_speakers_are_numbered_by_number_those_of_the_test_alone_last(root):
    before = open_split(root, "train").labels.tolist()
    write(root, "5-1-0000", tone(800))
    with (root / "lists" / "test_split.txt").open("a") as file:
        file.write("5-1-0000\n")
    split = open_split(root, "train")
    assert (split.speakers, split.num_speakers) == (("19", "84", "5"), 3)
    assert split.labels.dtype == np.int64
    assert split.labels.tolist() == before == [1, 1, 0, 0]
    assert open_split(root, "test").labels[-1] == 2


def test_speakers_that_are_no_numbers_come_after_those_that_are(unlisted):
    write(unlisted, "b-1-0", tone(800))
    write(unlisted, "a-1-0", tone(800))
    assert open_split(unlisted, "train").speakers == ("7", "19", "84", "a", "b")


def test_empty_lines_in_a_list_do_not_count(root, train_list):
    train_list.write_text("\n84-1-0000\r\n\n19-2-0000")
    assert [u.id for u in open_split(root, "train").utterances] == ["84-1-0000", "19-2-0000"]


def test_files_on_no_list_are_counted_and_left_alone(root):
    write(root, "84-9-0000", tone(800))
    split = open_split(root, "train")
    assert (split.unlisted, len(split)) == (1, 4)


@pytest.mark.parametrize(("start", "count"), [(0, 4_000), (0, 1), (160, 1_280), (3_999, 1)])
def test_a_crop_is_what_was_written(root, sounds, start, count):
    out = np.empty((count, 1), np.float32)
    open_split(root, "test").read(1, start, out)
    assert np.array_equal(out[:, 0], sounds["84-1-0002"][start : start + count])


def test_a_crop_can_fill_a_row_of_a_batch(root, sounds):
    batch = np.zeros((3, 100, 2), np.float32)
    open_split(root, "train").read(0, 50, batch[1, :, :1])
    assert np.array_equal(batch[1, :, 0], sounds["84-1-0000"][50:150])
    assert batch.sum() == pytest.approx(batch[1, :, 0].sum())


def test_threads_read_at_once(root, sounds):
    split = open_split(root, "train")

    def crop(number):
        out = np.empty((500, 1), np.float32)
        split.read(number % 4, number, out)
        return np.array_equal(out[:, 0], sounds[TRAIN[number % 4]][number : number + 500])

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(crop, range(400)))


def test_an_opened_split_is_pickled_without_its_samples(root):
    stored = pickle.dumps(open_split(root, "train"))
    assert len(stored) < 1000
    assert pickle.loads(stored).utterances == open_split(root, "train").utterances


@pytest.mark.parametrize(
    ("rate_hz", "count", "expected"),
    [(8_000, 4_001, 8_002), (22_050, 4_411, 3_201), (44_100, 4_410, 1_600), (48_000, 1, 1)],
)
def test_another_rate_is_resampled_to_so_many_samples(root, rate_hz, count, expected):
    write(root, "84-1-0000", tone(count, rate_hz), rate_hz)
    split = open_split(root, "train")
    assert (split.samples[0], split.utterances[0].rate_hz) == (expected, rate_hz)
    split.read(0, 0, np.empty((expected, 1), np.float32))


def test_a_resampled_tone_is_the_same_tone(root):
    write(root, "84-1-0000", tone(22_050, 22_050), 22_050)
    out = np.empty((8_000, 1), np.float32)
    open_split(root, "train").read(0, 4_000, out)
    np.testing.assert_allclose(out[:, 0], tone(16_000)[4_000:12_000], atol=2e-3)


def test_no_sample_is_lost_of_a_file_too_long_for_float32(root):
    count = 5_000_003
    write(root, "84-1-0000", np.zeros(count, np.int16), 22_050)
    split = open_split(root, "train")
    split.read(0, int(split.samples[0]) - 1, np.empty((1, 1), np.float32))
    assert split.samples[0] == -(-count * 16_000 // 22_050)


def test_a_resampled_file_is_decoded_once_for_several_crops(root, monkeypatch):
    write(root, "84-1-0000", tone(8_000, 8_000), 8_000)
    split, opened = open_split(root, "train"), []
    real = soundfile.SoundFile
    monkeypatch.setattr(soundfile, "SoundFile", lambda path: opened.append(path) or real(path))
    for start in range(0, 1600, 160):
        split.read(0, start, np.empty((160, 1), np.float32))
    assert len(opened) == 1


def test_other_rates_are_said_aloud_once_per_split(root, caplog):
    for number, rate_hz in enumerate((8_000, 44_100, 8_000)):
        write(root, TRAIN[number], tone(4_000, rate_hz), rate_hz)
    open_split(root, "train")
    assert warnings(caplog) == [
        f"{root}, split 'train': files to resample: 2 at 8,000 Hz, 1 at 44,100 Hz"
    ]


def test_nothing_is_said_of_a_folder_as_it_should_be(root, caplog):
    open_split(root, "train")
    assert warnings(caplog) == []


def test_without_lists_a_fifth_of_each_speaker_is_tested(unlisted):
    train, test = open_split(unlisted, "train"), open_split(unlisted, "test")
    speakers = [utterance.speaker for utterance in test.utterances]
    assert sorted(speakers) == ["19", "7", "7", "84"]
    assert not {u.id for u in train.utterances} & {u.id for u in test.utterances}
    assert (len(train), train.listed) == (12, False)


def test_without_lists_a_single_utterance_is_for_training(unlisted):
    write(unlisted, "8-1-0000", tone(800))
    assert "8" not in {utterance.speaker for utterance in open_split(unlisted, "test").utterances}


def test_without_lists_another_speaker_moves_nobody(unlisted):
    before = {utterance.id for utterance in open_split(unlisted, "test").utterances}
    for number in range(5):
        write(unlisted, f"9-1-{number:04}", tone(800))
    after = {utterance.id for utterance in open_split(unlisted, "test").utterances}
    assert {id_ for id_ in after if not id_.startswith("9-")} == before


def test_the_absence_of_lists_is_said_aloud_once(unlisted, caplog):
    caplog.set_level(logging.WARNING)
    open_split(unlisted, "train")
    assert warnings(caplog) == [
        f"{unlisted}: no split lists, so a hash of the ids chose 4 of 16 utterances as test, "
        "a fifth per speaker"
    ]


def test_speakers_of_one_utterance_each_leave_nothing_to_test(tmp_path):
    write(tmp_path, "1-1-0000", tone(800))
    write(tmp_path, "2-1-0000", tone(800))
    assert len(open_split(tmp_path, "train")) == 2
    assert refusal(open_split, tmp_path, "test") == (
        f"{tmp_path}: no speaker has two utterances, so the split 'test' is empty; "
        "expected two or more of one speaker at least; "
        "add utterances, or train_split.txt and test_split.txt"
    )


def test_the_fingerprint_does_not_depend_on_place_or_time(tmp_path, root):
    before = fingerprint(files(root, "train"))
    os.utime(place(root, "84-1-0000"), ns=(1, 1))
    assert fingerprint(files(root.rename(tmp_path / "elsewhere"), "train")) == before


def test_the_fingerprint_depends_on_the_audio(root):
    before = fingerprint(files(root, "train"))
    write(root, "84-1-0000", tone(SAMPLES))
    assert fingerprint(files(root, "train")) != before


def test_the_fingerprint_depends_on_the_order_of_the_list(root, train_list):
    before = fingerprint(files(root, "train"))
    train_list.write_text("\n".join(TRAIN[::-1]))
    assert fingerprint(files(root, "train")) != before


def test_the_fingerprint_depends_on_who_speaks(root, train_list):
    write(root, "84-1-0001", tone(SAMPLES))
    write(root, "19-2-0001", tone(SAMPLES))
    train_list.write_text("84-1-0001")
    before = fingerprint(files(root, "train"))
    train_list.write_text("19-2-0001")
    assert fingerprint(files(root, "train")) != before


def test_other_utterances_and_phones_do_not_touch_the_fingerprint(root):
    before = fingerprint(files(root, "train"))
    write(root, "19-3-0000", tone(SAMPLES))
    (root / "converted_aligned_phones.txt").write_text("")
    assert fingerprint(files(root, "train")) == before


def test_a_fingerprint_says_nothing_aloud(unlisted, caplog):
    fingerprint(files(unlisted, "train"))
    assert warnings(caplog) == []


def test_the_fingerprint_of_an_unknown_split_is_refused(root):
    message = refusal(files, root, "val")
    assert message == f"{root}: there is no split 'val'; choose from: test, train"
