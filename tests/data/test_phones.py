"""Phone labels of LibriSpeech: one per 10 ms, read by utterance, refused where they do not fit."""

import numpy as np
import pytest
from helpers.sounds import LABELS, refusal, tone, write

from gimstage.data.librispeech import num_labels, open_split
from gimstage.data.librispeech import phone_file as find_phones


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


def test_the_file_of_the_phones_is_found_wherever_it_lies(root, phone_file):
    assert find_phones(root) == phone_file
    moved = phone_file.rename(root / phone_file.name)
    assert find_phones(root) == moved


def test_there_is_no_file_of_phones_that_are_absent(root):
    assert find_phones(root) is None
