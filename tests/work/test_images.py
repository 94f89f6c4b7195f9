"""The whole chain on the tiny recipe: what is trained, reused, refused, and continued."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import torch
import xarray
import zarr
from helpers.homes import (
    CPU,
    RECIPES,
    StopAfter,
    at,
    bits,
    edit,
    finish,
    states,
    why,
)

import gimstage
from gimstage.draws import generator
from gimstage.errors import (
    BudgetError,
    BusyError,
    CacheError,
    DamagedCacheError,
    DataError,
    StaleCacheError,
    TrainingError,
)
from gimstage.inputs import PixelSource, TrainingDraws, output_source, prefetched
from gimstage.inputs.base import no_labels
from gimstage.inputs.images import GridSource, RecomputedGrids
from gimstage.progress import Interrupted, Progress, Watch
from gimstage.runs.tensors import read_header
from gimstage.stack import trained_stack
from gimstage.views import Windows
from gimstage.work.pipeline import Pipeline

TINY = RECIPES / "tiny"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the tiny recipe has run."""
    return finish(tmp_path_factory.mktemp("finished"), "tiny")


def test_a_finished_chain_is_done_and_is_not_done_again(home: Path) -> None:
    assert states(home) == ["done"] * 4
    before = bits(home)
    assert [at(home).train_stage(n) for n in (1, 2, 3)] == [False] * 3
    assert bits(home) == before


def test_each_stage_learns(finished: Path) -> None:
    for number in (1, 2, 3):
        manifest = json.loads((finished / f"runs/tiny/{number}/manifest.json").read_text())
        assert manifest["training"]["last"]["loss"] < manifest["training"]["first"]["loss"] + 0.05
        assert manifest["training"]["steps"] == 12


def test_a_run_again_gives_the_same_bits(fresh: Path, finished: Path) -> None:
    at(fresh, workers=1).run()
    assert bits(fresh) == bits(finished)


def test_metrics_hold_one_line_per_interval(finished: Path) -> None:
    lines = (finished / "runs/tiny/1/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 13))


def test_the_rows_of_the_probe_name_stage_task_protocol_and_accuracies(finished: Path) -> None:
    rows = at(finished).probe("probe")
    assert [(r["stage"], r["protocol"]) for r in rows] == [
        (stage, protocol)
        for protocol in ("converged", "paper")
        for stage in ("1", "2", "3", "pixels")
    ]
    assert all(
        r["task"] == "class" and r["chance"] == 0.1 and 0 <= r["accuracy"] <= 1 for r in rows
    )
    assert [r["random_init"] is None for r in rows] == [False, False, False, True] * 2


def test_bytes_on_disk_are_the_bytes_planned(finished: Path) -> None:
    pipeline = at(finished)
    for plan in pipeline.plans():
        assert plan.exact
        assert plan.cache_bytes == plan.cached_bytes > 0


@pytest.mark.parametrize("encoding", ["float32", "uint8", "round5", "float16_zstd"])
def test_every_encoding_trains_the_next_stage_and_plans_its_bytes(
    home: Path, encoding: str
) -> None:
    edit(home, "1_*.toml", '"float16"', f'"{encoding}"')
    pipeline = at(home)
    assert pipeline.train_stage(1)
    assert pipeline.train_stage(2)
    plan = pipeline.plans()[0]
    assert (
        plan.cached_bytes == plan.cache_bytes
        if plan.exact
        else plan.cached_bytes < plan.cache_bytes
    )


@pytest.mark.parametrize("encoding", ["float32", "float16", "round5"])
def test_recomputing_gives_the_input_that_the_cache_gives(home: Path, encoding: str) -> None:
    edit(home, "1_*.toml", '"float16"', f'"{encoding}"')
    pipeline = at(home)
    pipeline.train_stage(1)
    where = pipeline.data.stored.draw(generator(1, "test"), np.arange(48))
    cached = _input(pipeline, GridSource, where)
    shutil.rmtree(home / "runs/tiny/1/features.zarr")
    edit(home, "1_*.toml", '"features"', '"none"')
    recomputed = _input(at(home), RecomputedGrids, where)
    rounding = 1e-6 if encoding == "float32" else 4e-2
    torch.testing.assert_close(cached, recomputed, rtol=rounding, atol=1e-6)


def _input(pipeline: Pipeline, kind: type, where: Windows) -> torch.Tensor:
    source = output_source(pipeline.runs, pipeline.data, pipeline.recipe.chain(1), CPU)
    assert isinstance(source, kind)
    raw = source.fill(source.buffer(len(where), where.size), where)
    return source.prepare(raw, where)


def test_a_stage_trains_alike_from_the_cache_and_from_the_frozen_modules(home: Path) -> None:
    edit(home, "1_*.toml", '"float16"', '"float32"')
    losses = []
    for store in ("features", "none"):
        edit(home, "1_*.toml", 'store = "features"', f'store = "{store}"')
        pipeline = at(home)
        pipeline.train_stage(1)
        if store == "none":
            shutil.rmtree(home / "runs/tiny/1/features.zarr")
        shutil.rmtree(home / "runs/tiny/2")
        pipeline.train_stage(2)
        lines = (home / "runs/tiny/2/metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss"] for line in lines])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


def test_a_latent_crop_is_the_crop_encoded(finished: Path) -> None:
    pipeline = at(finished)
    stack = trained_stack(pipeline.runs, pipeline.recipe.chain(2)).double()
    source = pipeline.data.source()
    windows = pipeline.data.stored.draw(generator(2, "test"), np.arange(8))
    encoded = stack(_patches(source, windows).double())
    grids = stack(_patches(source, pipeline.data.stored.whole(np.arange(8))).double())
    cut = torch.stack(
        [g[r : r + 6, c : c + 6] for g, (_, _, r, c) in zip(grids, windows.starts, strict=True)]
    )
    torch.testing.assert_close(cut, encoded, rtol=1e-12, atol=1e-12)
    off = torch.stack(
        [
            g[(r + 1) % 3 :][:6, c : c + 6]
            for g, (_, _, r, c) in zip(grids, windows.starts, strict=True)
        ]
    )
    assert (off - encoded).abs().max() > 1e-3


def _patches(source: PixelSource | GridSource, windows: object) -> torch.Tensor:
    raw = source.fill(source.buffer(8, windows.size), windows)
    return source.prepare(raw, windows)


def test_training_a_stage_leaves_the_modules_below_untouched(home: Path) -> None:
    below = bits(home)
    shutil.rmtree(home / "runs/tiny/3")
    pipeline = at(home)
    pipeline.train_stage(3)
    assert {k: v for k, v in bits(home).items() if k[0] in "12"} == {
        k: v for k, v in below.items() if k[0] in "12"
    }
    stack = trained_stack(pipeline.runs, pipeline.recipe.chain(3))
    assert not any(p.requires_grad for p in stack.parameters())


def test_features_hold_what_the_frozen_module_gives(finished: Path) -> None:
    pipeline = at(finished)
    chain = pipeline.recipe.chain(2)
    stack = trained_stack(pipeline.runs, chain)
    source = pipeline.data.source()
    expected = stack(_patches(source, pipeline.data.stored.whole(np.arange(8)))).relu()
    stored = GridSource(finished / "runs/tiny/2/features.zarr")
    found = _patches(stored, pipeline.data.stored.whole(np.arange(8)))
    torch.testing.assert_close(found, expected, rtol=5e-3, atol=1e-3)


@pytest.mark.parametrize("looks", [1, 5, 11])
def test_interrupted_training_goes_on_to_the_same_bits(
    fresh: Path, finished: Path, looks: int
) -> None:
    with pytest.raises(Interrupted):
        at(fresh, StopAfter(looks)).train_stage(1)
    assert states(fresh)[0] == "partial"
    at(fresh).run()
    assert bits(fresh) == bits(finished)
    lines = [
        (home / "runs/tiny/1/metrics.jsonl").read_text().splitlines() for home in (fresh, finished)
    ]
    losses = [[json.loads(line)["loss"] for line in each] for each in lines]
    assert losses[0] == losses[1]


def test_editing_a_stage_makes_it_and_what_comes_after_stale(home: Path) -> None:
    edit(home, "2_*.toml", "learning_rate = 1e-3", "learning_rate = 2e-3")
    assert states(home) == ["done", "stale", "stale", "stale"]
    assert why(home, 2) == ("stage 2.train.learning_rate: 0.001 → 0.002",)
    assert why(home, 3) == ("stage 2.train.learning_rate: 0.001 → 0.002",)


def test_editing_the_crop_makes_every_stage_stale(home: Path) -> None:
    edit(home, "data.toml", "crop_px = 56", "crop_px = 64")
    assert states(home) == ["stale"] * 4
    assert all(why(home, n) == ("data.views.crop_px: 56 → 64",) for n in (1, 2, 3))


def test_editing_the_top_stage_reruns_it_and_the_probe_only(home: Path) -> None:
    before = bits(home)
    edit(home, "3_*.toml", "steps = 12", "steps = 11")
    assert states(home) == ["done", "done", "stale", "stale"]
    at(home).run()
    after = bits(home)
    assert {name for name in after if after[name] != before[name]} == {
        "3/weights.safetensors",
        "3/objective.safetensors",
        "3/features.zarr/features/c.0.0.0.0.0.0.0",
        "3/features.zarr/zarr.json",
    }


def test_another_encoding_extracts_again_without_training_again(home: Path) -> None:
    weights = (home / "runs/tiny/3/weights.safetensors").read_bytes()
    edit(home, "3_*.toml", '"float16"', '"round5"')
    assert at(home).train_stage(3)
    assert (home / "runs/tiny/3/weights.safetensors").read_bytes() == weights


def test_other_stored_views_leave_the_first_stages_weights(home: Path) -> None:
    weights = (home / "runs/tiny/1/weights.safetensors").read_bytes()
    edit(home, "data.toml", "count = 1", "count = 2")
    assert at(home).train_stage(1)
    assert (home / "runs/tiny/1/weights.safetensors").read_bytes() == weights


def test_a_fourth_stage_trains_on_top_without_touching_the_others(home: Path) -> None:
    before = bits(home)
    text = (home / "tiny/3_third.toml").read_text().replace("input = 2", "input = 3")
    (home / "tiny/4_fourth.toml").write_text(text.replace("width = 4", "width = 8"))
    assert at(home).train_stage(4)
    assert {k: v for k, v in bits(home).items() if not k.startswith("4")} == before


def test_other_data_makes_every_stage_stale(home: Path) -> None:
    pixels = next((home / "runs/data").glob("demo-*")) / "unlabeled_X.bin"
    with pixels.open("r+b") as file:
        file.write(b"\x07\x08\x09")
    assert states(home)[:3] == ["stale"] * 3
    assert why(home, 1)[0].startswith("data_sha256: ")


def rewrite(path: Path, **changes: object) -> None:
    """Change entries of a manifest."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def flip_last_bit(path: Path) -> None:
    """Damage a file without changing its size."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_retraining_below_makes_what_was_trained_on_it_stale(home: Path) -> None:
    rewrite(home / "runs/tiny/2/manifest.json", upstream_weights_sha256="0" * 64)
    assert why(home, 2) == ("stage tiny/1 before it was trained again, to other weights",)


@pytest.mark.parametrize("name", ["weights", "objective"])
@pytest.mark.parametrize("damage", [Path.unlink, flip_last_bit])
def test_damaged_weights_are_trained_again_to_the_same_bits(
    home: Path, finished: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(home / f"runs/tiny/2/{name}.safetensors")
    assert states(home) == ["done", "damaged", "stale", "stale"]
    at(home).run()
    assert bits(home) == bits(finished)


def test_features_of_other_weights_are_never_kept(home: Path, finished: Path) -> None:
    group = home / "runs/tiny/2/features.zarr/zarr.json"
    attributes = json.loads(group.read_text())
    attributes["attributes"]["weights_sha256"] = "0" * 64
    group.write_text(json.dumps(attributes, indent=2) + "\n")
    shard = next((home / "runs/tiny/2/features.zarr/features").glob("c*"))
    flip_last_bit(shard)
    (home / "runs/tiny/2/manifest.json").unlink()
    at(home).run()
    assert bits(home) == bits(finished)


def test_an_extraction_that_goes_on_checks_what_lies_there(home: Path, finished: Path) -> None:
    shard = next((home / "runs/tiny/2/features.zarr/features").glob("c*"))
    content = bytearray(shard.read_bytes())
    content[5000] ^= 1
    shard.write_bytes(content)
    (home / "runs/tiny/2/manifest.json").unlink()
    at(home).run()
    assert bits(home) == bits(finished)


def test_codes_asked_for_later_are_stored_without_training_again(home: Path) -> None:
    weights = (home / "runs/tiny/3/weights.safetensors").stat().st_mtime_ns
    edit(home, "3_*.toml", "codes = false", "codes = true")
    assert states(home)[2] == "partial"
    assert why(home, 3) == ("trained; codes not stored yet",)
    at(home).train_stage(3)
    assert gimstage.open_features(home / "runs/tiny/3").array("codes").shape[-1] == 16
    assert (home / "runs/tiny/3/weights.safetensors").stat().st_mtime_ns == weights


def test_features_may_be_deleted_once_they_are_not_asked_for(home: Path) -> None:
    edit(home, "1_*.toml", '"features"', '"none"')
    shutil.rmtree(home / "runs/tiny/1/features.zarr/features")
    pipeline = at(home)
    assert states(home) == ["done"] * 4
    assert isinstance(
        output_source(pipeline.runs, pipeline.data, pipeline.recipe.chain(1), CPU),
        RecomputedGrids,
    )
    shutil.rmtree(home / "runs/tiny/1/features.zarr")
    assert [entry["features"] for entry in at(home).verify()] == [False, True, True]


def test_training_above_a_stage_that_is_not_done_is_refused(fresh: Path) -> None:
    with pytest.raises(StaleCacheError) as error:
        at(fresh).train_stage(2)
    assert str(error.value) == (
        "stage tiny/1: missing; expected done; run `gimstage train-stage 1` of recipe tiny first"
    )


def test_training_above_a_stale_stage_is_refused_with_its_reason(home: Path) -> None:
    edit(home, "1_*.toml", "steps = 12", "steps = 13")
    with pytest.raises(StaleCacheError) as error:
        at(home).train_stage(2)
    assert str(error.value) == (
        "stage tiny/1: stale (stage 1.train.steps: 12 → 13); expected done; "
        "run `gimstage train-stage 1` of recipe tiny first"
    )


def test_a_truncated_shard_is_damage_and_only_it_is_written_again(
    home: Path, finished: Path
) -> None:
    shard = next((home / "runs/tiny/2/features.zarr/features").glob("c*"))
    shard.write_bytes(shard.read_bytes()[:-100])
    assert states(home) == ["done", "damaged", "stale", "stale"]
    weights = (home / "runs/tiny/2/weights.safetensors").stat().st_mtime_ns
    at(home).run()
    assert bits(home) == bits(finished)
    assert (home / "runs/tiny/2/weights.safetensors").stat().st_mtime_ns == weights


def test_features_without_a_manifest_are_not_trusted(home: Path) -> None:
    (home / "runs/tiny/2/manifest.json").unlink()
    assert states(home)[:3] == ["done", "partial", "stale"]
    with pytest.raises(StaleCacheError):
        at(home).train_stage(3)


def test_a_manifest_of_a_newer_format_is_refused(home: Path) -> None:
    path = home / "runs/tiny/1/manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(CacheError) as error:
        at(home).runs.folder("tiny/1").manifest()
    assert str(error.value) == f"{path}: format 99; expected at most 1; upgrade gimstage"
    assert states(home)[0] == "stale"
    with pytest.raises(CacheError):
        at(home).train_stage(1)
    assert json.loads(path.read_text())["format"] == 99


def test_a_manifest_that_is_no_json_is_damage(home: Path) -> None:
    (home / "runs/tiny/1/manifest.json").write_text("{")
    assert states(home)[0] == "damaged"


def test_a_second_process_on_a_stage_is_refused(fresh: Path) -> None:
    with at(fresh).runs.folder("tiny/1").lock(), pytest.raises(BusyError) as error:
        at(fresh).train_stage(1)
    assert "works on this stage; expected one writer; wait for it, or stop it" in str(error.value)


def test_a_stage_that_another_one_reads_is_not_trained_again(home: Path) -> None:
    edit(home, "1_*.toml", "learning_rate = 1e-3", "learning_rate = 2e-3")
    folder = at(home).runs.folder("tiny/1")
    with folder.reading(), folder.reading(), pytest.raises(BusyError) as error:
        at(home).train_stage(1)
    assert str(error.value) == (
        f"{folder.path}: another process reads this stage; expected one writer; "
        "wait for it, or stop it"
    )


def test_training_holds_the_stages_below_as_they_are(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gimstage.train import loop

    plain = loop.training_step

    def step(*args: object, **kwargs: object) -> list[torch.Tensor]:
        with pytest.raises(BusyError), at(home).runs.folder("tiny/1").lock():
            pass
        return plain(*args, **kwargs)

    monkeypatch.setattr(loop, "training_step", step)
    shutil.rmtree(home / "runs/tiny/3")
    at(home).train_stage(3)


def test_a_stage_stays_whole_until_its_new_training_is_over(home: Path) -> None:
    before, text = bits(home), next((home / "tiny").glob("1_*.toml")).read_text()
    edit(home, "1_*.toml", "learning_rate = 1e-3", "learning_rate = 1e30")
    with pytest.raises(TrainingError):
        at(home).train_stage(1)
    edit(home, "1_*.toml", "learning_rate = 1e30", "learning_rate = 3e-3")
    with pytest.raises(Interrupted):
        at(home, StopAfter(5)).train_stage(1)
    next((home / "tiny").glob("1_*.toml")).write_text(text)
    assert states(home) == ["done"] * 4
    assert {k: v for k, v in bits(home).items() if "checkpoint" not in k} == before


def test_a_training_killed_while_it_is_installed_is_installed_later(
    fresh: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gimstage.runs.folder import RunFolder

    def killed(self: RunFolder) -> None:
        self.training.objective.replace(self.objective)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "install", killed)
        with pytest.raises(KeyboardInterrupt):
            at(fresh).train_stage(1)
    at(fresh).run()
    assert bits(fresh) == bits(finished)


def test_features_that_lost_a_bit_are_not_trained_on(home: Path) -> None:
    shard = next((home / "runs/tiny/1/features.zarr/features").glob("c*"))
    data = bytearray(shard.read_bytes())
    data[1000] ^= 4
    shard.write_bytes(data)
    shutil.rmtree(home / "runs/tiny/2")
    with pytest.raises(DamagedCacheError) as error:
        at(home).train_stage(2)
    assert str(error.value).startswith(f"{shard}, chunk 0: checksum does not match; ")


@pytest.mark.parametrize("folder", ["2", "probe"])
def test_a_manifest_without_its_keys_is_damage(home: Path, folder: str) -> None:
    (home / f"runs/tiny/{folder}/manifest.json").write_text('{"format": 1, "stage": "tiny/2"}')
    assert states(home)[1 if folder == "2" else 3] == "damaged"
    at(home).run()
    assert states(home) == ["done"] * 4


def test_a_lost_record_of_losses_does_not_lose_the_weights(home: Path) -> None:
    (home / "runs/tiny/2/manifest.json").unlink()
    (home / "runs/tiny/2/metrics.jsonl").write_text('{"step": 1, "lo')
    weights = (home / "runs/tiny/2/weights.safetensors").read_bytes()
    at(home).train_stage(2)
    assert (home / "runs/tiny/2/weights.safetensors").read_bytes() == weights
    assert json.loads((home / "runs/tiny/2/manifest.json").read_text())["training"]["last"] is None


def test_features_too_large_for_their_encoding_are_refused_with_their_stage(fresh: Path) -> None:
    edit(fresh, "data.toml", "std = [0.2570]", "std = [1e-7]")
    edit(fresh, "1_*.toml", "learning_rate = 1e-3", "learning_rate = 1e-9")
    with pytest.raises(CacheError) as error:
        at(fresh).train_stage(1)
    assert str(error.value).startswith("stage tiny/1, the samples it is measured on, row ")


def test_labels_are_checked_before_anything_is_trained(fresh: Path) -> None:
    labels = next((fresh / "runs/data").rglob("train_y.bin"))
    labels.write_bytes(bytes([77]) + labels.read_bytes()[1:])
    with pytest.raises(DataError):
        at(fresh).run()
    assert states(fresh)[0] == "missing"


def test_a_store_left_by_a_kill_while_it_was_removed_is_cleared_away(home: Path) -> None:
    left = home / "runs/tiny/2/features.zarr.part"
    left.mkdir()
    (left / "x").write_text("x")
    shutil.rmtree(home / "runs/tiny/2/features.zarr")
    at(home).train_stage(2)
    assert not left.exists()


def test_a_lock_left_by_a_killed_process_is_no_obstacle(home: Path) -> None:
    import socket

    (home / "runs/tiny/1/lock").write_text(f"999999 {socket.gethostname()}\n")
    assert not at(home).train_stage(1)


def test_a_lock_of_another_host_is_respected(fresh: Path) -> None:
    lock = fresh / "runs/tiny/1/lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("12 elsewhere\n")
    with pytest.raises(BusyError) as error:
        at(fresh).train_stage(1)
    assert str(error.value) == (
        f"{lock.parent}: process 12 on elsewhere works on this stage; expected one writer; "
        f"if it no longer runs there, delete {lock}"
    )


def test_a_disk_too_small_is_refused_before_anything_is_written(fresh: Path) -> None:
    with pytest.raises(BudgetError) as error:
        at(fresh, max_disk=1000).run()
    assert "of features in all; expected at most --max-disk 1.0 kB; " in str(error.value)
    assert not (fresh / "runs/tiny/1/checkpoint").exists()


def test_a_nan_loss_stops_names_the_step_and_keeps_the_checkpoint(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gimstage.train import loop

    plain = loop.training_step
    steps: Iterator[int] = iter(range(1, 100))

    def broken(*args: object, **kwargs: object) -> list[torch.Tensor]:
        (values,) = plain(*args, **kwargs)
        return [values * float("nan") if next(steps) == 7 else values]

    monkeypatch.setattr(loop, "training_step", broken)
    with pytest.raises(TrainingError) as error:
        at(fresh, checkpoint_every_s=0.0).train_stage(1)
    assert str(error.value) == (
        "stage tiny/1, step 7: loss is nan; expected finite numbers; the last good checkpoint and "
        'what the stage was before are kept; lower learning_rate or use precision = "float32"'
    )
    assert read_header(fresh / "runs/tiny/1/checkpoint/state.safetensors")["step"] == 6


def test_an_epoch_shows_every_sample_once() -> None:
    draws = TrainingDraws(
        samples=np.arange(48),
        batch_size=8,
        seed=3,
        size=7,
        draw=lambda rng, samples: samples,
        labels=no_labels,
        held_out=[],
    )
    epochs = [np.concatenate([draws(6 * epoch + i) for i in range(6)]) for epoch in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(48))
    assert not np.array_equal(epochs[0], epochs[1])


def test_prefetching_keeps_the_order_and_passes_errors_on(finished: Path) -> None:
    pipeline = at(finished)
    source = pipeline.data.source()
    places = [pipeline.data.live().centre(np.array([n, n + 1])) for n in range(9)]
    buffers = [source.buffer(2, 6) for _ in range(3)]
    read = [raw.clone() for raw, _ in prefetched(source, places, buffers=buffers, workers=2)]
    for raw, place in zip(read, places, strict=True):
        alone = source.buffer(2, 6)
        source.fill(alone, place)
        assert torch.equal(raw, alone)
    bad = pipeline.data.live().centre(np.array([10**6]))
    with pytest.raises(DataError):
        list(prefetched(source, [bad], buffers=buffers, workers=2))


def test_progress_is_reported_to_the_end(fresh: Path) -> None:
    heard: list[Progress] = []
    at(fresh, Watch(heard.append)).train_stage(1)
    finals = {p.task: p for p in heard if p.done == p.total}
    assert set(finals) == {"tiny/1 train", "tiny/1 extract"}
    assert finals["tiny/1 train"].total == 12
    assert finals["tiny/1 extract"].total == 48


def test_load_gives_the_frozen_stack_from_its_manifests_alone(home: Path) -> None:
    pipeline = at(home)
    expected = trained_stack(pipeline.runs, pipeline.recipe.chain(3))
    shutil.rmtree(home / "tiny")
    stack = gimstage.load(home / "runs/tiny/3")
    patches = torch.rand(2, 6, 6, 1, 16, 16, generator=generator(4, "test"))
    assert stack.names == ["tiny/1", "tiny/2", "tiny/3"]
    assert torch.equal(stack(patches), expected(patches))
    assert {name: codes.shape for name, codes in stack.codes(patches).items()} == {
        "tiny/1": (2, 6, 6, 8),
        "tiny/2": (2, 6, 6, 16),
        "tiny/3": (2, 6, 6, 16),
    }


def test_load_refuses_a_stack_whose_parts_do_not_belong_together(home: Path) -> None:
    manifest = home / "runs/tiny/1/manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"weights_sha256": "0" * 64}))
    with pytest.raises(StaleCacheError) as error:
        gimstage.load(home / "runs/tiny/3")
    assert str(error.value) == (
        f"{home / 'runs/tiny/1'}: trained again since the stage above; "
        "run `gimstage run` to bring all stages up to date"
    )


def test_open_features_gives_a_checked_reader(home: Path) -> None:
    reader = gimstage.open_features(home / "runs/tiny/2")
    assert reader.array("codes").shape == (48, 1, 8, 8, 16)
    next((home / "runs/tiny/2/features.zarr/codes").glob("c*")).unlink()
    with pytest.raises(DamagedCacheError):
        gimstage.open_features(home / "runs/tiny/2")


def test_stored_features_open_alike_in_zarr_xarray_and_tensorstore(finished: Path) -> None:
    path = finished / "runs/tiny/2/features.zarr"
    group = zarr.open_group(path, mode="r")
    data = xarray.open_zarr(path, consolidated=False)
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path / "features")}}
    values = group["features"][:]
    assert np.array_equal(values, data["features"].values)
    assert np.array_equal(values, tensorstore.open(spec).result().read().result())
    assert data["features"].dims == ("sample", "view", "row", "column", "channel", "y", "x")
    assert group.attrs["gimstage"] == "features of module tiny/2"
    reader = gimstage.open_features(path.parent)
    raw = torch.empty(48, 1, 8, 8, 16, 4, 4, dtype=torch.float16)
    reader.read("features", raw.unsqueeze(1), np.arange(48)[:, None])
    assert np.array_equal(values, raw.numpy())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_the_chain_runs_on_a_gpu_to_losses_close_to_the_cpus(fresh: Path, finished: Path) -> None:
    at(fresh, device=torch.device("cuda")).run()
    losses = []
    for home in (fresh, finished):
        lines = (home / "runs/tiny/3/metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss"] for line in lines])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
