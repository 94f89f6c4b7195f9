"""A store against its manifest."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import stores

from gimstage.cache import FeatureReader, FeatureWriter, damage_of, verify
from gimstage.errors import DamagedCacheError

Stored = tuple[Path, list[dict[str, Any]]]


@pytest.fixture(params=["float16", "round5", "uint8"])
def stored(tmp_path: Path, request: pytest.FixtureRequest) -> Stored:
    """A whole store and its manifest's list."""
    layout = stores.vision(request.param)
    stores.write(tmp_path, layout)
    return tmp_path, stores.manifest(tmp_path, layout)


@pytest.mark.parametrize("full", [True, False])
def test_a_whole_store_passes(stored: Stored, full: bool) -> None:
    verify(*stored, full=full)


def test_a_flipped_bit_anywhere_is_found(stored: Stored) -> None:
    path, listed = stored
    chance = random.Random(5)
    for entry in listed:
        size = entry["bytes"]
        for byte in {0, size - 1, *(chance.randrange(size) for _ in range(6))}:
            bit = chance.randrange(8)
            stores.flip(path / entry["path"], byte, bit)
            with pytest.raises(DamagedCacheError) as caught:
                verify(path, listed)
            assert entry["path"] in str(caught.value)
            stores.flip(path / entry["path"], byte, bit)
    verify(path, listed)


def test_a_file_cut_by_one_byte_is_found_without_reading_it(stored: Stored) -> None:
    path, listed = stored
    for entry in listed:
        file = path / entry["path"]
        data = file.read_bytes()
        file.write_bytes(data[:-1])
        with pytest.raises(DamagedCacheError) as caught:
            verify(path, listed, full=False)
        assert str(caught.value).startswith(str(file))
        file.write_bytes(data)


def test_a_missing_file_is_named(stored: Stored) -> None:
    path, listed = stored
    file = path / "codes" / "c.1.0.0.0.0"
    file.unlink()
    with pytest.raises(DamagedCacheError) as caught:
        verify(path, listed, full=False)
    assert str(caught.value) == f"{file}: the file is missing; run the stage again"


def test_a_damaged_index_is_found_without_reading_chunks(stored: Stored) -> None:
    path, listed = stored
    file = path / "features" / "c.2.0.0.0.0.0.0"
    stores.flip(file, -1)
    with pytest.raises(DamagedCacheError) as caught:
        verify(path, listed, full=False)
    assert str(caught.value) == (f"{file}, index: checksum does not match; run the stage again")


def test_a_damaged_small_array_is_found_by_the_quick_check(stored: Stored) -> None:
    path, listed = stored
    stores.flip(path / "label" / "c.0", 5)
    with pytest.raises(DamagedCacheError) as caught:
        verify(path, listed, full=False)
    assert str(caught.value) == (f"{path}/label/c.0: checksum does not match; run the stage again")


def test_altered_values_are_named_by_their_chunk(stored: Stored) -> None:
    path, listed = stored
    file = path / "codes/c.0.0.0.0.0"
    stores.flip(file, 0)
    verify(path, listed, full=False)
    with pytest.raises(DamagedCacheError) as caught:
        verify(path, listed)
    assert str(caught.value) == (f"{file}, chunk 0: checksum does not match; run the stage again")


@pytest.mark.parametrize("name", ["features/c.1.0.0.0.0.0.0", "label/c.0"])
def test_a_whole_file_of_other_content_is_told_from_the_listed_one(
    stored: Stored, tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    # A crc over data and their own crc is the same for all data: the digest must not be one.
    (path, listed), folder = stored, tmp_path_factory.mktemp("other")
    other = FeatureReader(path).layout
    rows, small = stores.values(other)
    changed = {part: values[::-1].copy() for part, values in rows.items()}
    writer = FeatureWriter(
        folder,
        other,
        small={
            part: values[::-1].copy() if part == "label" else values
            for part, values in small.items()
        },
    )
    for shard in range(other.shards):
        with writer.shard(shard) as file:
            file.append({p: values[other.arrays[0].rows(shard)] for p, values in changed.items()})
    (path / name).write_bytes((folder / name).read_bytes())
    entry = next(each for each in listed if each["path"] == name)
    with pytest.raises(DamagedCacheError) as caught:
        verify(path, listed)
    assert str(caught.value) == (
        f"{path / name}: {caught.value.found}; expected {entry['crc32c']}; run the stage again"
    )
    assert caught.value.found.startswith("content of digest ")


def test_a_shard_the_manifest_does_not_list_is_refused(stored: Stored) -> None:
    path, listed = stored
    rest = [entry for entry in listed if entry["path"] != "codes/c.0.0.0.0.0"]
    with pytest.raises(DamagedCacheError) as caught:
        verify(path, rest)
    assert str(caught.value) == (
        f"{path}/codes/c.0.0.0.0.0: not in the manifest; run the stage again"
    )


def test_all_that_is_damaged_is_listed(stored: Stored) -> None:
    path, listed = stored
    (path / "codes/c.1.0.0.0.0").unlink()
    stores.flip(path / "label/c.0", 5)
    stores.flip(path / "features/c.0.0.0.0.0.0.0", 0)
    (path / "features/c.1.0.0.0.0.0.0").unlink()
    (path / "features/c.1.0.0.0.0.0.0").mkdir()
    assert sorted(error.where for error in damage_of(path, listed)) == [
        f"{path}/codes/c.1.0.0.0.0",
        f"{path}/features/c.0.0.0.0.0.0.0, chunk 0",
        f"{path}/features/c.1.0.0.0.0.0.0",
        f"{path}/label/c.0",
    ]


def test_where_metadata_is_damaged_the_other_files_are_looked_at_by_size(stored: Stored) -> None:
    path, listed = stored
    stores.flip(path / "codes/zarr.json", 5)
    stores.flip(path / "label/c.0", 5)
    (path / "features/c.1.0.0.0.0.0.0").unlink()
    assert [error.where for error in damage_of(path, listed)] == [
        f"{path}/codes/zarr.json",
        f"{path}/features/c.1.0.0.0.0.0.0",
    ]


def test_a_file_that_the_store_does_not_have_is_missing(stored: Stored) -> None:
    path, listed = stored
    more = {"path": "codes/c.9.0.0.0.0", "bytes": 1, "crc32c": "0" * 8}
    (error,) = damage_of(path, [*listed, more])
    assert str(error) == f"{path}/codes/c.9.0.0.0.0: the file is missing; run the stage again"


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("x")])
@pytest.mark.parametrize("name", ["zarr.json", "label/c.0", "codes/c.0.0.0.0.0"])
def test_what_is_no_file_is_damage(stored: Stored, name: str, make: Callable[[Path], None]) -> None:
    path, listed = stored
    (path / name).unlink()
    make(path / name)
    with pytest.raises(DamagedCacheError) as caught:
        verify(path, listed)
    assert caught.value.where == str(path / name)
