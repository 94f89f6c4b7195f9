"""Digests of files: remembered by size and time, never trusted before training."""

import hashlib
import json
import os
from pathlib import Path

import pytest
from helpers.digests import flip

from gimstage.data.digests import Digests, remembered_files
from gimstage.errors import ChangedDataError, DataError

ABC = hashlib.sha256(b"abc").hexdigest()


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "big.bin"
    path.write_bytes(b"abc")
    return path


@pytest.fixture
def memo(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "digests.json"


@pytest.fixture
def remembered(big: Path, memo: Path) -> Path:
    """The file, once it was read and remembered."""
    digests = Digests(memo)
    digests.of([big])
    digests.keep()
    return big


def test_a_name_need_not_be_utf_8(tmp_path, memo):
    path = tmp_path / os.fsdecode(b"\xff.flac")
    path.write_bytes(b"abc")
    for _ in range(2):
        digests = Digests(memo)
        first = digests.fingerprint({path.stem: path}, {})
        digests.keep()
    assert first == hashlib.sha256(b"\xff " + ABC.encode() + b"\n").hexdigest()


def test_a_digest_is_the_sha256_of_the_content(big, memo):
    assert Digests(memo).of([big]) == [ABC]


def test_asking_writes_nothing(big, memo):
    Digests(memo).of([big])
    assert not memo.parent.exists()


def test_a_file_of_the_same_size_and_time_is_not_read_again(remembered, memo):
    flip(remembered)
    assert Digests(memo).of([remembered]) == [ABC]


def test_a_file_of_another_time_is_read_again(remembered, memo):
    remembered.write_bytes(b"xyz")
    os.utime(remembered, ns=(1, 1))
    assert Digests(memo).of([remembered]) == [hashlib.sha256(b"xyz").hexdigest()]


def test_bytes_that_changed_under_their_old_time_are_found(remembered, memo):
    flip(remembered)
    digests = Digests(memo)
    with pytest.raises(ChangedDataError) as info:
        digests.compare([remembered])
    sha = hashlib.sha256(b"ab#").hexdigest()
    assert str(info.value) == (
        f"{remembered}: its bytes have the SHA-256 {sha[:12]}…; "
        f"expected {ABC[:12]}…, as when it was first read; restore it from its source; "
        f"if it is meant to be so, run `touch {remembered}`; then the same command again"
    )


def test_the_cure_for_changed_bytes_cures(remembered, memo):
    flip(remembered)
    remembered.touch()
    Digests(memo).compare([remembered])


def test_bytes_that_change_after_they_were_compared_are_found(remembered, memo):
    digests = Digests(memo)
    digests.compare([remembered])
    flip(remembered)
    with pytest.raises(ChangedDataError):
        digests.compare([remembered])


def test_bytes_are_read_once_a_process(remembered, memo):
    heard: list[int] = []
    Digests(memo).compare([remembered], heard.append)
    Digests(memo).compare([remembered], heard.append)
    assert sum(heard) in (0, 3)  # none, where they were read to be remembered


def test_a_file_that_was_touched_but_is_the_same_passes(remembered, memo):
    digests = Digests(memo)
    digests.compare([remembered])
    remembered.touch()
    digests.compare([remembered])


def test_the_memo_is_plain_json_by_path(remembered, memo):
    entry = [3, remembered.stat().st_mtime_ns, ABC]
    assert json.loads(memo.read_text())["files"] == {str(remembered): entry}


def test_other_files_stay_in_the_memo(remembered, memo):
    other = remembered.with_name("other.bin")
    other.write_bytes(b"")
    digests = Digests(memo)
    digests.of([other])
    digests.keep()
    assert remembered_files(memo) == [remembered, other]


JUNK = [b"", b"{", b"\xff", b"[]", b'{"a": 1}', b'{"files": {}}', b'{"files": 1, "sha256": 2}']


@pytest.mark.parametrize("junk", JUNK)
def test_a_memo_that_cannot_be_understood_is_built_anew(big, memo, junk):
    memo.parent.mkdir()
    memo.write_bytes(junk)
    digests = Digests(memo)
    assert digests.of([big]) == [ABC]
    digests.keep()
    assert remembered_files(memo) == [big]


def test_no_digit_of_a_memo_is_believed_once_it_was_changed(remembered, memo):
    text = memo.read_text()
    memo.write_text(text.replace(ABC[:4], "0000"))
    assert Digests(memo).of([remembered]) == [ABC]


def test_the_memo_of_a_release_before_is_built_anew(big, memo):
    memo.parent.mkdir()
    memo.write_text(json.dumps({str(big): [3, big.stat().st_mtime_ns, "0" * 64]}))
    assert Digests(memo).of([big]) == [ABC]


def test_a_memo_that_fails_to_be_written_leaves_the_old_one(remembered, memo, monkeypatch, caplog):
    before = memo.read_bytes()
    monkeypatch.setattr("gimstage.data.digests.write_json", _full_disk)
    os.utime(remembered, ns=(1, 1))
    digests = Digests(memo)
    assert digests.of([remembered]) == [ABC]
    digests.keep()
    assert (memo.read_bytes(), os.listdir(memo.parent)) == (before, [memo.name])
    assert caplog.messages == [
        f"{memo} cannot be written (No space left on device): files will be read again"
    ]


def test_a_missing_file_has_no_digest(big, memo):
    big.unlink()
    with pytest.raises(DataError) as info:
        Digests(memo).of([big])
    assert str(info.value) == (
        f"{big}: there is no such file or folder; "
        "check the path of the data set, or fetch the set again"
    )


def _full_disk(*_args, **_kwargs):
    raise OSError(28, "No space left on device")
