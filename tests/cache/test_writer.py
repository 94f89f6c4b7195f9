"""Shards appear whole or not at all, and always with the same bytes."""

import os
import random
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import stores
from hypothesis import given
from hypothesis import strategies as st

from gimstage.cache import FeatureWriter, verify
from gimstage.errors import CacheError, DamagedCacheError, StaleCacheError

EXACT = [encoding for encoding in stores.ENCODINGS if stores.vision(encoding).exact]


@pytest.mark.parametrize("encoding", EXACT)
def test_bytes_on_disk_are_the_bytes_foretold(tmp_path: Path, encoding: str) -> None:
    layout = stores.vision(encoding)
    stores.write(tmp_path, layout)
    found = {name: len(data) for name, data in stores.files(tmp_path).items()}
    assert sum(found.values()) == layout.nbytes
    assert sorted(found) == sorted(layout.paths)


@pytest.mark.parametrize("encoding", ["float16_zstd", "round5"])
def test_compressed_bytes_stay_below_their_bound(tmp_path: Path, encoding: Any) -> None:
    layout = stores.vision(encoding)
    stores.write(tmp_path, layout)
    assert sum(map(len, stores.files(tmp_path).values())) <= layout.nbytes


def test_even_incompressible_bytes_stay_below_their_bound(tmp_path: Path) -> None:
    layout = stores.audio(frames=24, encoding="float16_zstd")
    noise = np.random.default_rng(0).integers(0, 30000, (24, 5), np.int16).view(np.float16)
    writer = FeatureWriter(tmp_path, layout)
    for number in (0, 1):
        with writer.shard(number) as shard:
            shard.append({"features": noise[number * 12 :][:12]})
    assert sum(map(len, stores.files(tmp_path).values())) <= layout.nbytes


@given(append=st.integers(1, 13))
def test_the_size_of_batches_does_not_show(
    tmp_path_factory: pytest.TempPathFactory, append: int
) -> None:
    one, other = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    stores.write(one, stores.audio(), append=append)
    stores.write(other, stores.audio(), append=4)
    assert stores.files(one) == stores.files(other)


def test_tensors_and_strided_arrays_are_written_alike(tmp_path: Path) -> None:
    layout = stores.audio(frames=12)
    rows = stores.values(layout)[0]["features"]
    strided = np.repeat(rows, 2, axis=1)[:, ::2]
    for name, found in {"a": rows, "b": torch.from_numpy(rows), "c": strided}.items():
        with FeatureWriter(tmp_path / name, layout).shard(0) as shard:
            shard.append({"features": found})
    assert stores.files(tmp_path / "a") == stores.files(tmp_path / "b")
    assert stores.files(tmp_path / "a") == stores.files(tmp_path / "c")


def test_the_manifest_lists_every_file_with_its_size_and_checksum(tmp_path: Path) -> None:
    layout = stores.vision()
    stores.write(tmp_path, layout)
    listed = {entry["path"]: entry["bytes"] for entry in stores.manifest(tmp_path, layout)}
    assert listed == {name: len(data) for name, data in stores.files(tmp_path).items()}
    verify(tmp_path, stores.manifest(tmp_path, layout))


def test_checksums_kept_while_writing_are_those_of_the_files(tmp_path: Path) -> None:
    layout = stores.audio()
    writer = FeatureWriter(tmp_path, layout)
    rows = stores.values(layout)[0]["features"]
    for number in writer.missing_shards():
        with writer.shard(number) as shard:
            shard.append({"features": rows[number * 12 : number * 12 + 12]})
    assert writer.finish() == FeatureWriter(tmp_path, layout).finish()


@pytest.mark.parametrize("encoding", stores.ENCODINGS)
def test_a_resumed_store_has_the_same_bytes(tmp_path: Path, encoding: str) -> None:
    layout = stores.vision(encoding)
    stores.write(tmp_path / "whole", layout)
    stores.write(tmp_path / "resumed", layout, shards=[1])
    (tmp_path / "resumed" / layout.arrays[1].path(1)).unlink()
    stores.write(tmp_path / "resumed", layout, append=1)
    assert stores.files(tmp_path / "resumed") == stores.files(tmp_path / "whole")


def test_only_missing_shards_are_asked_for(tmp_path: Path) -> None:
    layout = stores.vision()
    stores.write(tmp_path, layout, shards=[1])
    assert FeatureWriter(tmp_path, layout, small=stores.values(layout)[1]).missing_shards() == [
        0,
        2,
    ]


def test_a_truncated_shard_is_removed_and_missing(tmp_path: Path) -> None:
    layout = stores.audio()
    stores.write(tmp_path, layout)
    path = tmp_path / layout.arrays[0].path(2)
    os.truncate(path, path.stat().st_size - 1)
    assert FeatureWriter(tmp_path, layout).missing_shards() == [2]
    assert not path.exists()


def test_a_shard_whose_index_is_damaged_is_missing(tmp_path: Path) -> None:
    layout = stores.audio()
    stores.write(tmp_path, layout)
    stores.flip(tmp_path / layout.arrays[0].path(0), -7)
    assert FeatureWriter(tmp_path, layout).missing_shards() == [0]


def test_an_exception_leaves_no_file(tmp_path: Path) -> None:
    layout = stores.audio()
    writer = FeatureWriter(tmp_path, layout)
    before = stores.files(tmp_path)
    with suppress(KeyboardInterrupt), writer.shard(0) as shard:
        shard.append({"features": np.zeros((12, 5), np.float16)})
        raise KeyboardInterrupt
    assert stores.files(tmp_path) == before


def test_an_exception_keeps_the_shard_that_was_there(tmp_path: Path) -> None:
    layout = stores.audio()
    stores.write(tmp_path, layout)
    before = stores.files(tmp_path)
    with pytest.raises(CacheError), FeatureWriter(tmp_path, layout).shard(0):
        pass
    assert stores.files(tmp_path) == before


def test_leftovers_of_a_killed_writer_are_removed(tmp_path: Path) -> None:
    layout = stores.audio()
    stores.write(tmp_path, layout)
    before = stores.files(tmp_path)
    (tmp_path / "zarr.json.part").touch()
    (tmp_path / "features" / "c.1.0.part").touch()
    FeatureWriter(tmp_path, layout)
    assert stores.files(tmp_path) == before


def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = stores.audio(frames=12)
    writer = FeatureWriter(tmp_path, layout)
    events: list[str] = []
    rename = os.replace
    monkeypatch.setattr(
        os, "fsync", lambda fd: events.append(Path(f"/proc/self/fd/{fd}").readlink().name)
    )
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("rename"), rename(a, b)))
    with writer.shard(0) as shard:
        shard.append(stores.values(layout)[0])
    assert events == ["c.0.0.part", "rename", "features"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            {"features": np.zeros((2, 5), np.float32)},
            "shard 2, features: (2, 5) float32; expected (2, 5) float16",
        ),
        (
            {"features": np.zeros((2, 4), np.float16)},
            "shard 2, features: (2, 4) float16; expected (2, 5) float16",
        ),
        (
            {"features": np.zeros((6, 5), np.float16)},
            "shard 2: 6 rows appended; expected 5",
        ),
        ({"codes": np.zeros((2, 5))}, "shard 2: rows of codes; expected rows of features"),
        (
            {"features": np.zeros((4, 5), np.float16)},
            "shard 2: 4 rows appended; expected 5",
        ),
    ],
)
def test_rows_that_do_not_fit_are_refused(tmp_path: Path, rows: Any, message: str) -> None:
    writer = FeatureWriter(tmp_path, stores.audio())
    with pytest.raises(CacheError) as caught, writer.shard(2) as shard:
        shard.append(rows)
    assert str(caught.value) == f"{tmp_path}, {message}"


def test_arrays_of_unequal_rows_are_refused(tmp_path: Path) -> None:
    layout = stores.vision()
    rows, small = stores.values(layout)
    with (
        pytest.raises(CacheError) as caught,
        FeatureWriter(tmp_path, layout, small=small).shard(0) as shard,
    ):
        shard.append({"features": rows["features"][:3], "codes": rows["codes"][:2]})
    assert str(caught.value) == (
        f"{tmp_path}, shard 0, codes: (2, 2, 3, 3, 4) float32; expected (3, 2, 3, 3, 4) float32"
    )


def test_finishing_without_every_shard_is_refused(tmp_path: Path) -> None:
    layout = stores.audio()
    stores.write(tmp_path, layout, shards=[1])
    with pytest.raises(CacheError) as caught:
        FeatureWriter(tmp_path, layout).finish()
    assert str(caught.value) == (
        f"{tmp_path}: 2 of 3 shards missing, first 0; expected all of them; write the missing ones"
    )


def test_small_arrays_must_be_those_of_the_layout(tmp_path: Path) -> None:
    with pytest.raises(CacheError) as caught:
        FeatureWriter(tmp_path, stores.vision(), small={})
    assert str(caught.value) == "small arrays: none; expected label"


def test_a_small_array_of_another_dtype_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CacheError) as caught:
        FeatureWriter(tmp_path, stores.vision(), small={"label": np.zeros(7, np.int32)})
    assert str(caught.value) == "small array label: (7,) int32; expected (7,) int64"


def test_other_attributes_are_stale(tmp_path: Path) -> None:
    layout = stores.vision()
    stores.write(tmp_path, layout)
    other = replace(layout, attributes={**layout.attributes, "fingerprint": "xyz"})
    with pytest.raises(StaleCacheError) as caught:
        FeatureWriter(tmp_path, other, small=stores.values(layout)[1])
    assert str(caught.value) == (
        f"{tmp_path}/zarr.json: attributes.fingerprint: 'abc'; expected 'xyz'; "
        f"run `rm -r {tmp_path}` to write another"
    )


def test_another_encoding_is_stale(tmp_path: Path) -> None:
    stores.write(tmp_path, stores.audio())
    with pytest.raises(StaleCacheError) as caught:
        FeatureWriter(tmp_path, stores.audio(encoding="float32"))
    assert str(caught.value) == (
        f"{tmp_path}/features/zarr.json: data_type: 'float16'; expected 'float32'; "
        f"run `rm -r {tmp_path}` to write another"
    )


def test_an_array_no_longer_asked_for_is_stale(tmp_path: Path) -> None:
    layout = stores.vision()
    stores.write(tmp_path, layout)
    with pytest.raises(StaleCacheError) as caught:
        FeatureWriter(tmp_path, replace(layout, small=()))
    assert str(caught.value) == (
        f"{tmp_path}/label/zarr.json: an array not asked for; "
        f"run `rm -r {tmp_path}` to write another"
    )


def test_other_values_of_a_small_array_are_stale(tmp_path: Path) -> None:
    layout = stores.vision()
    stores.write(tmp_path, layout)
    with pytest.raises(StaleCacheError) as caught:
        FeatureWriter(tmp_path, layout, small={"label": np.ones(7, np.int64)})
    assert str(caught.value) == (
        f"{tmp_path}/label/c.0: other values; expected those given; "
        f"run `rm -r {tmp_path}` to write another"
    )


def test_a_damaged_small_array_is_written_again(tmp_path: Path) -> None:
    layout = stores.vision()
    stores.write(tmp_path, layout)
    before = stores.files(tmp_path)
    stores.flip(tmp_path / "label" / "c.0", 3)
    damaged = (tmp_path / "label/c.0").read_bytes()
    FeatureWriter(tmp_path, layout, small=stores.values(layout)[1])
    assert stores.files(tmp_path) == before | {"label/c.0.damaged": damaged}


@pytest.mark.parametrize("name", ["zarr.json", "codes/zarr.json", "label/c.0", "codes/c.0.0.0.0.0"])
def test_of_a_store_that_a_manifest_names_only_what_is_damaged_is_written_again(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    layout, small = stores.vision(), stores.values(stores.vision())[1]
    stores.write(tmp_path, layout)
    listed, before = stores.manifest(tmp_path, layout), stores.files(tmp_path)
    stores.flip(tmp_path / name, -3)
    writer = FeatureWriter(tmp_path, layout, small=small, listed=listed)
    assert writer.missing_shards() == ([0] if "codes/c" in name else [])
    assert [message.split(": ")[0] for message in caplog.messages] == [str(tmp_path / name)]
    left = stores.files(tmp_path)
    del left[f"{name}.damaged"]
    assert left == {n: d for n, d in before.items() if n != name or "codes/c" not in name}


def test_a_file_that_a_manifest_names_is_missed_aloud(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layout, small = stores.vision(), stores.values(stores.vision())[1]
    stores.write(tmp_path, layout)
    listed = stores.manifest(tmp_path, layout)
    (tmp_path / "codes/c.1.0.0.0.0").unlink()
    assert FeatureWriter(tmp_path, layout, small=small, listed=listed).missing_shards() == [1]
    assert caplog.messages == [
        f"{tmp_path}/codes/c.1.0.0.0.0: the file is missing; it is written anew"
    ]


def test_a_whole_shard_of_other_content_than_listed_is_damage(tmp_path: Path) -> None:
    layout, small = stores.vision(), stores.values(stores.vision())[1]
    stores.write(tmp_path, layout)
    listed = [
        entry | ({"crc32c": "0" * 8} if entry["path"] == "codes/c.1.0.0.0.0" else {})
        for entry in stores.manifest(tmp_path, layout)
    ]
    assert FeatureWriter(tmp_path, layout, small=small, listed=listed).missing_shards() == [1]


def test_a_manifest_of_another_store_vouches_for_nothing_here(tmp_path: Path) -> None:
    layout, small = stores.vision(), stores.values(stores.vision())[1]
    stores.write(tmp_path, layout)
    listed = stores.manifest(tmp_path, layout)
    other = replace(layout, attributes={**layout.attributes, "fingerprint": "xyz"})
    with pytest.raises(StaleCacheError):
        FeatureWriter(tmp_path, other, small=small, listed=listed)


@pytest.mark.parametrize("encoding", ["float16", "float16_zstd"])
def test_a_killed_writer_leaves_only_whole_files(tmp_path: Path, encoding: Any) -> None:
    layout = stores.vision(encoding, samples=40)
    stores.write(tmp_path / "whole", layout)
    wanted, chance = stores.files(tmp_path / "whole"), random.Random(7)
    victim = tmp_path / "victim"
    for _ in range(8):
        writing = stores.forkserver().Process(
            target=stores.write, args=(victim, layout), kwargs={"append": 1, "pause_s": 0.003}
        )
        writing.start()
        time.sleep(chance.uniform(0, 0.1))
        writing.kill()
        writing.join()
        left = {n: d for n, d in stores.files(victim).items() if not n.endswith(".part")}
        assert left.items() <= wanted.items()
    stores.write(victim, layout)
    assert stores.files(victim) == wanted


def test_a_store_killed_at_its_first_file_is_begun_anew(tmp_path: Path) -> None:
    stores.write(tmp_path / "whole", stores.vision())
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "zarr.json.part").write_text("{")
    stores.write(victim, stores.vision())
    assert stores.files(victim) == stores.files(tmp_path / "whole")


def test_arrays_without_their_group_are_refused(tmp_path: Path) -> None:
    stores.write(tmp_path, stores.vision())
    (tmp_path / "zarr.json").unlink()
    with pytest.raises(StaleCacheError) as caught:
        stores.write(tmp_path, stores.vision())
    assert str(caught.value) == (
        f"{tmp_path}: arrays without their group's zarr.json; "
        f"run `rm -r {tmp_path}` to write another"
    )


def test_metadata_that_is_not_json_is_damage(tmp_path: Path) -> None:
    (tmp_path / "zarr.json").write_text("{")
    with pytest.raises(DamagedCacheError) as caught:
        FeatureWriter(tmp_path, stores.audio())
    assert str(caught.value) == (
        f"{tmp_path}/zarr.json: not readable: no JSON: Expecting property name enclosed in double "
        "quotes: line 1 column 2 (char 1); run the stage again"
    )
