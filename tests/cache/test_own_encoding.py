"""An encoding defined and registered outside the package is stored, read, planned, trained on."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import torch
import zarr
from helpers import stores
from helpers.homes import RECIPES, at, edit
from torch import Tensor

from gimstage.cache import ENCODINGS, Affine, Compression, Encoding, FeatureReader, register
from gimstage.cache.parse import parse_store
from gimstage.errors import CacheError


class Sixteenths(Encoding):
    """Stores whole sixteenths, up to ±127 of them, as int8."""

    def encode(self, values: Tensor, affine: Affine | None = None) -> Tensor:
        return (values * 16).round().clamp(-127, 127).to(torch.int8)

    def decode(self, raw: Tensor, affine: Affine | None = None) -> Tensor:
        return raw.float() / 16


class Truncated(Encoding):
    """Stores float16 cut down to 3 mantissa bits."""

    def encode(self, values: Tensor, affine: Affine | None = None) -> Tensor:
        return (values.half().view(torch.int16) & -(1 << 7)).view(torch.float16)

    def decode(self, raw: Tensor, affine: Affine | None = None) -> Tensor:
        return raw.float()


class Nibble(Encoding):
    """Stores one of 16 steps of its channel in a whole byte."""

    def encode(self, values: Tensor, affine: Affine | None = None) -> Tensor:
        return self.needed(affine).steps_of(values).clamp(0, 15).to(torch.uint8)

    def decode(self, raw: Tensor, affine: Affine | None = None) -> Tensor:
        scale, offset = self.needed(affine).along(raw)
        return raw.float() * scale + offset


GZIP = Compression("gzip", {"level": 1}, lambda: numcodecs.GZip(level=1))
OWN = {
    "sixteenths": Sixteenths(name="sixteenths", dtype=torch.int8, limit=1e6),
    "truncated": Truncated(name="truncated", dtype=torch.float16, limit=65504.0, compression=GZIP),
    "plainly_truncated": Truncated(name="plainly_truncated", dtype=torch.float16, limit=65504.0),
    "nibble": Nibble(name="nibble", dtype=torch.uint8, limit=1e30, steps=15),
}


@pytest.fixture(params=OWN)
def own(request: pytest.FixtureRequest) -> Iterator[Encoding]:
    """An encoding of another package's, known for the time of a test."""
    encoding = OWN[request.param]
    register(encoding)
    yield encoding
    del ENCODINGS[encoding.name]


def test_its_store_is_read_back_as_it_was_written(own: Encoding, tmp_path: Path) -> None:
    rows = stores.write(tmp_path, stores.vision(own.name))["features"]
    reader = FeatureReader(tmp_path)
    assert reader.array("features").encoding == own.name
    assert np.array_equal(stores.read_all(reader), rows)


def test_its_store_is_decoded_by_it(own: Encoding, tmp_path: Path) -> None:
    rows = torch.from_numpy(stores.write(tmp_path, stores.vision(own.name))["features"])
    reader = FeatureReader(tmp_path)
    affine = None
    if own.steps:
        scale, offset = (
            torch.from_numpy(reader.small(f"features_{name}")) for name in ("scale", "offset")
        )
        affine = Affine(scale, offset, -3)
    assert torch.equal(reader.decode("features", rows), own.decode(rows, affine))


def test_zarr_python_reads_its_store(own: Encoding, tmp_path: Path) -> None:
    rows = stores.write(tmp_path, stores.vision(own.name))["features"]
    features = zarr.open_group(tmp_path, mode="r")["features"]
    assert features.attrs["encoding"] == own.name
    assert np.array_equal(features[...], rows)


def test_a_recipe_stores_plans_and_trains_on_it(own: Encoding, tmp_path: Path) -> None:
    shutil.copytree(RECIPES / "tiny", tmp_path / "tiny")
    edit(tmp_path, "1_*.toml", '"float16"', f'"{own.name}"')
    pipeline = at(tmp_path)
    assert pipeline.train_stage(1)
    assert pipeline.train_stage(2)
    plan = pipeline.plans()[0]
    assert plan.encoding == own.name
    assert plan.cached_bytes <= plan.cache_bytes
    assert (plan.cached_bytes == plan.cache_bytes) == (own.compression is None)
    assert [status.state for status in pipeline.statuses()][:2] == ["done", "done"]


def test_a_store_of_an_encoding_that_is_not_registered_is_refused(own: Encoding) -> None:
    documents = stores.vision(own.name).metadata()
    del ENCODINGS[own.name]
    try:
        with pytest.raises(CacheError) as caught:
            parse_store(documents, where="s")
    finally:
        register(own)
    codecs = ", ".join(own.codec_names)
    assert str(caught.value) == (
        f's/features/zarr.json: {own.numpy_dtype} through {codecs}, encoded by "{own.name}"; '
        "expected an encoding of float16, float16_zstd, round5, uint8, float32"
    )


def test_a_cast_that_is_encoded_in_another_way_is_stored_as_it_encodes() -> None:
    class Doubled(type(ENCODINGS["float16"])):
        def encode(self, values: Tensor, affine: Affine | None = None) -> Tensor:
            return (2 * values).half()

    out = torch.empty(2, dtype=torch.float16)
    doubled = Doubled(name="doubled", dtype=torch.float16, limit=32752.0)
    doubled.encode_into(out, torch.tensor([1.0, 3.0]))
    assert out.tolist() == [2, 6]


def test_a_name_is_registered_once() -> None:
    again = replace(ENCODINGS["float16"], limit=1.0)
    with pytest.raises(CacheError) as caught:
        register(again)
    assert str(caught.value) == ("encoding float16: registered twice; expected a name of its own")
    assert ENCODINGS["float16"].limit == 65504.0


def test_a_dtype_that_files_cannot_have_is_refused() -> None:
    with pytest.raises(CacheError) as caught:
        register(Truncated(name="brain", dtype=torch.bfloat16, limit=3e38))
    assert str(caught.value) == (
        "encoding brain: torch.bfloat16; expected a dtype that numpy has too"
    )
    assert "brain" not in ENCODINGS
