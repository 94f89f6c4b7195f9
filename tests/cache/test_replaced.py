"""A reader that is kept open while its store is written anew never mixes the two."""

import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from helpers import stores

from gimstage.cache import FeatureReader, StoreLayout
from gimstage.cache.reader import Engine
from gimstage.errors import CacheError, DamagedCacheError, StaleCacheError

ENGINES = get_args(Engine)
BEFORE = replace(stores.vision(), attributes={"weights_sha256": "a" * 64})
AFTER = replace(BEFORE, attributes={"weights_sha256": "b" * 64})


def read_row(reader: FeatureReader, row: int) -> np.ndarray:
    out = torch.empty((1, 1, *stores.SHAPE[1:]), dtype=torch.float16)
    reader.read("features", out, np.array([[row]]))
    return out.numpy()


def opened(path: Path, engine: Any = "direct") -> FeatureReader:
    """A reader of the first store, which has read from its first shard."""
    stores.write(path, BEFORE)
    reader = FeatureReader(path, engine=engine)
    read_row(reader, 0)
    return reader


def replaced_by(path: Path, layout: StoreLayout) -> None:
    shutil.rmtree(path)
    stores.write(path, layout)


def message(path: Path) -> str:
    return (
        f"{path}: another store than when it was opened; expected the one that is read; "
        "open it again"
    )


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "read",
    [lambda reader: read_row(reader, 6), lambda reader: reader.small("label")],
    ids=["a further shard", "a small array"],
)
def test_nothing_is_read_of_the_store_that_took_its_place(
    tmp_path: Path, engine: Any, read: Callable[[FeatureReader], object]
) -> None:
    reader = opened(tmp_path / "store", engine)
    replaced_by(tmp_path / "store", AFTER)
    with pytest.raises(StaleCacheError) as caught:
        read(reader)
    assert str(caught.value) == message(tmp_path / "store")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_store_of_another_form_in_its_place_is_no_damage(tmp_path: Path, engine: Any) -> None:
    reader = opened(tmp_path / "store", engine)
    replaced_by(tmp_path / "store", stores.vision(samples=4))
    with pytest.raises(StaleCacheError):
        read_row(reader, 6)


def test_a_store_that_is_gone_is_told_as_one_that_was_replaced(tmp_path: Path) -> None:
    reader = opened(tmp_path / "store")
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(StaleCacheError):
        read_row(reader, 6)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_store_that_is_written_again_to_the_same_bits_is_read_on(
    tmp_path: Path, engine: Any
) -> None:
    reader = opened(tmp_path / "store", engine)
    replaced_by(tmp_path / "store", BEFORE)
    assert np.array_equal(read_row(reader, 6)[0], stores.values(BEFORE)[0]["features"][6:])
    assert stores.read_all(reader).shape == stores.SHAPE


def test_damage_to_the_store_itself_stays_damage(tmp_path: Path) -> None:
    reader = opened(tmp_path / "store")
    (tmp_path / "store" / BEFORE.arrays[0].path(2)).unlink()
    with pytest.raises(DamagedCacheError):
        read_row(reader, 6)


def test_a_reader_that_crosses_to_another_process_takes_no_other_store(tmp_path: Path) -> None:
    pickled = pickle.dumps(opened(tmp_path / "store"))
    replaced_by(tmp_path / "store", AFTER)
    with pytest.raises(StaleCacheError) as caught:
        pickle.loads(pickled)
    assert str(caught.value) == message(tmp_path / "store")


@pytest.mark.parametrize("step", range(6))
def test_at_no_step_of_the_replacing_two_stores_are_mixed(tmp_path: Path, step: int) -> None:
    path, first = tmp_path / "store", stores.values(BEFORE)[0]["features"]
    reader = opened(path)
    if step:
        shutil.rmtree(path)
    if step > 1:
        stores.write(path, AFTER, shards=list(range(step - 2)), seed=4)
    for row in range(stores.SHAPE[0]):
        try:
            assert np.array_equal(read_row(reader, row)[0], first[row : row + 1])
        except CacheError:
            assert step
