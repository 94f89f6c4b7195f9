"""Rows of speech, extracted in tiles and stored end to end."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorstore
import torch
import xarray
import zarr
from helpers.homes import at, bits, edit
from helpers.rows import features, whole
from torch.testing import assert_close

from gimstage.cache import format as cache_format
from gimstage.extract import sequences
from gimstage.inputs.rows import RowSource
from gimstage.stack import trained_stack
from gimstage.views import Spans


@pytest.fixture(scope="module")
def finished(finished_speech: Path) -> Path:
    """The small recipe is that of speech."""
    return finished_speech


def test_every_stage_holds_its_utterances_end_to_end(finished: Path) -> None:
    pipeline = at(finished)
    stack = trained_stack(pipeline.runs, pipeline.recipe.chain(6))
    for entry in (0, 7):
        codes = stack.codes(whole(pipeline.data.source(), entry))
        for number in range(1, 7):
            stored = RowSource(features(finished, number))
            rows = whole(stored, entry)
            # Each stage was computed from rows rounded to float16, and rounded itself.
            assert_close(rows, codes[f"tiny_audio/{number}"], rtol=1e-2, atol=2e-3)


def test_extraction_in_small_tiles_writes_the_same_rows(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (2, 6):
        edit(home, f"{number}_*.toml", '"float16"', '"float32"')
    at(home).run()
    whole_rows = [zarr.open_group(features(home, n))["features"][:] for n in (2, 6)]
    monkeypatch.setattr(sequences, "TILE_ROWS", 9 * 160)
    for number, rows in zip((2, 6), whole_rows, strict=True):
        shutil.rmtree(features(home, number))
        at(home).train_stage(number)
        tiled = zarr.open_group(features(home, number))["features"][:]
        np.testing.assert_allclose(tiled, rows, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("encoding", ["float16", "float16_zstd", "round5", "uint8", "float32"])
def test_what_is_planned_is_what_is_written(home: Path, encoding: str) -> None:
    edit(home, "4_*.toml", '"float16"', f'"{encoding}"')
    plan = at(home).plan(at(home).recipe.chain(4))
    at(home).train_stage(4)
    written = sum(f.stat().st_size for f in features(home, 4).rglob("*") if f.is_file())
    assert written == plan.cache_bytes if plan.exact else written < plan.cache_bytes


def test_stored_crops_never_move_and_are_trained_on(fresh: Path) -> None:
    edit(fresh, "data.toml", 'kind = "utterances"', 'kind = "crops"\ncount = 2\nseed = 5')
    pipeline = at(fresh)
    for number in (1, 2):
        pipeline.train_stage(number)
    group = zarr.open_group(features(fresh, 2))
    assert group["source_sample"][:].tolist() == [n for n in range(15) for _ in range(2)]
    assert set(np.diff(group["offsets"][:])) == {1023}
    stack = trained_stack(pipeline.runs, pipeline.recipe.chain(2))
    start = int(group["start_frame"][3]) * 160
    wave = np.empty((128 * 160, 1), np.float32)
    pipeline.data.train.read(1, start, wave)
    spec = pipeline.data.spec
    rows = stack(torch.from_numpy((wave - spec.mean) / spec.std).float()[None])
    assert_close(whole(RowSource(features(fresh, 2)), 3), rows, rtol=1e-2, atol=2e-3)


def test_an_interrupted_extraction_goes_on_to_the_same_bytes(
    home: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_format, "SHARD_TARGET_BYTES", 40_000)
    for number in (3, 6):
        shutil.rmtree(features(home, number))
    at(home).run()
    wanted = bits(home)
    assert len(list((features(home, 3) / "features").glob("c*"))) > 4
    for number in (3, 6):
        shards = sorted((features(home, number) / "features").glob("c*"))
        for shard in shards[1::2]:
            shard.unlink()
        (home / f"runs/tiny_audio/{number}/manifest.json").unlink()
    at(home).run()
    assert bits(home) == wanted


def test_stored_rows_open_alike_in_zarr_xarray_and_tensorstore(finished: Path) -> None:
    path = features(finished, 5)
    group, data = zarr.open_group(path, mode="r"), xarray.open_zarr(path, consolidated=False)
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path / "features")}}
    values = group["features"][:]
    assert np.array_equal(values, data["features"].values)
    assert np.array_equal(values, tensorstore.open(spec).result().read().result())
    assert data["features"].dims == ("frame", "channel")
    assert data["offsets"].values[-1] == len(values)
    assert group.attrs["rows_per_10_ms"] == 1


def test_a_recurrent_module_goes_on_where_the_shard_before_ended(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequences, "TILE_ROWS", 32 * 160)
    monkeypatch.setattr(cache_format, "SHARD_TARGET_BYTES", 128 * 6 * 2)
    shutil.rmtree(features(home, 6))
    frames, plain = [], sequences.SequenceExtraction._tiles

    def tiles(self: sequences.SequenceExtraction, rows: range) -> list[Spans]:
        found = plain(self, rows)
        frames.extend(tile.count for tile in found)
        return found

    monkeypatch.setattr(sequences.SequenceExtraction, "_tiles", tiles)
    at(home).train_stage(6)
    total = zarr.open_group(features(home, 6))["features"].shape[0]
    shards = len(list((features(home, 6) / "features").glob("c*")))
    assert shards > 10
    # No row is computed again but those of tiles that shards share.
    assert sum(frames) <= total + shards * 32


def test_what_an_encoding_loses_is_measured_where_there_is_speech(fresh: Path) -> None:
    edit(fresh, "1_*.toml", '"float16"', '"uint8"')
    for utterance in at(fresh).data.train.utterances:
        wave, rate = soundfile.read(utterance.path, dtype="int16")
        wave[:6400] = 0  # 0.4 s of silence before every utterance
        soundfile.write(utterance.path, wave, rate, subtype="PCM_16")
    pipeline = at(fresh)
    pipeline.train_stage(1)
    manifest = json.loads((fresh / "runs/tiny_audio/1/manifest.json").read_text())
    said = manifest["features"]["fidelity"]["snr_db"]
    stack = trained_stack(pipeline.runs, pipeline.recipe.chain(1))
    source, stored = pipeline.data.source(), RowSource(features(fresh, 1))
    signal = noise = 0.0
    for entry in range(len(stored.lengths)):
        exact = stack(whole(source, entry))
        signal += float(exact.square().sum())
        noise += float((whole(stored, entry) - exact).square().sum())
    assert abs(10 * np.log10(signal / noise) - said) < 3
