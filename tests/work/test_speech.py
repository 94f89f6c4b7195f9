"""The whole chain on speech: ragged stores, latent crops, tiles, and what is refused."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorstore
import torch
import xarray
import zarr
from helpers.homes import CPU, StopAfter, at, bits, edit, finish, recipe_of, states, why
from torch.testing import assert_close

import gimstage
from gimstage.cache import format as cache_format
from gimstage.draws import generator
from gimstage.errors import CacheError, DamagedCacheError, DataError, RecipeError
from gimstage.extract import sequences
from gimstage.inputs import SequenceSource, output_source
from gimstage.inputs.rows import RecomputedRows, RowSource, reach, zero_outside
from gimstage.inspection import draw
from gimstage.modules import Conv1dModule
from gimstage.progress import Interrupted
from gimstage.recipe.recipe import Recipe
from gimstage.stack import random_stack, trained_stack
from gimstage.views import Spans

PUBLISHED = [(10, 5, 2), (8, 4, 2), (4, 2, 2), (4, 2, 2), (4, 2, 1)]
# Rows that the padding of a crop changes, at its left and at its right end.
EDGES = [(1, 0), (1, 0), (2, 1), (2, 2), (2, 1)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the tiny recipe of speech has run."""
    return finish(tmp_path_factory.mktemp("finished"), "tiny_audio")


def features(home: Path, number: int) -> Path:
    return home / f"runs/tiny_audio/{number}/features.zarr"


def read(source: SequenceSource, where: Spans) -> torch.Tensor:
    raw = source.fill(source.buffer(len(where), where.count), where)
    return source.prepare(raw, where)


def whole(source: SequenceSource, entry: int) -> torch.Tensor:
    """All rows of an entry, (1, T, C)."""
    return read(source, Spans(np.array([entry]), np.array([0]), int(source.lengths[entry])))


def test_a_finished_chain_is_done_and_its_probes_have_their_rows(finished: Path) -> None:
    assert states(finished) == ["done"] * 8
    rows = [row for name in ("probe_speaker", "probe_phone") for row in at(finished).probe(name)]
    tasks = [(row["task"], row["protocol"], row["stage"]) for row in rows]
    inputs = [*"123456", "mfcc"]
    assert tasks == [
        (task, protocol, stage)
        for task in ("speaker", "phone")
        for protocol in ("converged", "paper")
        for stage in inputs
    ]
    assert all((row["random_init"] is None) == (row["stage"] == "mfcc") for row in rows)
    assert {row["chance"] for row in rows if row["task"] == "speaker"} == {1 / 3}


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


def encoder(dtype: torch.dtype) -> list[Conv1dModule]:
    torch.manual_seed(1)
    sizes = [1, 6, 6, 6, 6, 6]
    return [
        Conv1dModule(in_channels=sizes[i], channels=sizes[i + 1], kernel=k, stride=s, padding=p).to(
            dtype
        )
        for i, (k, s, p) in enumerate(PUBLISHED)
    ]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_a_latent_crop_is_the_crop_encoded_but_for_its_padded_edges(
    dtype: torch.dtype, tolerance: float
) -> None:
    rng = torch.Generator().manual_seed(2)
    wave = torch.randn(1, 200 * 160, 1, generator=rng, dtype=torch.float64).to(dtype)
    first, frames, per_frame = 31, 128, 160
    utterance, crop = wave, wave[:, first * 160 : (first + frames) * 160]
    with torch.no_grad():
        for module, (left, right) in zip(encoder(dtype), EDGES, strict=True):
            utterance, crop = module(utterance), module(crop)
            per_frame //= module.stride
            start, count = first * per_frame + left, crop.shape[1] - left - right
            inner = crop[:, left : left + count]
            cut = utterance[:, start : start + count]
            assert_close(cut, inner, rtol=tolerance, atol=tolerance)
            off = utterance[:, start + 1 : start + 1 + count]
            assert (off - inner).abs().max() > 1e-3


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_tiles_of_a_long_recording_give_the_rows_of_the_whole(
    dtype: torch.dtype, tolerance: float
) -> None:
    rng = torch.Generator().manual_seed(3)
    x = torch.randn(1, 150 * 160, 1, generator=rng, dtype=torch.float64).to(dtype)
    for module in encoder(dtype):
        lengths = np.array([x.shape[1]])
        out = np.array([module.length(x.shape[1])])
        parts = []
        with torch.no_grad():
            for start in range(0, int(out[0]), 37):
                tile = Spans(np.zeros(1, int), np.array([start]), min(37, int(out[0]) - start))
                below = reach(module, tile)
                padded = torch.nn.functional.pad(x, (0, 0, 16, 16))
                begin = int(below.first[0]) + 16
                rows = zero_outside(padded[:, begin : begin + below.count], below, lengths)
                parts.append(module.advance(rows, None)[0])
            y = module(x)
        assert_close(torch.cat(parts, 1), y, rtol=tolerance, atol=tolerance)
        x = y


def test_extraction_in_small_tiles_writes_the_same_rows(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (2, 6):
        edit(home, f"{number}_*.toml", '"float16"', '"float32"')
    at(home).run()
    whole_rows = [zarr.open_group(features(home, n))["features"][:] for n in (2, 6)]
    monkeypatch.setattr(sequences, "TILE_FRAMES", 9)
    for number, rows in zip((2, 6), whole_rows, strict=True):
        shutil.rmtree(features(home, number))
        at(home).train_stage(number)
        tiled = zarr.open_group(features(home, number))["features"][:]
        np.testing.assert_allclose(tiled, rows, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("encoding", ["float32", "float16", "round5"])
def test_recomputing_gives_the_rows_that_the_cache_gives(home: Path, encoding: str) -> None:
    for number in (1, 2, 3):
        edit(home, f"{number}_*.toml", '"float16"', f'"{encoding}"')
        at(home).train_stage(number)
    lengths = RowSource(features(home, 3)).lengths
    count = 300
    entries = np.arange(4)
    # The first begins before its entry, the last ends beyond it.
    where = Spans(entries, np.array([-5, 0, 17, lengths[3] - 290]), count)
    cached = read(RowSource(features(home, 3)), where)
    for number in (1, 2, 3):
        edit(home, f"{number}_*.toml", '"features"', '"none"')
        shutil.rmtree(features(home, number))
    pipeline = at(home)
    source = output_source(pipeline.runs, pipeline.data, pipeline.recipe.chain(3), CPU)
    assert isinstance(source, RecomputedRows)
    tolerance = {"float32": 1e-6, "float16": 2e-3, "round5": 7e-2}[encoding]
    assert_close(read(source, where), cached, rtol=tolerance, atol=tolerance / 10)


def test_a_stage_trains_alike_from_the_cache_and_from_the_frozen_modules(home: Path) -> None:
    losses = []
    for store in ("features", "none"):
        for number in (1, 2, 3, 4):
            edit(home, f"{number}_*.toml", 'store = "features"', f'store = "{store}"')
            if store == "features":
                edit(home, f"{number}_*.toml", '"float16"', '"float32"')
            elif features(home, number).exists():
                shutil.rmtree(features(home, number))
            at(home).train_stage(number)
        shutil.rmtree(home / "runs/tiny_audio/5", ignore_errors=True)
        at(home).train_stage(5)
        lines = (home / "runs/tiny_audio/5/metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss"] for line in lines])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


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
    wave = np.empty(128 * 160, np.float32)
    pipeline.data.train.read(1, start, wave)
    spec = pipeline.data.spec
    rows = stack(torch.from_numpy((wave - spec.mean) / spec.std).float()[None, :, None])
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


@pytest.mark.parametrize("looks", [1, 4, 8])
def test_an_interrupted_run_goes_on_to_the_same_bits(
    fresh: Path, finished: Path, looks: int
) -> None:
    with pytest.raises(Interrupted):
        at(fresh, StopAfter(looks)).run()
    at(fresh).run()
    assert bits(fresh) == bits(finished)


def test_editing_a_convolution_makes_what_comes_after_stale(home: Path) -> None:
    edit(home, "4_*.toml", "kernel = 4", "kernel = 6")
    assert states(home) == ["done"] * 3 + ["stale"] * 5
    assert why(home, 4) == ("stage 4.module.kernel: 4 → 6",)


def test_a_stage_may_train_on_shorter_crops_than_the_next(fresh: Path) -> None:
    edit(fresh, "1_*.toml", "[module]", "[views]\ncrop_frames = 20\n\n[module]")
    pipeline = at(fresh)
    assert pipeline.data.draws(pipeline.recipe.chain(1)).size == 20 * 160
    assert pipeline.data.draws(pipeline.recipe.chain(2)).size == 4095
    pipeline.train_stage(1)
    assert RowSource(features(fresh, 1)).lengths.tolist() == [
        32 * frames - 1 for frames in pipeline.data.stored.frames
    ]


def test_a_recipe_without_bptt_reuses_the_convolutions(home: Path) -> None:
    other = home / "no_bptt"
    other.mkdir()
    text = (recipe_of(home) / "6_gru.toml").read_text()
    text = text.replace("input = 5", 'input = "tiny_audio/5"').replace(
        "bptt = true", "bptt = false"
    )
    (other / "1_gru.toml").write_text(text)
    before = {k: v for k, v in bits(home).items() if k[0] in "12345"}
    loaded = Recipe.load(other)
    pipeline = type(at(home))(
        loaded,
        at(home).data,
        root=home / "runs",
        settings=at(home).settings,
        watch=at(home).watch,
    )
    pipeline.run()
    assert {k: v for k, v in bits(home).items() if k[0] in "12345"} == before
    manifest = json.loads((home / "runs/no_bptt/1/manifest.json").read_text())
    assert manifest["upstream"]["stage"] == "tiny_audio/5"
    assert (
        pipeline.runs.stage_folder(loaded.chain(1)).weights.read_bytes()
        != (home / "runs/tiny_audio/6/weights.safetensors").read_bytes()
    )


def test_random_weights_are_probed_without_training(fresh: Path) -> None:
    for path in recipe_of(fresh).glob("probe*.toml"):
        path.write_text(path.read_text().replace('"trained"', '"random"'))
    rows = at(fresh).probe("probe_speaker")
    assert all(row["random_init"] is None for row in rows)
    assert at(fresh).probe_statuses()[1].state == "done"
    assert states(fresh)[:6] == ["missing"] * 6


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


def test_offsets_that_do_not_fit_the_rows_are_damage(home: Path) -> None:
    small = features(home, 5) / "offsets/c.0"
    values = np.frombuffer(small.read_bytes()[:-4], "<i8").copy()
    values[-1] -= 3
    from gimstage.cache.shards import with_crc

    small.write_bytes(with_crc(values.tobytes()))
    with pytest.raises(DamagedCacheError) as caught:
        RowSource(features(home, 5))
    assert str(caught.value) == (
        f"{features(home, 5)}: offsets from 0 to {values[-1]}; expected ascending from 0 to the "
        f"{values[-1] + 3} rows of features; delete the store and extract again"
    )


def shorten(home: Path, count: int, frames: int) -> list[str]:
    """Cut the first training utterances to so many frames; their ids."""
    data = at(home).data
    for utterance in data.train.utterances[:count]:
        wave, rate = soundfile.read(utterance.path, dtype="int16")
        soundfile.write(utterance.path, wave[: frames * 160], rate, subtype="PCM_16")
    return [utterance.id for utterance in data.train.utterances[:count]]


def test_utterances_shorter_than_a_crop_are_left_out_aloud(
    fresh: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ids = shorten(fresh, 2, 100)
    with caplog.at_level(logging.WARNING):
        assert at(fresh).data.num_samples == 13
    assert caplog.messages == [
        "split 'train': 2 of 15 utterances are shorter than a crop of 128 frames and are left out: "
        + ", ".join(ids)
    ]


def test_nothing_but_short_utterances_is_refused(fresh: Path) -> None:
    shorten(fresh, 15, 100)
    pipeline = at(fresh)
    with pytest.raises(DataError) as caught:
        pipeline.train_stage(1)
    root = pipeline.data.root
    assert str(caught.value) == (
        f"{root}, split 'train': all 15 utterances are shorter than a crop of 128 frames; expected "
        "at least one that is as long; lower crop_frames in [views], or use longer utterances"
    )


def test_a_probe_without_labels_is_left_out_of_a_run_aloud(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    next((home / "runs/data").rglob("converted_aligned_phones.txt")).unlink()
    with caplog.at_level(logging.WARNING):
        rows = at(home).run()
    assert {row["task"] for row in rows} == {"speaker"}
    root = at(home).data.root
    assert caplog.messages == [
        f"tiny_audio/probe_phone is left out: {root}: no utterance of the split 'train' has phone "
        "labels; expected a line for at least one of them in converted_aligned_phones.txt; add the "
        "file, or the lines that are missing"
    ]


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "4_*.toml",
            'kind = "conv1d"\nchannels = 8\nkernel = 4\nstride = 2\npadding = 2',
            'kind = "resnet"\nblock = "basic"\nwidth = 8\nblocks = 1\nstride = 2',
            'stage tiny_audio/4 [module] kind: "resnet" on source = "demo_speech"; expected '
            '"conv1d", "gru" or "conv1d_gru"',
        ),
        (
            "4_*.toml",
            "codes = false",
            "codes = true",
            "stage tiny_audio/4 [output] codes: true, but the features of a sequence are its "
            "codes; expected false",
        ),
        (
            "4_*.toml",
            "stride = 2",
            "stride = 3",
            "stage tiny_audio/4 [module] stride: a row every 120 samples, all strides multiplied; "
            "expected a divisor of 160, the samples of 10 ms at which crops begin",
        ),
        (
            "3_*.toml",
            "[module]",
            "[views]\ncrop_frames = 129\n\n[module]",
            "stage tiny_audio/3 [views] crop_frames: 129 frames; expected at most 128, the "
            "crop_frames of data.toml",
        ),
        (
            "data.toml",
            "crop_frames = 128",
            "crop_frames = 4",
            "stage tiny_audio/5 [objective]: prediction_steps = 4 with prediction_gap = 0 on crops "
            "of 4 rows; expected at least 5 rows, in [views] and window; enlarge crop_frames, or "
            "predict fewer steps",
        ),
    ],
)
def test_recipes_that_do_not_fit_speech_are_refused(
    fresh: Path, file: str, old: str, new: str, message: str
) -> None:
    edit(fresh, file, old, new)
    with pytest.raises(RecipeError) as caught:
        at(fresh)
    assert str(caught.value) == message


def test_a_recurrent_stage_that_is_not_stored_cannot_be_built_on(home: Path) -> None:
    edit(home, "6_*.toml", '"features"', '"none"')
    text = (recipe_of(home) / "6_gru.toml").read_text()
    (recipe_of(home) / "7_more.toml").write_text(text.replace("input = 5", "input = 6"))
    with pytest.raises(RecipeError) as caught:
        at(home)
    assert str(caught.value) == (
        'stage tiny_audio/6 [output] store: "none", but stage tiny_audio/7 reads it and a '
        'recurrent module cannot be run again for a part of an utterance; expected "features"'
    )


def test_a_stage_dropped_on_top_trains_on_the_contexts(home: Path) -> None:
    before = bits(home)
    text = (recipe_of(home) / "6_gru.toml").read_text()
    (recipe_of(home) / "7_more.toml").write_text(text.replace("input = 5", "input = 6"))
    at(home).train_stage(7)
    assert before.items() <= bits(home).items()


def test_a_convolution_and_a_gru_train_together(fresh: Path) -> None:
    for number in (1, 2, 3, 4):
        at(fresh).train_stage(number)
    for name in ("6_gru.toml", "probe_phone.toml", "probe_speaker.toml"):
        (recipe_of(fresh) / name).unlink()
    edit(fresh, "5_*.toml", '"conv1d"', '"conv1d_gru"\nhidden_channels = 6\nbptt = true')
    edit(fresh, "5_*.toml", "relu = true", "relu = false")
    at(fresh).train_stage(5)
    assert zarr.open_group(features(fresh, 5))["features"].shape[1] == 6


def test_a_gru_may_be_trained_on_every_convolution_and_is_not_handed_on(fresh: Path) -> None:
    context = '[objective.context]\nkind = "gru"\nchannels = 5\nbptt = true\n\n[train]'
    edit(fresh, "1_*.toml", "[train]", context)
    at(fresh).train_stage(1)
    folder = at(fresh).runs.stage_folder(at(fresh).recipe.chain(1))
    from safetensors import safe_open

    with safe_open(folder.objective, framework="pt") as file:
        names = set(file.keys())
    assert {name for name in names if name.startswith("context.gru.")}
    assert zarr.open_group(features(fresh, 1))["features"].shape[1] == 8


def test_load_gives_the_frozen_modules_of_speech(finished: Path) -> None:
    stack = gimstage.load(finished / "runs/tiny_audio/6")
    codes = stack.codes(torch.zeros(2, 20_480, 1))
    lengths = [codes[f"tiny_audio/{n}"].shape[1] for n in range(1, 7)]
    assert lengths == [4095, 1023, 512, 257, 128, 128]


def test_random_stacks_of_a_chain_share_their_modules(finished: Path) -> None:
    recipe = at(finished).recipe
    top, below = random_stack(recipe.chain(6)), random_stack(recipe.chain(2))
    assert all(
        torch.equal(a, b)
        for a, b in zip(top.parts[1].parameters(), below.parts[1].parameters(), strict=True)
    )


def test_a_stored_sequence_is_drawn(finished: Path, tmp_path: Path) -> None:
    for number in (1, 6):
        draw(features(finished, number), at(finished).data, tmp_path / "x.png", sample=2, title="x")
        assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(CacheError) as caught:
        draw(features(finished, 6), at(finished).data, tmp_path / "y.png", sample=15, title="y")
    assert str(caught.value) == f"{features(finished, 6)}: no sample 15; expected 0 to 14"


def test_training_draws_lie_within_their_entries(finished: Path) -> None:
    pipeline = at(finished)
    for number in (1, 2, 6):
        chain = pipeline.recipe.chain(number)
        draws = pipeline.data.draws(chain)
        source = output_source(pipeline.runs, pipeline.data, chain.upstream, CPU)
        for step in range(6):
            where = draws(step)
            assert (where.first >= 0).all()
            assert (where.first + where.count <= source.lengths[where.entry]).all()
    rng = generator(1, "test")
    assert pipeline.data.stored.draw(rng, np.arange(15), 128)[1].max() > 0


def test_a_recurrent_module_goes_on_where_the_shard_before_ended(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequences, "TILE_FRAMES", 32)
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


def test_the_record_of_memory_outlives_a_new_extraction(fresh: Path) -> None:
    from gimstage.plan.memory import Budget

    budget = Budget(10**9, context_bytes=0, workspace_bytes=0, margin_share=0.0)
    at(fresh, budget=budget).train_stage(1)
    before = at(fresh).memory("1")
    edit(fresh, "1_*.toml", '"float16"', '"float32"')
    at(fresh).extract_stage(1)
    assert before is not None
    assert at(fresh).memory("1") == before


def test_recomputed_input_is_made_once_for_both_passes(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gimstage.plan import fit
    from gimstage.work import stage as stagework

    edit(home, "1_*.toml", '"features"', '"none"')
    shutil.rmtree(features(home, 1))
    shutil.rmtree(home / "runs/tiny_audio/2")
    plain = RecomputedRows.prepare
    calls = []

    def prepare(self: RecomputedRows, raw: torch.Tensor, where: Spans) -> torch.Tensor:
        calls.append(len(where))
        return plain(self, raw, where)

    def lean(chain: object, budget: object) -> fit.Setting:
        return fit.Setting(2, False, 1.3, fit.plain_setting(chain).peak)

    monkeypatch.setattr(RecomputedRows, "prepare", prepare)
    monkeypatch.setattr(stagework, "choose", lean)
    at(home, budget=fit.Budget(10**9, 0, 0, 0.0)).train_stage(2)
    trained = calls[: 6 * 2]
    assert trained == [2] * 12
