"""What kind of data lies in a folder."""

from pathlib import Path

import pytest

from gimstage.data.demo import write_demo
from gimstage.data.demo_speech import write_demo_speech
from gimstage.data.kinds import data_folders, data_kind, described


def test_data_is_known_by_the_files_of_its_layout(tmp_path: Path) -> None:
    write_demo(tmp_path / "images", unlabeled=1, train=1, test=1, seed=1)
    write_demo_speech(tmp_path / "speech", speakers=2, train=1, test=1, seed=1)
    kinds = [data_kind(tmp_path / name) for name in ("images", "speech", "nowhere")]
    assert kinds == ["images", "speech", None]


def test_images_begin_where_their_files_lie() -> None:
    assert data_folders(Path("/data/stl10/train_X.bin")) == [Path("/data/stl10")]


def test_speech_begins_somewhere_above_the_chapters() -> None:
    file = Path("/data/LibriSpeech/train-clean-100/19/198/19-198-0000.flac")
    folders = ["/data/LibriSpeech/train-clean-100", "/data/LibriSpeech", "/data"]
    assert data_folders(file) == [Path(folder) for folder in folders]


def test_a_file_near_the_root_has_fewer_folders_above_it() -> None:
    assert data_folders(Path("/19/198/19-198-0000.flac")) == [Path("/")]


def test_other_files_belong_to_no_data() -> None:
    assert data_folders(Path("/data/notes.txt")) == []


@pytest.mark.parametrize("name", ["a.wav", "deep/er/b.FLAC", "c.Opus", "lists/train_split.txt"])
def test_sound_of_any_ending_and_its_lists_are_speech(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    assert data_kind(tmp_path) == "speech"


def test_what_a_folder_holds_is_told_by_endings(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.JPG", "c.txt", "._d.jpg", "Makefile"):
        (tmp_path / name).touch()
    assert described(tmp_path) == "2 .jpg files, 2 other files, 1 .txt file"
    assert described(tmp_path / "nowhere") == "no file at all"
