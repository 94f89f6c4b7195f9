"""Folders that appear whole."""

import pytest

from gimstage.data.files import new_folder
from gimstage.errors import DataError


def test_a_folder_that_another_process_made_meanwhile_is_kept(tmp_path):
    root = tmp_path / "set"
    with new_folder(root) as folder:
        (folder / "file").write_bytes(b"ours")
        root.mkdir()
        (root / "file").write_bytes(b"theirs")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert (root / "file").read_bytes() == b"theirs"


def test_a_folder_that_other_files_filled_meanwhile_is_refused(tmp_path):
    root = tmp_path / "set"

    def fill():
        with new_folder(root):
            root.mkdir()
            (root / "mine").write_bytes(b"mine")

    with pytest.raises(DataError) as info:
        fill()
    assert str(info.value) == (
        f"{root}: it cannot be written (Directory not empty); "
        "check the disk's free space and who may write there"
    )
    assert [path.name for path in root.iterdir()] == ["mine"]
