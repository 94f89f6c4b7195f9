"""The whole chain on images: what is trained, reused, refused and continued."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.homes import RECIPES, StopAfter, at, bits, edit, states

from gimstage.errors import BudgetError, BusyError, CacheError, DataError, TrainingError
from gimstage.progress import Interrupted, Progress, Watch
from gimstage.runs.folder import RunFolder
from gimstage.runs.tensors import read_header
from gimstage.stack import trained_stack
from gimstage.train import loop


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


def test_a_fourth_stage_trains_on_top_without_touching_the_others(home: Path) -> None:
    before = bits(home)
    text = (home / "tiny/3_third.toml").read_text().replace("input = 2", "input = 3")
    (home / "tiny/4_fourth.toml").write_text(text.replace("width = 4", "width = 8"))
    assert at(home).train_stage(4)
    assert {k: v for k, v in bits(home).items() if not k.startswith("4")} == before


def test_training_holds_the_stages_below_as_they_are(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = loop.training_step

    def step(*args: object, **kwargs: object) -> list[torch.Tensor]:
        with pytest.raises(BusyError), at(home).runs.folder("tiny/1").lock():
            pass
        return plain(*args, **kwargs)

    monkeypatch.setattr(loop, "training_step", step)
    shutil.rmtree(home / "runs/tiny/3")
    at(home).train_stage(3)


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


def test_a_disk_too_small_is_refused_before_anything_is_written(fresh: Path) -> None:
    with pytest.raises(BudgetError) as error:
        at(fresh, max_disk=1000).run()
    assert "of features in all; expected at most --max-disk 1.0 kB; " in str(error.value)
    assert not (fresh / "runs/tiny/1/checkpoint").exists()


def test_a_nan_loss_stops_names_the_step_and_keeps_the_checkpoint(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    kept = RunFolder(fresh / "runs/tiny/1").training.states
    assert [read_header(path)["step"] for path in kept] == [5, 6]


def test_progress_is_reported_to_the_end(fresh: Path) -> None:
    heard: list[Progress] = []
    at(fresh, Watch(heard.append)).train_stage(1)
    finals = {p.task: p for p in heard if p.done == p.total}
    assert set(finals) == {"tiny/1 train", "tiny/1 extract"}
    assert finals["tiny/1 train"].total == 12
    assert finals["tiny/1 extract"].total == 48


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_the_chain_runs_on_a_gpu_to_losses_close_to_the_cpus(fresh: Path, finished: Path) -> None:
    at(fresh, device=torch.device("cuda")).run()
    losses = []
    for home in (fresh, finished):
        lines = (home / "runs/tiny/3/metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss"] for line in lines])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)


def test_stages_train_on_both_splits_and_probes_on_a_fold(tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(RECIPES / "tiny", home / "tiny")
    for name in ("2_second.toml", "3_third.toml"):
        (home / "tiny" / name).unlink()
    edit(home, "data.toml", '"unlabeled"', '"train+unlabeled"')
    edit(home, "probe.toml", "inputs = [1, 2, 3]", "inputs = [1]")
    edit(home, "probe.toml", 'train_split = "train"', 'train_split = "fold1"')
    pipeline = at(home)
    assert pipeline.data.num_samples == 88
    folds = [" ".join(map(str, range(first, first + 20))) for first in (0, 20)]
    (pipeline.data.root / "fold_indices.txt").write_text("\n".join(folds))
    pipeline.train_stage(1)
    assert {row["train_samples"] for row in pipeline.probe("probe")} == {20}
