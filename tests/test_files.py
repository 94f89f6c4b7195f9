"""Files that appear whole or not at all."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gimstage.files import appearing, read_json, write_json

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
DOCUMENTS = st.recursive(PLAIN, lambda d: st.lists(d) | st.dictionaries(st.text(), d))


@given(document=DOCUMENTS)
def test_a_document_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, document: Any
) -> None:
    path = tmp_path_factory.mktemp("files") / "x.json"
    write_json(path, document)
    assert read_json(path) == document


def test_a_document_can_be_read_by_people(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"größe": [1]})
    assert (tmp_path / "x.json").read_text("utf-8") == '{\n "größe": [\n  1\n ]\n}\n'


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"a": 1'])
def test_what_is_no_document_counts_as_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    assert read_json(tmp_path / "x.json") is None


def test_a_missing_file_counts_as_no_document(tmp_path: Path) -> None:
    assert read_json(tmp_path / "x.json") is None


def test_until_the_end_the_old_bytes_are_there(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    with appearing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["x"]


def test_a_failure_leaves_the_old_bytes_and_nothing_else(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "x.json", object())
    assert read_json(tmp_path / "x.json") == 1
    assert os.listdir(tmp_path) == ["x.json"]


def test_the_bytes_are_durable_before_the_name_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable = []

    def fsync(descriptor: int) -> None:
        durable.append(sorted(os.listdir(tmp_path)))

    monkeypatch.setattr(os, "fsync", fsync)
    write_json(tmp_path / "x.json", 1)
    assert durable == [["x.json.part"], ["x.json"]]


def test_numbers_keep_every_bit(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", 0.1 + 0.2)
    assert json.loads((tmp_path / "x.json").read_text()) == 0.1 + 0.2
