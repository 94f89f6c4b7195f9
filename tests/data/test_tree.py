"""Folders of speech as people have them: what is taken of them, what is left, and why."""

import os
import shutil
from collections import Counter

import pytest
import soundfile
from helpers.sounds import TEST, TRAIN, place, refusal, tone, write

from gimstage.data import stl10
from gimstage.data.librispeech import files, look_at, open_split
from gimstage.errors import DataError, NoLabelsError

CLEAN = "LibriSpeech/train-clean-100"


def as_sound(path, ending):
    sound, rate = soundfile.read(path)
    soundfile.write(path.with_suffix(ending), sound, rate, format=ending.strip(".").upper())
    path.unlink()


def test_files_are_counted_by_folder(root):
    write(root / "more", "7-1-0000", tone(800))
    tree = look_at(root)
    assert tree.taken == {CLEAN: 6, f"more/{CLEAN}": 1}
    assert not tree.left


def test_sound_of_other_endings_is_counted_and_left(root):
    for number, name in enumerate(("a.wav", "b.WAV", "c.mp3", "d.opus", "e.txt", "f.jpg")):
        (place(root, TRAIN[0]).parent / name).write_bytes(b"x" * number)
    left = {(CLEAN, ".wav, not .flac"): 2, (CLEAN, ".mp3, not .flac"): 1}
    assert look_at(root).left == Counter({**left, (CLEAN, ".opus, not .flac"): 1})


def test_endings_in_capitals_are_taken(root):
    before = files(root, "train")
    for path in root.rglob("*.flac"):
        path.rename(path.with_suffix(".FLAC"))
    after = files(root, "train")
    assert list(after) == list(before)
    assert [path.suffix for path in after.values()] == [".FLAC"] * len(TRAIN)


def test_what_macos_leaves_is_skipped_and_counted(root):
    path = place(root, TRAIN[0])
    for name in ("._" + path.name, "._x.wav"):
        (path.parent / name).write_bytes(b"\0\5\x16\7")
    assert look_at(root).left == {(CLEAN, "._* of macOS"): 2}
    assert len(open_split(root, "train")) == len(TRAIN)


def test_subsets_are_chosen_by_the_name_of_their_folder(unlisted):
    clean = unlisted / CLEAN
    other = clean.with_name("test-clean")
    other.mkdir()
    (clean / "7").rename(other / "7")
    tree = look_at(unlisted, ["train-clean-100"])
    assert tree.taken == {CLEAN: 6}
    assert tree.left == {("LibriSpeech/test-clean", "not in subsets"): 10}
    assert set(look_at(unlisted, ["LibriSpeech/test-clean"]).taken) == {"LibriSpeech/test-clean"}
    assert set(files(unlisted, "train", ["test-clean"])) < {f"7-1-{n:04}" for n in range(10)}


def test_an_unknown_subset_is_refused_with_the_nearest(root):
    assert refusal(look_at, root, ["train-clean-10"]) == (
        f"{root}: no folder 'train-clean-10' of speakers, which subsets in data.toml names; "
        "expected train-clean-100; did you mean 'train-clean-100'?"
    )


def test_a_tree_without_flac_says_what_it_has_instead(root):
    for path in list(root.rglob("*.flac")):
        as_sound(path, ".wav")
    assert refusal(open_split, root, "train") == (
        f"{root}: 6 .wav files, no .flac; expected SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE.flac; "
        f"`gimstage init mine --data {root}` writes a recipe for it"
    )


def test_a_tree_that_is_a_link_is_refused_with_where_it_leads(root, tmp_path):
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "LibriSpeech").symlink_to(root / "LibriSpeech")
    assert refusal(open_split, linked, "train") == (
        f"{linked}: no .flac file lies below it, but LibriSpeech is a link to a folder; "
        "expected SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE.flac, in folders that are no links; "
        f"give the folder itself: {root / 'LibriSpeech'}"
    )


FORMS = {
    "with a byte-order mark": b"\xef\xbb\xbf%s\n",
    "with endings": b"%s.flac\n",
    "with endings in capitals": b"%s.WAV\n",
    "as paths": b"train-clean-100/84/1/%s.flac\n",
    "as paths of Windows": b"C:\\speech\\%s.flac\r\n",
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_ids_are_read_however_lists_write_them(root, train_list, form):
    before = files(root, "train")
    mark = form[:3] if form.startswith(b"\xef") else b""
    lines = b"".join(form.removeprefix(mark) % id_.encode() for id_ in TRAIN)
    train_list.write_bytes(mark + lines)
    assert files(root, "train") == before


def test_a_list_whose_files_are_of_other_endings_says_how_many_there_are(root, train_list):
    as_sound(place(root, TRAIN[0]), ".wav")
    assert refusal(open_split, root, "train") == (
        f"{train_list}: ids without an audio file: 1 of 4, first '{TRAIN[0]}'; "
        f"expected a .flac file below {root} for each; "
        "fetch the files that are missing, or take the ids off the list; "
        f"left in {CLEAN}: 1 .wav, not .flac"
    )


def test_where_most_ids_miss_it_is_said_what_an_id_looks_like(root, train_list):
    train_list.write_text("19\u200b_2_0\n84-1-0000\n19_2_1\n")
    assert refusal(open_split, root, "train") == (
        f"{train_list}: ids without an audio file: 2 of 3, first '19\\u200b_2_0'; expected ids of "
        f"files below {root}, such as '19-2-0000'; "
        "write one id per line, as the files are called, or fetch the files"
    )


def test_a_list_of_nearly_the_right_name_is_hinted_at(root, train_list):
    val = train_list.with_name("val_split.txt")
    train_list.with_name("test_split.txt").rename(val)
    assert refusal(open_split, root, "train") == (
        f"{train_list}: the other list, test_split.txt, is missing; expected both or neither; "
        f"if val_split.txt is that list, `mv {val} {val.with_name('test_split.txt')}`"
    )


def test_phone_labels_of_nearly_the_right_name_are_hinted_at(root, phone_file):
    like = phone_file.rename(phone_file.with_name("converted_aligned_phone.txt"))
    with pytest.raises(NoLabelsError) as info:
        open_split(root, "train").phones()
    assert str(info.value) == (
        f"{root}: no utterance of the split 'train' has phone labels, but there is {like.name}; "
        "expected a line for at least one of them in converted_aligned_phones.txt; "
        f"if it holds them, `mv {like} {phone_file}`"
    )


def test_flac_behind_an_id3_tag_is_read(root):
    plain = open_split(root, "test")
    path = place(root, TEST[0])
    path.write_bytes(b"ID3\x03\0\0\0\0\0\x0a" + bytes(10) + path.read_bytes())
    tagged = open_split(root, "test")
    assert tagged.utterances == plain.utterances


IMPOSTORS = {
    b"OggS" + bytes(60): ("it is an Ogg file", "convert it, or move it away"),
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n": (
        "it is a pointer of git-lfs",
        "run `git lfs pull` where it lies",
    ),
}


@pytest.mark.parametrize(("content", "told"), IMPOSTORS.items(), ids=["ogg", "lfs"])
def test_other_files_under_the_name_of_flac_are_named(root, content, told):
    path = place(root, TRAIN[0])
    path.write_bytes(content)
    assert refusal(open_split, root, "train") == (
        f"{path}: {told[0]}; expected a FLAC file, as its name says; {told[1]}"
    )


@pytest.mark.parametrize("name", ["train_split.txt", "converted_aligned_phones.txt"])
def test_a_pipe_in_place_of_a_text_is_refused(root, phone_file, name):
    path = phone_file.with_name(name)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match=r"it is no regular file; expected a file"):
        open_split(root, "train").phones()


def test_a_tree_may_be_read_from_any_folder_above_its_speakers(root, tmp_path):
    copy = shutil.copytree(root / "LibriSpeech", tmp_path / "copy")
    assert set(look_at(copy).taken) == {"train-clean-100"}
    assert set(look_at(copy / "train-clean-100").taken) == {"."}


def test_images_are_no_speech_and_a_recipe_for_them_is_named(tmp_path):
    (tmp_path / "train_X.bin").touch()
    assert refusal(open_split, tmp_path, "train") == (
        f"{tmp_path}: images: 1 .bin file; expected speech; "
        f"give other data; `gimstage init mine --data {tmp_path}` writes a recipe for it"
    )


def test_speech_is_no_images_and_a_recipe_for_it_is_named(root):
    assert refusal(stl10.open_split, root, "train") == (
        f"{root}: speech: 6 .flac files, 2 .txt files; expected images; "
        f"give other data; `gimstage init mine --data {root}` writes a recipe for it"
    )
