"""What a recipe will cost: work, bytes, disk and steps, reckoned before anything runs."""

import shutil
from pathlib import Path

import pytest
import torch
from helpers.homes import RECIPES, at, edit
from torch.utils.flop_counter import FlopCounterMode

from gimstage.errors import BudgetError, DataError
from gimstage.plan.calibration import Calibration
from gimstage.plan.calibration import _key as key_of
from gimstage.plan.cost import (
    StagePlan,
    forward_work,
    plan_stage,
    plan_stages,
    require_disk,
    require_steps,
    step_forward_work,
)
from gimstage.recipe.chain import Chain
from gimstage.recipe.recipe import Recipe

STAGES = [("tiny", n) for n in (1, 2, 3)] + [("tiny_audio", n) for n in range(1, 7)]


def chain_of(recipe: str, number: int) -> Chain:
    return Recipe.load(RECIPES / recipe).chain(number)


@pytest.mark.parametrize(("recipe", "number"), STAGES[:-1])  # torch counts no recurrent layer
def test_the_work_of_a_stage_is_what_a_flop_counter_sees(recipe: str, number: int) -> None:
    chain = chain_of(recipe, number)
    module, shape = chain.modules()[-1], chain.shapes()[-2]
    crop = torch.zeros(1, *chain.modality.crop_shape(shape), device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(crop)
    assert 2 * forward_work(chain) == counter.get_total_flops()


@pytest.mark.parametrize(("recipe", "number"), STAGES)
def test_a_step_does_the_work_of_the_module_and_of_its_loss(recipe: str, number: int) -> None:
    chain = chain_of(recipe, number)
    assert step_forward_work(chain) > forward_work(chain)


def plan(chain: Chain, calibration: Calibration | None = None) -> StagePlan:
    return plan_stage(chain, None, cached_bytes=0, budget=None, calibration=calibration)


def test_without_data_all_that_depends_on_its_size_is_left_open() -> None:
    found = plan(chain_of("tiny", 2))
    assert [found.steps, found.feature_shape, found.cache_bytes, found.exact] == [None] * 4
    assert found.hours is None
    assert found.flops_per_step == 2 * 3 * 8 * step_forward_work(chain_of("tiny", 2))


def test_a_first_stage_reads_bytes_of_pixels_and_a_later_one_halves() -> None:
    first, second = plan(chain_of("tiny", 1)), plan(chain_of("tiny", 2))
    assert first.read_bytes_per_step == 8 * 56 * 56 * 3  # coloured, before they are made gray
    assert second.read_bytes_per_step == 8 * 6 * 6 * (8 * 8 * 8) * 2
    assert first.recompute is None


@pytest.mark.parametrize(("speed", "faster"), [(1e3, "recompute"), (1e12, "cache")])
def test_the_faster_way_to_the_input_depends_on_the_disk(speed: float, faster: str) -> None:
    below, chain = chain_of("tiny", 1), chain_of("tiny", 2)
    seconds = {key_of(each): (0.5, 1.0) for each in (below, chain)}
    found = plan(chain, Calibration("cpu", speed, speed, seconds)).recompute
    assert found is not None
    assert found.faster == faster
    assert found.crossing_bytes_per_s == found.sample_bytes / 0.5
    assert found.sample_flops == 2 * forward_work(below)


def test_of_stages_too_large_the_largest_is_named() -> None:
    refusals = {1: 5, 2: 9, 3: 7}

    def refuse(chain: Chain) -> StagePlan:
        number = chain.last.number
        raise BudgetError(f"stage {number}", "too much", smallest_bytes=refusals[number])

    with pytest.raises(BudgetError) as caught:
        plan_stages([chain_of("tiny", n) for n in (1, 2, 3)], refuse)
    assert (caught.value.where, caught.value.smallest_bytes) == ("stage 2", 9)


def test_steps_are_those_asked_for_or_whole_batches_of_all_epochs(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(RECIPES / "tiny", tmp_path / "tiny"))
    assert require_steps(Recipe.load(folder).chain(1), 48) == 12
    edit(tmp_path, "1_*.toml", "steps = 12", "epochs = 3")
    chain = Recipe.load(folder).chain(1)
    assert [require_steps(chain, n) for n in (8, 15, 16, 48)] == [3, 3, 6, 18]


def test_less_than_a_batch_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        require_steps(chain_of("tiny", 1), 7)
    assert str(caught.value) == (
        "stage tiny/1: 7 unlabeled samples; expected at least one batch of 8; "
        "use more data or a smaller batch_size"
    )


CURE = 'choose a smaller encoding, fewer stored views, or store = "none"; see `gimstage plan`'


def test_what_the_disk_cannot_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=999)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    root = tmp_path / "runs"
    require_disk("recipe x", 999, root=root, total_bytes=10**9, max_disk=None)
    with pytest.raises(BudgetError) as caught:
        require_disk("recipe x", 1000, root=root, total_bytes=1000, max_disk=None)
    assert str(caught.value) == (
        f"recipe x: 1.0 kB of features to write, 999 B free on the disk of {root}; "
        f"expected enough free disk; {CURE}"
    )


def test_what_is_allowed_counts_all_features_written_or_not(tmp_path: Path) -> None:
    require_disk("recipe x", 1, root=tmp_path, total_bytes=2000, max_disk=2000)
    with pytest.raises(BudgetError) as caught:
        require_disk("recipe x", 1, root=tmp_path, total_bytes=2001, max_disk=2000)
    assert str(caught.value) == (
        f"recipe x: 2.0 kB of features in all; expected at most --max-disk 2.0 kB; {CURE}"
    )


@pytest.mark.parametrize("encoding", ["float32", "uint8"])
def test_the_plan_counts_the_bytes_of_the_encoding_that_is_read(fresh: Path, encoding: str) -> None:
    before = at(fresh).plans()
    edit(fresh, "1_*.toml", '"float16"', f'"{encoding}"')
    after = at(fresh).plans()
    factor = {"float32": 2, "uint8": 0.5}[encoding]
    reads = [plan.read_bytes_per_step for plan in before]
    assert [p.read_bytes_per_step for p in after] == [reads[0], factor * reads[1], reads[2]]


def test_what_is_not_stored_takes_no_disk_and_is_counted_as_work_above(fresh: Path) -> None:
    before = at(fresh).plans()
    edit(fresh, "1_*.toml", '"features"', '"none"')
    after = at(fresh).plans()
    below = 2 * 8 * forward_work(at(fresh).recipe.chain(1))
    assert [plan.cache_bytes for plan in after] == [0, before[1].cache_bytes, before[2].cache_bytes]
    assert after[1].flops_per_step == before[1].flops_per_step + below
    assert after[1].read_bytes_per_step == before[0].read_bytes_per_step


def test_what_a_crop_is_warmed_up_on_is_read_and_run_forward(tmp_path: Path) -> None:
    plans = []
    for before in ("", "warm_up_frames = 256\n"):
        folder = Path(shutil.copytree(RECIPES / "tiny_audio", tmp_path / f"a{len(before)}"))
        path = folder / "6_gru.toml"
        views = f"[views]\ncrop_frames = 128\n{before}\n[module]"
        path.write_text(path.read_text().replace("[module]", views))
        chain = Recipe.load(folder).chain(6)
        how = {"cached_bytes": 0, "budget": None, "calibration": None}
        plans.append(plan_stage(chain, None, **how))
    plain, warmed_up = plans
    assert warmed_up.read_bytes_per_step == 3 * plain.read_bytes_per_step
    forward = 2 * 4 * forward_work(chain)  # a multiply-add is two, the batch four
    assert warmed_up.flops_per_step == plain.flops_per_step + 2 * forward
