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
from gimstage.inputs import (
    FeatureSource,
    Images,
    PixelSource,
    RecomputedSource,
    TrainingDraws,
    output_source,
    prefetched,
)
from gimstage.pipeline import Pipeline, Settings
from gimstage.progress import Interrupted, Progress, Watch
from gimstage.recipe import Recipe
from gimstage.stack import trained_stack
from gimstage.tensors import read_header
from gimstage.views import Windows

TINY = Path(__file__).parent / "recipes/tiny"
CPU = torch.device("cpu")


def open_pipeline(
    recipe: Path, runs: Path, watch: Watch | None = None, **changes: object
) -> Pipeline:
    """A pipeline on the CPU that saves no checkpoint unless asked."""
    loaded = Recipe.load(recipe)
    settings = {"device": CPU, "workers": 2, "max_disk": None, "checkpoint_every_s": 1e9}
    return Pipeline(
        loaded,
        Images.find(loaded.data, None, runs),
        root=runs,
        settings=Settings(**(settings | changes)),
        watch=watch or Watch(),
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny recipe and its finished runs."""
    home = tmp_path_factory.mktemp("finished")
    shutil.copytree(TINY, home / "tiny")
    open_pipeline(home / "tiny", home / "runs").run()
    return home


@pytest.fixture
def home(finished: Path, tmp_path: Path) -> Path:
    """A copy of it that may be changed."""
    return Path(shutil.copytree(finished, tmp_path / "home"))


@pytest.fixture
def fresh(finished: Path, tmp_path: Path) -> Path:
    """The recipe and its data without any run."""
    shutil.copytree(finished / "tiny", tmp_path / "home/tiny")
    shutil.copytree(finished / "runs/data", tmp_path / "home/runs/data")
    return tmp_path / "home"


def at(home: Path, watch: Watch | None = None, **changes: object) -> Pipeline:
    """The pipeline of a folder made by a fixture."""
    return open_pipeline(home / "tiny", home / "runs", watch, **changes)


def edit(home: Path, name: str, old: str, new: str) -> None:
    """Replace a text, which must be there, in a file of the recipe."""
    path = next((home / "tiny").glob(name))
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def states(home: Path) -> list[str]:
    """The states of the three stages and the probe."""
    pipeline = at(home)
    return [status.state for status in pipeline.statuses() + pipeline.probe_statuses()]


def why(home: Path, number: int) -> tuple[str, ...]:
    """The reasons for the state of a stage."""
    return at(home).statuses()[number - 1].why


def bits(home: Path) -> dict[str, bytes]:
    """The bytes of all weights and features of the runs."""
    runs = home / "runs/tiny"
    files = [*runs.rglob("*.safetensors"), *runs.rglob("features.zarr/**/*")]
    return {str(f.relative_to(runs)): f.read_bytes() for f in files if f.is_file()}


class StopAfter(Watch):
    """A watch that asks to stop at the n-th look."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    def due(self) -> bool:
        self.looks -= 1
        if self.looks <= 0:
            self.stop.set()
        return False


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
    where = pipeline.stored.draw(generator(1, "test"), np.arange(48))
    cached = _input(pipeline, FeatureSource, where)
    shutil.rmtree(home / "runs/tiny/1/features.zarr")
    edit(home, "1_*.toml", '"features"', '"none"')
    recomputed = _input(at(home), RecomputedSource, where)
    rounding = 1e-6 if encoding == "float32" else 4e-2
    torch.testing.assert_close(cached, recomputed, rtol=rounding, atol=1e-6)


def _input(pipeline: Pipeline, kind: type, where: Windows) -> torch.Tensor:
    source = output_source(pipeline.runs, pipeline.images, pipeline.recipe.chain(1), CPU)
    assert isinstance(source, kind)
    buffer = source.buffer(len(where.sample), where.size)
    source.fill(buffer, where)
    return source.prepare(buffer)


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
    source = pipeline.images.source(pipeline.split)
    windows = pipeline.stored.draw(generator(2, "test"), np.arange(8))
    encoded = stack(_patches(source, windows).double())
    grids = stack(_patches(source, pipeline.stored.whole(np.arange(8))).double())
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


def _patches(source: PixelSource, windows: object) -> torch.Tensor:
    buffer = source.buffer(8, windows.size)
    source.fill(buffer, windows)
    return source.prepare(buffer)


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
    source = pipeline.images.source(pipeline.split)
    expected = stack(_patches(source, pipeline.stored.whole(np.arange(8)))).relu()
    stored = FeatureSource(finished / "runs/tiny/2/features.zarr")
    buffer = stored.buffer(8, pipeline.stored.patches)
    stored.fill(buffer, pipeline.stored.whole(np.arange(8)))
    torch.testing.assert_close(stored.prepare(buffer), expected, rtol=5e-3, atol=1e-3)


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
        output_source(pipeline.runs, pipeline.images, pipeline.recipe.chain(1), CPU),
        RecomputedSource,
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


def test_a_second_process_on_a_stage_is_refused(home: Path) -> None:
    with at(home).runs.folder("tiny/1").lock(), pytest.raises(BusyError) as error:
        at(home).train_stage(1)
    assert "works on this stage; expected one writer; wait for it, or stop it" in str(error.value)


def test_a_lock_left_by_a_killed_process_is_no_obstacle(home: Path) -> None:
    import socket

    (home / "runs/tiny/1/lock").write_text(f"999999 {socket.gethostname()}\n")
    assert not at(home).train_stage(1)


def test_a_lock_of_another_host_is_respected(home: Path) -> None:
    lock = home / "runs/tiny/1/lock"
    lock.write_text("12 elsewhere\n")
    with pytest.raises(BusyError) as error:
        at(home).train_stage(1)
    assert str(error.value) == (
        f"{lock.parent}: process 12 on elsewhere works on this stage; expected one writer; "
        f"if it no longer runs there, delete {lock}"
    )


def test_a_disk_too_small_is_refused_before_anything_is_written(fresh: Path) -> None:
    with pytest.raises(BudgetError) as error:
        at(fresh, max_disk=1000).run()
    assert "of features in all; expected at most --max-disk 1.0 kB; " in str(error.value)
    assert not (fresh / "runs/tiny/1/metrics.jsonl").exists()


def test_a_nan_loss_stops_names_the_step_and_keeps_the_checkpoint(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gimstage import train

    plain = train.training_step
    steps: Iterator[int] = iter(range(1, 100))

    def broken(*args: object, **kwargs: object) -> torch.Tensor:
        values = plain(*args, **kwargs)
        return values * float("nan") if next(steps) == 7 else values

    monkeypatch.setattr(train, "training_step", broken)
    with pytest.raises(TrainingError) as error:
        at(fresh, checkpoint_every_s=0.0).train_stage(1)
    assert str(error.value) == (
        "stage tiny/1, step 7: loss is nan; expected finite numbers; the last good checkpoint is "
        'kept; lower learning_rate or use precision = "float32"'
    )
    assert read_header(fresh / "runs/tiny/1/checkpoint/state.safetensors")["step"] == 6


def test_an_epoch_shows_every_sample_once() -> None:
    draws = TrainingDraws(
        num_samples=48, batch_size=8, seed=3, size=7, draw=lambda rng, samples: samples
    )
    epochs = [np.concatenate([draws(6 * epoch + i) for i in range(6)]) for epoch in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(48))
    assert not np.array_equal(epochs[0], epochs[1])


def test_prefetching_keeps_the_order_and_passes_errors_on(finished: Path) -> None:
    pipeline = at(finished)
    source = pipeline.images.source(pipeline.split)
    places = [pipeline.images.live().centre(np.array([n, n + 1])) for n in range(9)]
    buffers = [source.buffer(2, 6) for _ in range(3)]
    read = [raw.clone() for raw in prefetched(source, places, buffers=buffers, workers=2)]
    for raw, place in zip(read, places, strict=True):
        alone = source.buffer(2, 6)
        source.fill(alone, place)
        assert torch.equal(raw, alone)
    bad = pipeline.images.live().centre(np.array([10**6]))
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
