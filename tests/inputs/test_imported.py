"""Data that is imported: when, what of it is refused, how it goes on, what its identity is."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import gimstage.data.rawstore
from gimstage.data.digests import read_digest
from gimstage.data.files import BadFileError
from gimstage.data.rawstore import RawLayout
from gimstage.data.splits import Split
from gimstage.errors import ChangedDataError, DataError
from gimstage.inputs import Imported
from gimstage.inputs.base import OUTDATED
from gimstage.inputs.reread import Reread
from gimstage.progress import Interrupted, Progress, Watch
from gimstage.recipe.identity import UNKNOWN


class Numbers(Split):
    """Files of numbers, by their names."""

    ids: list[str] = []

    def __init__(self, ids: list[str]) -> None:
        self.ids = ids

    def __len__(self) -> int:
        return len(self.ids)


class NumberSet(Imported):
    """Rows of one int16 from text files that hold a number a line."""

    layout = RawLayout("numbers", (1,), "int16", ("row", "value"))
    rows_expected = 8
    settings: Mapping[str, Any] = {"source": "numbers"}  # type: ignore[assignment]
    read = 0
    stopped_at = ""

    @cached_property
    def originals(self) -> dict[str, Path]:
        return {path.name: path for path in sorted(self.root.iterdir())}

    def decoded(self, paths: Sequence[Path]) -> Iterator[Iterator[NDArray[Any]]]:
        for path in paths:
            if path.name == self.stopped_at:
                raise Interrupted
            self.read += 1
            yield self._numbers(path)

    def _numbers(self, path: Path) -> Iterator[NDArray[Any]]:
        for line in path.read_text().split():
            if not line.isdigit():
                raise BadFileError("no number")
            yield np.array([[int(line)]], np.int16)

    def split(self, name: str) -> Split:
        return Numbers([each for each in self.originals if each not in self.bad])


NumberSet.__abstractmethods__ = frozenset()  # what is trained on is no matter here


class Spec:
    """As much of a data.toml as an import asks for."""

    source, kind = "numbers", "speech"

    def __init__(self, on_bad: str = "refuse") -> None:
        self.on_bad = on_bad

    def model_dump(self) -> dict[str, Any]:
        return {"on_bad": self.on_bad}

    def finding(self) -> dict[str, Any]:
        return self.model_dump()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    for name, text in {"a": "1 2", "b": "3", "c": "4 5"}.items():
        (tmp_path / "own" / f"{name}.txt").write_text(text)
    return tmp_path / "own"


def numbers(folder: Path, on_bad: str = "refuse") -> NumberSet:
    return NumberSet(Spec(on_bad), folder, runs=folder.parent / "runs")


def imported(folder: Path, on_bad: str = "refuse") -> NumberSet:
    data = numbers(folder, on_bad)
    data.make(Watch())
    return data


def rows(data: NumberSet) -> list[int]:
    out = np.zeros((data.store.rows, 1), np.int16)
    data.store.read(0, out)
    return out[:, 0].tolist()


def test_files_become_rows_in_order(folder: Path) -> None:
    data = imported(folder)
    assert rows(data) == [1, 2, 3, 4, 5]
    assert data.starts.tolist() == [0, 2, 3, 5]


def test_the_store_is_named_after_the_folder(folder: Path) -> None:
    assert numbers(folder).folder.parent == folder.parent / "runs" / "data"
    assert numbers(folder).folder.name.startswith("own-")


def test_looking_imports_nothing(folder: Path) -> None:
    data = numbers(folder)
    assert not data.is_made
    assert data.fingerprint("train", folder.parent / "runs") == UNKNOWN
    assert not (folder.parent / "runs").exists()


def test_what_is_imported_is_not_imported_again(folder: Path) -> None:
    imported(folder)
    assert imported(folder).read == 0


def test_an_import_says_how_far_it_is(folder: Path) -> None:
    heard: list[Progress] = []
    numbers(folder).make(Watch(report=heard.append))
    last = heard[-1]
    assert (last.task, last.done, last.total, last.unit) == ("data import", 7, 7, "bytes")


def test_it_is_said_what_will_take_how_much(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gimstage.inputs.imported.free_bytes", lambda folder: 10**9)
    with caplog.at_level(logging.WARNING):
        data = imported(folder)
    assert caplog.messages == [
        f"{folder}: 3 files are imported into {data.folder}: about 16 B of 1.0 GB that are free"
    ]


def test_what_the_disk_has_no_room_for_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gimstage.data.files.free_bytes", lambda folder: 3)
    data = numbers(folder)
    with pytest.raises(DataError) as info:
        data.make(Watch())
    assert str(info.value) == (
        f"{data.folder.parent}: 3 bytes are free on this disk; expected 16 for the import; "
        "make room, or choose another folder"
    )
    assert not data.folder.exists()


def test_an_import_that_was_stopped_goes_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gimstage.data.rawstore, "CHUNK_BYTES", 2)
    stopped = numbers(folder)
    stopped.stopped_at = "c.txt"
    with pytest.raises(Interrupted):
        stopped.make(Watch())
    data = imported(folder)
    assert rows(data) == [1, 2, 3, 4, 5]
    assert data.read == 2  # b again, of which no line says that it was whole, and c


def test_a_changed_file_is_imported_again_in_place(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = imported(folder)
    (folder / "b.txt").write_text("9")
    os.utime(folder / "b.txt", ns=(0, 0))
    after = imported(folder)
    assert rows(after) == [1, 2, 9, 4, 5]
    assert after.folder == before.folder
    assert "imported again, as files have changed since" in caplog.text


def test_data_of_files_that_changed_since_is_not_what_it_was(folder: Path) -> None:
    runs = folder.parent / "runs"
    before = imported(folder).fingerprint("train", runs)
    os.utime(folder / "b.txt", ns=(0, 0))
    changed = numbers(folder)
    assert changed.is_outdated
    assert changed.fingerprint("train", runs) == OUTDATED
    assert imported(folder).fingerprint("train", runs) == before


def test_a_file_that_changes_meanwhile_is_refused(folder: Path) -> None:
    data = numbers(folder)
    touched = Watch(report=lambda progress: os.utime(folder / "a.txt", ns=(0, 0)))
    with pytest.raises(DataError) as info:
        data.make(touched)
    assert str(info.value) == (
        f"{folder}: files changed while they were imported; expected files that stay as they are; "
        "run the same command again"
    )
    assert rows(imported(folder)) == [1, 2, 3, 4, 5]


def test_a_bad_file_is_refused_by_name_and_reason(folder: Path) -> None:
    (folder / "b.txt").write_text("x")
    with pytest.raises(DataError) as info:
        imported(folder)
    assert str(info.value) == (
        f"{folder}: 1 of 3 files cannot be read: 1 × no number (b.txt); expected files "
        'that are whole; write on_bad = "skip" into data.toml to leave them out, or remove them'
    )


def test_bad_files_are_left_out_where_the_recipe_says_so(folder: Path) -> None:
    (folder / "b.txt").write_text("x")
    with pytest.raises(DataError):
        imported(folder)
    data = imported(folder, "skip")
    assert data.read == 0  # all of it was imported before it was refused
    assert data.split("train").ids == ["a.txt", "c.txt"]
    assert data.notes() == ["left out: 1 × no number (b.txt)"]


def test_the_fingerprint_is_of_rows_and_samples(folder: Path) -> None:
    runs = folder.parent / "runs"
    before = imported(folder).fingerprint("train", runs)
    os.utime(folder / "a.txt", ns=(0, 0))
    assert imported(folder).fingerprint("train", runs) == before
    (folder / "b.txt").rename(folder / "bb.txt")
    assert imported(folder).fingerprint("train", runs) != before


def test_a_chunk_that_is_not_as_it_was_written_is_refused_whatever_its_time(folder: Path) -> None:
    runs = folder.parent / "runs"
    (chunk,) = imported(folder).store.chunk_files.values()
    written = read_digest(chunk)[:12]
    chunk.write_bytes(b"\7" + chunk.read_bytes()[1:])
    data = imported(folder)
    with pytest.raises(ChangedDataError) as caught:
        Reread(data, ("train",), phones=False, runs=runs).compare(Watch(), "verify")
    assert str(caught.value) == (
        f"{chunk}: its bytes have the SHA-256 {read_digest(chunk)[:12]}…; expected {written}…, as "
        f"when it was written; run `rm -r {data.folder}`: the next command imports it again"
    )


def test_no_file_at_all_is_refused(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(DataError) as info:
        imported(folder)
    assert str(info.value) == f"{folder}: no file to import; expected one at least"


def test_what_is_foreseen_to_be_bad_is_refused_before_anything_is_imported(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NumberSet, "foreseen", {"b.txt": "no number"})
    data = numbers(folder)
    with pytest.raises(DataError, match=r"cannot be read: 1 × no number \(b.txt\)"):
        data.make(Watch())
    assert (data.read, data.folder.exists()) == (0, False)
