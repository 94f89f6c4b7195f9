"""Folders, lists and audio files of LibriSpeech's layout that are refused."""

import os

import numpy as np
import pytest
import soundfile
from helpers.sounds import place, refusal, tone, write

from gimstage.data.librispeech import open_split


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
    assert refusal(split.read, index, start, np.empty((100, 1), np.float32)) == (
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
        f"{root / 'lists' / left}_split.txt: the other list, {gone}_split.txt, is missing; "
        "expected both or neither; add the other, or remove this one to have the utterances divided"
    )


def test_an_empty_list_is_refused(root, train_list):
    train_list.write_text("\n \n")
    assert refusal(open_split, root, "test") == (
        f"{train_list}: it names no utterance; expected one id per line; "
        "restore the file from its source"
    )


def test_ids_without_a_file_are_counted_and_the_first_is_named(root, train_list):
    train_list.write_text("19-2-0000\n5-5-5555\n5-5-5556\n84-1-0000\n")
    assert refusal(open_split, root, "train") == (
        f"{train_list}: ids without an audio file: 2 of 4, first '5-5-5555'; "
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
        f"{path}: it is a RIFF file, as .wav are; expected a FLAC file, as its name says; "
        "convert it, or move it away"
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
    out = np.empty((split.samples[0], 1), np.float32)
    assert refusal(split.read, 0, 0, out) == (
        f"{path}: its sound is cut short or damaged; "
        "expected every sample its header counts; restore the file from its source"
    )


def test_a_crop_beyond_the_cut_is_refused(root):
    path = write(root, "84-1-0000", np.random.default_rng(1).uniform(-0.5, 0.5, 20_000))
    path.write_bytes(path.read_bytes()[:20_000])
    split = open_split(root, "train")
    assert refusal(split.read, 0, 19_000, np.empty((1_000, 1), np.float32)) == (
        f"{path}: its sound is cut short or damaged; "
        "expected every sample its header counts; restore the file from its source"
    )


def test_audio_that_vanished_since_is_refused(root):
    split = open_split(root, "train")
    split.utterances[0].path.unlink()
    assert refusal(split.read, 0, 0, np.empty((10, 1), np.float32)) == (
        f"{split.utterances[0].path}: there is no such file or folder; "
        "check the path of the data set, or fetch the set again"
    )
