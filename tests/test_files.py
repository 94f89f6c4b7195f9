"""Files that appear whole or not at all, and files that are read without being trusted."""

import json
import math
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gimstage.files import (
    DEEPEST,
    UnreadableError,
    appearing,
    asides,
    parse_json,
    read_json,
    read_regular,
    set_aside,
    write_json,
)

FINITE = st.floats(allow_nan=False, allow_infinity=False)
PLAIN = st.none() | st.booleans() | st.integers() | FINITE | st.text()
DOCUMENTS = st.recursive(PLAIN, lambda d: st.lists(d) | st.dictionaries(st.text(), d))


@given(document=DOCUMENTS)
def test_a_document_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, document: Any
) -> None:
    path = tmp_path_factory.mktemp("files") / "x.json"
    write_json(path, document)
    assert read_json(path, most_bytes=1 << 20) == document


def test_a_document_can_be_read_by_people(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"größe": [1]})
    assert (tmp_path / "x.json").read_text("utf-8") == '{\n "größe": [\n  1\n ]\n}\n'


def refusal(text: bytes | str) -> str:
    """Why a text is no document."""
    with pytest.raises(UnreadableError) as caught:
        parse_json(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "no JSON: Expecting value: line 1 column 1 (char 0)"),
        (b'{"a": 1', "no JSON: Expecting ',' delimiter: line 1 column 8 (char 7)"),
        (b"\xff\xfe", "no UTF-8"),
        (b'"\xed\xa0\x80"', "no UTF-8"),
        (b'["\\ud800"]', "no UTF-8"),
        (b"[NaN]", "NaN is no number"),
        (b"-Infinity", "-Infinity is no number"),
        (b"1e999", "1e999 is too large a number"),
        (b"9" * 5000, "a number of too many digits"),
        (b"[" * 100_000, "nested too deep"),
        (b"[" * 100 + b"]" * 100, "nested too deep"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "nested too deep"),
    ],
)
def test_what_is_no_document_is_one_message(text: bytes, reason: str) -> None:
    assert refusal(text) == reason


def test_a_document_may_be_as_deep_as_the_bound_says() -> None:
    assert parse_json("[" * DEEPEST + "1" + "]" * DEEPEST)
    assert refusal("[" * (DEEPEST + 1) + "1" + "]" * (DEEPEST + 1)) == "nested too deep"


def test_a_pair_of_surrogates_is_a_letter() -> None:
    assert parse_json(r'"\ud83d\ude00"') == "\U0001f600"


@given(text=st.binary() | st.text(st.sampled_from('[]{}":,.\\uNaInfity019eE- ')))
def test_whatever_is_read_is_a_document_or_one_kind_of_error(text: bytes | str) -> None:
    try:
        document = parse_json(text)
    except UnreadableError:
        return
    json.dumps(document, ensure_ascii=False, allow_nan=False).encode()


def test_a_missing_file_is_told_from_a_bad_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "x.json", most_bytes=10)


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(path))  # a name of a socket must be short


def make_link_to(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (make_pipe, "no regular file"),
        (make_socket, "no regular file"),
        (make_link_to("/dev/zero"), "no regular file"),
        (make_link_to("nowhere"), "a link that leads nowhere"),
        (make_link_to("x"), "a link that leads nowhere"),
        (Path.mkdir, "a folder"),
        (lambda path: path.write_bytes(b"x" * 1001), "1,001 bytes, more than 1,000"),
    ],
)
def test_only_a_regular_file_of_a_sane_size_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None], reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "x")
    with pytest.raises(UnreadableError) as caught:
        read_regular(tmp_path / "x", most_bytes=1000)
    assert str(caught.value) == reason


def test_a_link_to_a_file_is_as_good_as_the_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"content")
    (tmp_path / "link").symlink_to("x")
    assert read_regular(tmp_path / "link", most_bytes=7) == b"content"


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_number_that_could_not_be_read_is_not_written(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="Out of range float values"):
        write_json(tmp_path / "x.json", [value])
    assert os.listdir(tmp_path) == []


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
    assert read_json(tmp_path / "x.json", most_bytes=10) == 1
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


def test_what_is_damaged_is_set_aside_in_place_of_an_earlier_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "x"
    path.mkdir()
    set_aside(path, "a folder", "it is written again")
    path.write_text("cut")
    set_aside(path, "cut", "it is written again")
    path.symlink_to("nowhere")
    set_aside(path, "a link", "it is written again")
    assert asides(tmp_path) == [tmp_path / "x.damaged"]
    assert os.readlink(tmp_path / "x.damaged") == "nowhere"
    assert caplog.messages[1] == f"{path}: cut; set aside as x.damaged, it is written again"


def test_of_what_is_missing_there_is_only_something_to_say(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    set_aside(tmp_path / "x", "missing", "it is written again")
    assert os.listdir(tmp_path) == []
    assert caplog.messages == [f"{tmp_path}/x: missing; it is written again"]
