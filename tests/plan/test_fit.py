"""The fastest exact setting within a budget, what it predicts, and what runs under it record."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.homes import RECIPES, STAGES, at, edit, one_step, parts_of

from gimstage.errors import BudgetError
from gimstage.modules import ResNetModule
from gimstage.plan import fit
from gimstage.plan.fit import choose, plain_setting, predicted_peak, recomputed_below
from gimstage.plan.memory import Budget
from gimstage.recipe.chain import Chain
from gimstage.recipe.recipe import Recipe
from gimstage.runs.manifest import MemoryRecord
from gimstage.train import loop
from gimstage.work.base import say_once

STL10 = STAGES / "stl10"


def chain_of(number: int, recipe: Path = RECIPES / "tiny") -> Chain:
    return Recipe.load(recipe).chain(number)


def budget(total_bytes: int) -> Budget:
    return Budget(total_bytes, context_bytes=0, workspace_bytes=0, margin_share=0.0)


def test_a_roomy_budget_takes_the_plain_step() -> None:
    setting = choose(chain_of(2), budget(10**9))
    assert (setting.micro_batch, setting.checkpointing, setting.relative_time) == (8, False, 1.0)
    assert setting == plain_setting(chain_of(2))


def test_the_fastest_setting_that_fits_is_chosen() -> None:
    chain = chain_of(2, STL10)
    plain = plain_setting(chain).peak.reserved_bytes
    leaner = choose(chain, budget(plain - 1))
    assert leaner.peak.reserved_bytes < plain
    assert leaner.relative_time > 1
    room = predicted_peak(chain, 4, False).reserved_bytes
    small = choose(chain, budget(room))
    assert (small.micro_batch, small.checkpointing) == (4, False)
    assert predicted_peak(chain, 8, False).reserved_bytes > room


def test_the_published_stages_fit_as_the_design_asks() -> None:
    for number in (1, 2, 3):
        chain = chain_of(number, STL10)
        assert predicted_peak(chain, 32, False).reserved_bytes <= 2800 * 2**20
        assert predicted_peak(chain, 4, False).reserved_bytes <= 512 * 2**20


def test_a_budget_below_the_leanest_is_refused_with_what_it_would_take() -> None:
    chain = chain_of(1)
    with pytest.raises(BudgetError) as caught:
        choose(chain, Budget(1_000_000, 500_000, 250_000, 0.1))
    smallest = caught.value.smallest_bytes
    assert smallest is not None
    assert choose(chain, Budget(smallest, 500_000, 250_000, 0.1)).micro_batch < 8
    tensors = (smallest - 750_000) * 0.9
    assert str(caught.value) == (
        f"stage tiny/1, --gpu-mem 1.0 MB: {tensors / 1e6:.1f} MB predicted for tensors at the "
        "least (micro-batch 2), 225.0 kB left for them; expected at least "
        f"{smallest / 1e6:.1f} MB: with 500.0 kB for the context, 250.0 kB for workspaces and 10% "
        "margin; allow more memory, set less aside (--gpu-context, --gpu-workspace, --gpu-margin), "
        'or choose a narrower module or precision = "bfloat16"'
    )


def test_batch_statistics_forbid_micro_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ResNetModule, "uses_batch_statistics", True)
    chain = chain_of(2)
    assert choose(chain, budget(10**9)).micro_batch == 8
    with pytest.raises(BudgetError) as caught:
        choose(chain, budget(1_000_000))
    peak = predicted_peak(chain, 8, True).reserved_bytes
    assert caught.value.smallest_bytes == peak
    assert str(caught.value) == (
        f"stage tiny/2, --gpu-mem 1.0 MB: {peak / 1e6:.1f} MB predicted for tensors at the least "
        "(micro-batch 8; batch statistics forbid smaller ones), 1.0 MB left for them; expected at "
        f"least {peak / 1e6:.1f} MB: with 0 B for the context, 0 B for workspaces and 0% margin; "
        "allow more memory, set less aside (--gpu-context, --gpu-workspace, --gpu-margin), or "
        'choose a narrower module or precision = "bfloat16"'
    )


def test_modules_that_are_run_again_are_counted(tmp_path: Path) -> None:
    stored = chain_of(3)
    folder = tmp_path / "tiny"
    folder.mkdir()
    for path in (RECIPES / "tiny").iterdir():
        (folder / path.name).write_text(path.read_text().replace('"features"', '"none"'))
    again = chain_of(3, folder)
    assert [part.last.number for part in recomputed_below(again)] == [1, 2]
    assert recomputed_below(stored) == []
    more = predicted_peak(again, 8, False).allocated_bytes
    assert more > predicted_peak(stored, 8, False).allocated_bytes


def test_each_setting_is_traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = chain_of(1)
    first = predicted_peak(chain, 8, False)
    monkeypatch.setattr(fit, "_traced", lambda *_: None)
    assert predicted_peak(chain, 8, False) is first


def losses(home: Path, number: int) -> list[float]:
    lines = (home / f"runs/tiny/{number}/metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def test_a_run_under_a_small_budget_has_the_losses_of_the_plain_run(
    fresh: Path, finished: Path, caplog: pytest.LogCaptureFixture
) -> None:
    say_once.cache_clear()  # once a process; another test may have made it say so
    with caplog.at_level(logging.WARNING):
        at(fresh, budget=budget(4_000_000)).train_stage(1)
    assert "--gpu-mem is planned with, not enforced, on cpu" in caplog.messages
    np.testing.assert_allclose(losses(fresh, 1), losses(finished, 1), rtol=1e-5)
    memory = json.loads((fresh / "runs/tiny/1/manifest.json").read_text())["memory"]
    assert memory["micro_batch"] < 8
    assert memory["budget_bytes"] == 4_000_000
    assert 0 < memory["predicted_allocated_bytes"] <= memory["predicted_reserved_bytes"] <= 4e6
    assert memory["measured_reserved_bytes"] is None
    assert at(fresh).memory("1") == MemoryRecord(**memory)


def test_a_step_that_runs_out_of_memory_names_itself_and_keeps_the_checkpoint(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, calls = loop.training_step, iter(range(1, 100))

    def step(*args: object, **kwargs: object) -> torch.Tensor:
        if next(calls) == 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0")
        return plain(*args, **kwargs)

    monkeypatch.setattr(loop, "training_step", step)
    with pytest.raises(BudgetError) as caught:
        at(fresh, checkpoint_every_s=0).train_stage(1)
    assert str(caught.value) == (
        "stage tiny/1, step 5: out of GPU memory: CUDA out of memory; expected a step within the "
        "memory allowed; its last checkpoint is kept; allow more, or have a leaner step chosen: "
        "--gpu-mem below what is free, --gpu-margin above 10 %"
    )
    assert (fresh / "runs/tiny/1/checkpoint/state.safetensors").exists()


def test_the_plan_counts_what_is_recomputed_and_says_when_a_cache_pays(fresh: Path) -> None:
    stored = at(fresh).plan(at(fresh).recipe.chain(2))
    edit(fresh, "1_*.toml", '"features"', '"none"')
    again = at(fresh).plan(at(fresh).recipe.chain(2))
    assert again.flops_per_step > stored.flops_per_step
    # A crop of 6 × 6 patches of 8 channels, 8 × 8 float16 values each, or its 56 × 56 pixels.
    assert stored.read_bytes_per_step == 8 * 6 * 6 * 8 * 8 * 8 * 2
    assert again.read_bytes_per_step == 8 * 3 * 56 * 56
    assert stored.recompute is not None
    assert stored.recompute.sample_bytes * 8 == stored.read_bytes_per_step
    ratio = stored.recompute.sample_bytes / 1e9 / (stored.recompute.sample_flops / 1e12)
    assert stored.recompute.crossing_gb_per_tflop == pytest.approx(ratio)
    assert stored.hours is None


def test_a_calibration_gives_hours_and_a_verdict(fresh: Path) -> None:
    pipeline = at(fresh)
    pipeline.calibrate()
    plan = at(fresh).plan(at(fresh).recipe.chain(2))
    assert plan.hours is not None
    assert plan.hours > 0
    assert plan.recompute is not None
    assert plan.recompute.faster in ("cache", "recompute")
    assert plan.recompute.crossing_bytes_per_s is not None
    edit(fresh, "2_*.toml", "width = 4", "width = 6")
    assert at(fresh).plan(at(fresh).recipe.chain(2)).hours is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("recipe", "number", "micro_batch"),
    [
        *(("stl10", number, count) for number in (1, 2, 3) for count in (32, 4)),
        *(("librispeech", number, 8) for number in range(1, 7)),
    ],
)
def test_the_prediction_is_within_ten_per_cent_of_a_gpu(
    tmp_path: Path, recipe: str, number: int, micro_batch: int, precision: str
) -> None:
    from gimstage.draws import generator

    folder = tmp_path / recipe
    folder.mkdir()
    for path in (STL10.parent / recipe).iterdir():
        text = path.read_text().replace('"float32"', f'"{precision}"')
        (folder / path.name).write_text(text.replace('store = "none"', 'store = "features"'))
    chain, device = chain_of(number, folder), torch.device("cuda")
    batch_size = chain.last.spec.train.batch_size
    module, objective = (part.to(device) for part in parts_of(chain))
    adam = torch.optim.Adam([*module.parameters(), *objective.parameters()])
    side = (7, 7) if recipe == "stl10" else ()
    batch = torch.randn(batch_size, *side, *chain.shapes()[-2])
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    for _ in range(2):
        one_step(
            module,
            objective,
            optimiser=adam,
            load=lambda first, last: batch[first:last].to(device),
            count=batch_size,
            rng=generator(1, "test"),
            precision=precision,
            micro_batch=micro_batch,
        )
    predicted = predicted_peak(chain, micro_batch, False).allocated_bytes
    assert torch.cuda.max_memory_allocated() == pytest.approx(predicted, rel=0.1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_budget_is_kept_to_and_its_peak_recorded(fresh: Path) -> None:
    device = torch.device("cuda")
    limits = Budget(10**9, context_bytes=5 * 10**8, workspace_bytes=10**8, margin_share=0.1)
    at(fresh, device=device, budget=limits).train_stage(1)
    memory = at(fresh).memory("1")
    assert memory is not None
    assert 0 < memory.measured_allocated_bytes <= memory.measured_reserved_bytes <= 5 * 10**8
