"""Digests of files, the memo that spares reading them again, and folders that appear whole."""

import hashlib
import json
import os

import pytest

from gimstage.data.files import digests, new_folder
from gimstage.errors import DataError


@pytest.fixture
def big(tmp_path):
    path = tmp_path / "big.bin"
    path.write_bytes(b"abc")
    return path


@pytest.fixture
def memo(tmp_path):
    return tmp_path / "runs" / "digests.json"


ABC = hashlib.sha256(b"abc").hexdigest()


def test_a_digest_is_the_sha256_of_the_content(big, memo):
    assert digests([big], memo) == [ABC]


def test_a_file_of_the_same_size_and_time_is_not_read_again(big, memo):
    digests([big], memo)
    stat = big.stat()
    big.write_bytes(b"xyz")
    os.utime(big, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert digests([big], memo) == [ABC]


def test_a_file_of_another_time_is_read_again(big, memo):
    digests([big], memo)
    big.write_bytes(b"xyz")
    os.utime(big, ns=(1, 1))
    assert digests([big], memo) == [hashlib.sha256(b"xyz").hexdigest()]


def test_the_memo_is_plain_json_by_path(big, memo):
    digests([big], memo)
    assert json.loads(memo.read_text()) == {str(big): [3, big.stat().st_mtime_ns, ABC]}


def test_other_files_stay_in_the_memo(big, memo):
    other = big.with_name("other.bin")
    other.write_bytes(b"")
    digests([other], memo)
    digests([big], memo)
    assert set(json.loads(memo.read_text())) == {str(big), str(other)}


@pytest.mark.parametrize("junk", [b"", b"{", b"\xff", b"[]", b'{"a": 1}', b'{"a": [1, "x", "y"]}'])
def test_a_memo_that_cannot_be_understood_is_built_anew(big, memo, junk):
    memo.parent.mkdir()
    memo.write_bytes(junk)
    assert digests([big], memo) == [ABC]
    assert list(json.loads(memo.read_text())) == [str(big)]


def test_a_memo_that_fails_to_be_written_leaves_the_old_one(big, memo, monkeypatch):
    digests([big], memo)
    before = memo.read_bytes()
    monkeypatch.setattr("gimstage.data.files.json.dump", _full_disk)
    os.utime(big, ns=(1, 1))
    assert digests([big], memo) == [ABC]
    assert (memo.read_bytes(), os.listdir(memo.parent)) == (before, [memo.name])


def test_a_memo_that_fails_to_be_written_is_logged(big, memo, monkeypatch, caplog):
    monkeypatch.setattr("gimstage.data.files.json.dump", _full_disk)
    digests([big], memo)
    assert caplog.messages == [
        f"{memo} cannot be written (No space left on device): files will be read again"
    ]


def test_a_missing_file_has_no_digest(big, memo):
    big.unlink()
    with pytest.raises(DataError) as info:
        digests([big], memo)
    assert str(info.value) == (
        f"{big}: there is no such file or folder; "
        "check the path of the data set, or fetch the set again"
    )


def _full_disk(*_args, **_kwargs):
    raise OSError(28, "No space left on device")


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
