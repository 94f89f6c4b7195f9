"""What a recipe costs, held against what its runs took."""

import math
from pathlib import Path

import pytest
from helpers.homes import RECIPES, at

from gimstage.modules import multiply_adds
from gimstage.plan.cost import (
    StagePlan,
    forward_work,
    stored_bytes,
)
from gimstage.recipe.chain import Chain
from gimstage.recipe.recipe import Recipe


def chains_of(recipe: str) -> list[Chain]:
    loaded = Recipe.load(RECIPES / recipe)
    return [loaded.chain(number) for number in sorted(loaded.stages)]


@pytest.fixture(scope="module")
def tiny() -> list[Chain]:
    return chains_of("tiny")


def test_a_crop_of_images_costs_as_many_passes_as_it_has_patches(tiny: list[Chain]) -> None:
    for chain, shape in zip(tiny, [(1, 16, 16), (8, 8, 8), (16, 4, 4)], strict=True):
        assert forward_work(chain) == 36 * multiply_adds(chain.modules()[-1], shape)


def test_a_crop_of_speech_costs_one_pass_over_its_rows() -> None:
    rows = 128 * 160
    for chain in chains_of("tiny_audio"):
        module = chain.modules()[-1]
        work = multiply_adds(module, (rows, module.in_channels))
        assert forward_work(chain) == work
        rows = module.output_shape((rows, module.in_channels))[0]


def test_the_bytes_planned_are_those_written_to_the_last(finished_images: Path) -> None:
    pipeline = at(finished_images)
    for number in (1, 2, 3):
        chain = pipeline.recipe.chain(number)
        store = finished_images / f"runs/tiny/{number}/features.zarr"
        written = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
        assert stored_bytes(chain, pipeline.data) == written


def test_the_weights_planned_are_those_trained(finished_images: Path) -> None:
    pipeline = at(finished_images)
    for plan in pipeline.plans():
        chain = pipeline.recipe.chain(int(plan.name))
        (loss,) = chain.objectives
        assert loss is not None
        parts = [*chain.modules()[-1].parameters(), *loss.parameters()]
        assert plan.parameters == sum(math.prod(p.shape) for p in parts)


def test_the_steps_planned_are_those_trained(finished_images: Path) -> None:
    pipeline = at(finished_images)
    taken = [
        len((finished_images / f"runs/tiny/{n}/metrics.jsonl").read_text().splitlines())
        for n in (1, 2, 3)
    ]
    assert [plan.steps for plan in pipeline.plans()] == taken


def test_a_plan_as_json_has_every_field(finished_images: Path) -> None:
    plan = at(finished_images).plans()[1]
    document = plan.as_json()
    assert set(document) == set(StagePlan.__dataclass_fields__)
    assert set(document["recompute"]) == {
        "sample_bytes",
        "sample_flops",
        "crossing_gb_per_tflop",
        "faster",
        "crossing_bytes_per_s",
    }


def test_a_first_stage_has_nothing_to_recompute(finished_images: Path) -> None:
    assert [plan.recompute is None for plan in at(finished_images).plans()] == [True, False, False]
