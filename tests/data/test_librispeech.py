"""Speech in LibriSpeech's layout: reading, split lists, phone labels, fingerprints, refusals."""

import logging
import os
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile

from gimstage.data.librispeech import (
    fingerprint,
    num_labels,
    open_split,
    phones_fingerprint,
    refuse_unseen_speakers,
)
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


def warnings(caplog):
    return [record.getMessage() for record in caplog.records]


@pytest.fixture
def sounds():
    """What every file holds, 16-bit steps on the scale -1 … 1."""
    rng = np.random.default_rng(0)
    return {
        id_: rng.integers(-(2**15), 2**15, SAMPLES).astype(np.float32) / 2**15
        for id_ in TRAIN + TEST
    }


@pytest.fixture
def root(tmp_path, sounds):
    """A folder of six utterances, its lists beside the audio; no phone labels."""
    root = tmp_path / "set"
    for id_, sound in sounds.items():
        write(root, id_, sound)
    (root / "lists").mkdir()
    for name, ids in (("train", TRAIN), ("test", TEST)):
        (root / "lists" / f"{name}_split.txt").write_text("\n".join(ids) + "\n")
    return root


@pytest.fixture
def train_list(root):
    return root / "lists" / "train_split.txt"


@pytest.fixture
def phone_file(root):
    """Labels 0 1 2 … for two utterances of train."""
    path = root / "lists" / "converted_aligned_phones.txt"
    labels = " ".join(map(str, range(LABELS)))
    path.write_text(f"84-1-0001 {labels}\n19-2-0000 {labels}\n")
    return path


@pytest.fixture
def unlisted(root):
    """The folder without its lists, and ten utterances more of one speaker."""
    for name in ("train", "test"):
        (root / "lists" / f"{name}_split.txt").unlink()
    for number in range(10):
        write(root, f"7-1-{number:04}", tone(800))
    return root


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
    out = np.empty(count, np.float32)
    open_split(root, "test").read(1, start, out)
    assert np.array_equal(out, sounds["84-1-0002"][start : start + count])


def test_a_crop_can_fill_a_row_of_a_batch(root, sounds):
    batch = np.zeros((3, 100, 2), np.float32)
    open_split(root, "train").read(0, 50, batch[1, :, 0])
    assert np.array_equal(batch[1, :, 0], sounds["84-1-0000"][50:150])
    assert batch.sum() == pytest.approx(batch[1, :, 0].sum())


def test_threads_read_at_once(root, sounds):
    split = open_split(root, "train")

    def crop(number):
        out = np.empty(500, np.float32)
        split.read(number % 4, number, out)
        return np.array_equal(out, sounds[TRAIN[number % 4]][number : number + 500])

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
    split.read(0, 0, np.empty(expected, np.float32))


def test_a_resampled_tone_is_the_same_tone(root):
    write(root, "84-1-0000", tone(22_050, 22_050), 22_050)
    out = np.empty(8_000, np.float32)
    open_split(root, "train").read(0, 4_000, out)
    np.testing.assert_allclose(out, tone(16_000)[4_000:12_000], atol=2e-3)


def test_no_sample_is_lost_of_a_file_too_long_for_float32(root):
    count = 5_000_003
    write(root, "84-1-0000", np.zeros(count, np.int16), 22_050)
    split = open_split(root, "train")
    split.read(0, int(split.samples[0]) - 1, np.empty(1, np.float32))
    assert split.samples[0] == -(-count * 16_000 // 22_050)


def test_a_resampled_file_is_decoded_once_for_several_crops(root, monkeypatch):
    write(root, "84-1-0000", tone(8_000, 8_000), 8_000)
    split, opened = open_split(root, "train"), []
    real = soundfile.SoundFile
    monkeypatch.setattr(soundfile, "SoundFile", lambda path: opened.append(path) or real(path))
    for start in range(0, 1600, 160):
        split.read(0, start, np.empty(160, np.float32))
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


@pytest.mark.parametrize(
    ("samples", "labels"),
    [(0, 0), (239, 0), (399, 0), (400, 1), (559, 1), (560, 2), (81_520, 508), (179_360, 1119)],
)
def test_there_is_a_label_per_10_ms_that_25_ms_fit(samples, labels):
    assert num_labels(samples) == labels


def test_phone_labels_come_by_index_in_the_split(root, phone_file):
    split = open_split(root, "train")
    phones = split.phones()
    assert split.phone_file == phone_file
    assert sorted(phones) == [1, 2]
    assert phones[2].dtype == np.int64
    assert phones[2].tolist() == list(range(LABELS))


def test_phone_labels_may_be_set_apart_by_any_space(root, phone_file):
    phone_file.write_text("\n84-1-0001\t" + "  ".join(["40"] * LABELS) + " \r\n\n")
    assert open_split(root, "train").phones()[1].tolist() == [40] * LABELS


def test_an_utterance_too_short_for_a_label_may_have_none(root, phone_file):
    write(root, "84-1-0001", tone(399))
    phone_file.write_text("84-1-0001\n")
    assert open_split(root, "train").phones()[1].shape == (0,)


def test_labels_of_files_in_neither_split_are_passed_over(root, phone_file):
    write(root, "84-9-0000", tone(800))
    with phone_file.open("a") as file:
        file.write("84-9-0000 whatever it is\n")
    assert sorted(open_split(root, "train").phones()) == [1, 2]


def test_phone_labels_that_may_be_absent_are_no_refusal(root):
    assert open_split(root, "train").phones_if_any() == {}


def test_without_a_label_file_phones_are_refused(root):
    assert refusal(open_split(root, "train").phones) == (
        f"{root}: no utterance of the split 'train' has phone labels; expected a line for at least "
        "one of them in converted_aligned_phones.txt; add the file, or the lines that are missing"
    )


def test_a_split_that_no_label_is_for_is_refused(root, phone_file):
    assert refusal(open_split(root, "test").phones) == (
        f"{phone_file}: no utterance of the split 'test' has phone labels; expected a line for at "
        "least one of them in converted_aligned_phones.txt; "
        "add the file, or the lines that are missing"
    )


@pytest.mark.parametrize("label", ["41", "-1", "x", "1.5", "007", "\N{MIDDLE DOT}"])
def test_a_label_that_is_no_phone_is_refused(root, phone_file, label):
    phone_file.write_text(f"84-1-0001 0 0 {label}" + " 0" * 20)
    assert refusal(open_split(root, "train").phones) == (
        f"{phone_file}, line 1: label 3 is '{label}'; expected integers 0 to 40; "
        "restore the file from its source"
    )


@pytest.mark.parametrize("count", [0, LABELS - 1, LABELS + 1])
def test_a_wrong_number_of_labels_is_refused(root, phone_file, count):
    with phone_file.open("a") as file:
        file.write("84-1-0000" + " 0" * count)
    assert refusal(open_split(root, "train").phones) == (
        f"{phone_file}, line 3: {count} labels for the 4,000 samples of '84-1-0000'; "
        "expected 23, one per 10 ms; restore the file from its source"
    )


def test_labels_without_audio_are_refused(root, phone_file):
    with phone_file.open("a") as file:
        file.write("\n5-5-5555 0 0 0\n")
    assert refusal(open_split(root, "test").phones) == (
        f"{phone_file}, line 4: '5-5-5555' has no audio file; "
        f"expected a .flac file below {root}; remove the line, or fetch the file"
    )


def test_an_utterance_labelled_twice_is_refused(root, phone_file):
    phone_file.write_text(phone_file.read_text() * 2)
    assert refusal(open_split(root, "test").phones) == (
        f"{phone_file}, line 3: '84-1-0001' is on {phone_file}, line 1 too; "
        "expected every id once; remove one of the two"
    )


def test_speakers_that_train_has_are_accepted(root):
    train, test = open_split(root, "train"), open_split(root, "test")
    refuse_unseen_speakers(root, train.utterances, test.utterances)


def test_speakers_that_train_never_saw_are_refused(root, train_list):
    train_list.write_text("19-2-0000\n")
    train, test = open_split(root, "train"), open_split(root, "test")
    assert refusal(refuse_unseen_speakers, root, train.utterances, test.utterances) == (
        f"{root}: speakers of 'test' that 'train' lacks: 1, first '84'; expected every speaker of "
        "'test' in 'train' too; move some of their utterances to train_split.txt"
    )


def test_an_unknown_split_is_refused_with_the_nearest_name(root):
    message = refusal(open_split, root, "trian")
    assert message == f"{root}: there is no split 'trian'; did you mean 'train'?"


@pytest.mark.parametrize(
    ("index", "start", "message"),
    [
        (6, 0, "{root}, split 'test': utterance 6; expected 0 to 1"),
        (-1, 0, "{root}, split 'test': utterance -1; expected 0 to 1"),
        (1, -1, "{path}: samples -1 to 99; expected within 0 to 4,000"),
        (1, 3_901, "{path}: samples 3,901 to 4,001; expected within 0 to 4,000"),
    ],
)
def test_a_request_outside_is_refused(root, index, start, message):
    split = open_split(root, "test")
    expected = message.format(root=root, path=place(root, "84-1-0002"))
    assert refusal(split.read, index, start, np.empty(100, np.float32)) == (
        f"{expected}; correct the recipe or the caller"
    )


def test_a_missing_folder_is_refused(tmp_path):
    assert refusal(open_split, tmp_path / "nowhere", "train") == (
        f"{tmp_path / 'nowhere'}: there is no such file or folder; "
        "check the path of the data set, or fetch the set again"
    )


def test_a_file_in_place_of_the_folder_is_refused(train_list):
    assert refusal(open_split, train_list, "train") == (
        f"{train_list}: it cannot be read (Not a directory); check what it is and who may read it"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_refused(root):
    (root / "lists").chmod(0)
    message = refusal(open_split, root, "train")
    (root / "lists").chmod(0o700)
    assert message == (
        f"{root / 'lists'}: it cannot be read (Permission denied); "
        "check what it is and who may read it"
    )


def test_a_folder_without_audio_is_refused(tmp_path):
    assert refusal(open_split, tmp_path, "train") == (
        f"{tmp_path}: no .flac file lies below it; expected "
        "SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE.flac, in folders that are no links; "
        "check the path of the data set, or fetch the set again"
    )


@pytest.mark.parametrize(
    "path",
    [
        "19/2/19-3-0000.flac",
        "19/2/20-2-0000.flac",
        "19/2/19-2.flac",
        "19/2/19-2-.flac",
        "19/2/19-2-0-0.flac",
        "2/19-2-0000.flac",
        "noise.flac",
    ],
)
def test_audio_out_of_place_is_refused(tmp_path, path):
    path = tmp_path / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    assert refusal(open_split, tmp_path, "train") == (
        f"{path}: its place and its name do not fit; "
        f"expected SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE.flac below {tmp_path}; "
        "rename it, or move it away"
    )


def test_the_same_utterance_in_two_places_is_refused(root):
    copy = root / "copy" / "19" / "2" / "19-2-0000.flac"
    copy.parent.mkdir(parents=True)
    copy.touch()
    second, first = sorted([copy, place(root, "19-2-0000")], reverse=True)
    assert refusal(open_split, root, "train") == (
        f"{second}: there is {first} too; expected one 19-2-0000; remove one of the two"
    )


@pytest.mark.parametrize("name", ["train_split.txt", "converted_aligned_phones.txt"])
def test_two_text_files_of_a_name_are_refused(root, phone_file, name):
    copy = root / "old" / name
    copy.parent.mkdir()
    copy.touch()
    assert refusal(open_split, root, "train") == (
        f"{copy}: there is {root / 'lists' / name} too; expected one {name}; remove one of the two"
    )


@pytest.mark.parametrize(("gone", "left"), [("train", "test"), ("test", "train")])
def test_one_list_alone_is_refused(root, gone, left):
    (root / "lists" / f"{gone}_split.txt").unlink()
    assert refusal(open_split, root, left) == (
        f"{root / 'lists' / left}_split.txt: the other list is missing; expected both or neither; "
        "add the other, or remove this one to have the utterances divided"
    )


def test_an_empty_list_is_refused(root, train_list):
    train_list.write_text("\n \n")
    assert refusal(open_split, root, "test") == (
        f"{train_list}: it names no utterance; expected one id per line; "
        "restore the file from its source"
    )


def test_ids_without_a_file_are_counted_and_the_first_is_named(root, train_list):
    train_list.write_text("19-2-0000\n5-5-5555\n5-5-5556\n")
    assert refusal(open_split, root, "train") == (
        f"{train_list}: ids without an audio file: 2 of 3, first '5-5-5555'; "
        f"expected a .flac file below {root} for each; "
        "fetch the files that are missing, or take the ids off the list"
    )


def test_an_id_twice_on_a_list_is_refused(root, train_list):
    train_list.write_text("19-2-0000\n\n84-1-0000\n19-2-0000\n")
    assert refusal(open_split, root, "train") == (
        f"{train_list}, line 4: '19-2-0000' is on {train_list}, line 1 too; "
        "expected every id once; remove one of the two"
    )


def test_an_id_on_both_lists_is_refused(root, train_list):
    test_list = root / "lists" / "test_split.txt"
    test_list.write_text("19-3-0000\n19-2-0001\n")
    assert refusal(open_split, root, "train") == (
        f"{test_list}, line 2: '19-2-0001' is on {train_list}, line 4 too; "
        "expected every id once; remove one of the two"
    )


def test_an_empty_audio_file_is_refused(root):
    path = place(root, "84-1-0000")
    path.write_bytes(b"")
    assert refusal(open_split, root, "train") == (
        f"{path}: it is empty; expected a FLAC file; restore the file from its source"
    )


def test_a_header_without_samples_is_refused(root):
    path = place(root, "84-1-0000")
    stored = bytearray(path.read_bytes())
    stored[22:26] = bytes(4)  # the lower 32 bits of the number of samples
    path.write_bytes(stored)
    assert refusal(open_split, root, "train") == (
        f"{path}: its header counts no samples; expected at least one; "
        "restore the file from its source"
    )


def test_two_channels_are_refused(root):
    path = write(root, "84-1-0000", np.zeros((800, 2), np.int16))
    assert refusal(open_split, root, "train") == (
        f"{path}: it has 2 channels; expected 1; mix it down to one first"
    )


def test_a_rate_that_would_need_an_enormous_filter_is_refused(root):
    path = write(root, "84-1-0000", tone(800), 44_101)
    assert refusal(open_split, root, "train") == (
        f"{path}: it has 44,101 Hz; expected a multiple of 25 Hz; resample it"
    )


@pytest.mark.parametrize("head", [b"once", b"fLa", b"fLaC"])
def test_a_file_that_is_not_flac_is_refused(root, head):
    path = place(root, "84-1-0000")
    path.write_bytes(head + b" upon a time")
    assert refusal(open_split, root, "train") == (
        f"{path}: it is not FLAC; it begins with {(head + b' ')[:4]!r}; "
        "expected a whole FLAC header; convert it, or move it away"
    )


def test_a_wav_file_named_flac_is_refused(root):
    path = place(root, "84-1-0000")
    soundfile.write(path, tone(800), 16_000, format="WAV")
    assert refusal(open_split, root, "train") == (
        f"{path}: it is not FLAC; it begins with b'RIFF'; "
        "expected a whole FLAC header; convert it, or move it away"
    )


def test_audio_that_cannot_be_opened_is_refused(root):
    path = place(root, "84-1-0000")
    path.unlink()
    path.symlink_to("nowhere")
    assert refusal(open_split, root, "train") == (
        f"{path}: there is no such file or folder; "
        "check the path of the data set, or fetch the set again"
    )


@pytest.mark.parametrize("rate_hz", [16_000, 8_000])
@pytest.mark.parametrize("kept", [0.99, 0.5, 0.1])
def test_a_truncated_file_is_opened_but_refused_when_read_to_its_end(root, rate_hz, kept):
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, 20_000)
    path = write(root, "84-1-0000", noise, rate_hz)
    stored = path.read_bytes()
    path.write_bytes(stored[: int(len(stored) * kept)])
    split = open_split(root, "train")
    out = np.empty(split.samples[0], np.float32)
    assert refusal(split.read, 0, 0, out) == (
        f"{path}: its sound is cut short or damaged; "
        "expected every sample its header counts; restore the file from its source"
    )


def test_a_crop_beyond_the_cut_is_refused(root):
    path = write(root, "84-1-0000", np.random.default_rng(1).uniform(-0.5, 0.5, 20_000))
    path.write_bytes(path.read_bytes()[:20_000])
    split = open_split(root, "train")
    assert refusal(split.read, 0, 19_000, np.empty(1_000, np.float32)) == (
        f"{path}: its sound is cut short or damaged; "
        "expected every sample its header counts; restore the file from its source"
    )


def test_audio_that_vanished_since_is_refused(root):
    split = open_split(root, "train")
    split.utterances[0].path.unlink()
    assert refusal(split.read, 0, 0, np.empty(10, np.float32)) == (
        f"{split.utterances[0].path}: there is no such file or folder; "
        "check the path of the data set, or fetch the set again"
    )


def test_the_fingerprint_does_not_depend_on_place_or_time(tmp_path, root):
    memo = tmp_path / "memo.json"
    before = fingerprint(root, "train", memo)
    os.utime(place(root, "84-1-0000"), ns=(1, 1))
    assert fingerprint(root.rename(tmp_path / "elsewhere"), "train", memo) == before


def test_the_fingerprint_depends_on_the_audio(tmp_path, root):
    before = fingerprint(root, "train", tmp_path / "memo.json")
    write(root, "84-1-0000", tone(SAMPLES))
    assert fingerprint(root, "train", tmp_path / "memo.json") != before


def test_the_fingerprint_depends_on_the_order_of_the_list(tmp_path, root, train_list):
    before = fingerprint(root, "train", tmp_path / "memo.json")
    train_list.write_text("\n".join(TRAIN[::-1]))
    assert fingerprint(root, "train", tmp_path / "memo.json") != before


def test_the_fingerprint_depends_on_who_speaks(tmp_path, root, train_list):
    write(root, "84-1-0001", tone(SAMPLES))
    write(root, "19-2-0001", tone(SAMPLES))
    train_list.write_text("84-1-0001")
    before = fingerprint(root, "train", tmp_path / "memo.json")
    train_list.write_text("19-2-0001")
    assert fingerprint(root, "train", tmp_path / "memo.json") != before


def test_other_utterances_and_phones_do_not_touch_the_fingerprint(tmp_path, root):
    before = fingerprint(root, "train", tmp_path / "memo.json")
    write(root, "19-3-0000", tone(SAMPLES))
    (root / "converted_aligned_phones.txt").write_text("")
    assert fingerprint(root, "train", tmp_path / "memo.json") == before


def test_a_fingerprint_says_nothing_aloud(tmp_path, unlisted, caplog):
    fingerprint(unlisted, "train", tmp_path / "memo.json")
    assert warnings(caplog) == []


def test_the_fingerprint_of_an_unknown_split_is_refused(tmp_path, root):
    message = refusal(fingerprint, root, "val", tmp_path / "memo.json")
    assert message == f"{root}: there is no split 'val'; choose from: test, train"


def test_the_fingerprint_of_the_phones_is_that_of_their_file(tmp_path, root, phone_file):
    before = phones_fingerprint(root, tmp_path / "memo.json")
    moved = phone_file.rename(root / phone_file.name)
    assert phones_fingerprint(root, tmp_path / "memo.json") == before
    moved.write_text("84-1-0001 0\n")
    assert phones_fingerprint(root, tmp_path / "memo.json") != before


def test_there_is_no_fingerprint_of_phones_that_are_absent(tmp_path, root):
    assert phones_fingerprint(root, tmp_path / "memo.json") is None
