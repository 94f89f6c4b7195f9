"""Several modules in one step: each on its own loss, or all on one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.homes import RECIPES
from helpers.recipes import PER_IMAGE, PER_PHONE, lay_out, together
from torch import Tensor
from torch.testing import assert_close

from gimstage.draws import generator
from gimstage.recipe.chain import Chain
from gimstage.recipe.recipe import Recipe
from gimstage.stack import Learner, new_learners, random_stack, stand_in_labels
from gimstage.train.step import Batch, training_step

COUNT = 5

KINDS = ["tiny", "tiny_audio"]

EXACT: dict[str, Any] = {"rtol": 0, "atol": 1e-12}

Grads = dict[str, Tensor]


@pytest.fixture
def chain(tmp_path: Path) -> Callable[..., Chain]:
    """The chain of a stage of several modules."""

    def make(recipe: str, mode: str, **changes: Any) -> Chain:
        folder = lay_out(tmp_path, recipe, together(recipe, mode, **changes))
        return Recipe.load(folder).chain(1)

    return make


def doubled(learners: list[Learner]) -> list[Learner]:
    """In float64, with losses that are no plain chance."""
    for learner in learners:
        learner.module.double()
        learner.objective.double()
        with torch.no_grad():
            for name, weight in learner.objective.named_parameters():
                weight.mul_(3 if "projections" in name else 1)
    return learners


def batch_of(chain: Chain) -> Tensor:
    shape = chain.modality.crop_shape(chain.shapes()[0])
    return torch.randn(
        COUNT, *shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64
    )


def gradients(
    learners: list[Learner],
    batch: Tensor,
    *,
    micro_batch: int = COUNT,
    labels: Tensor | None = None,
    due: list[bool] | None = None,
) -> list[Grads]:
    """Of every parameter of each learner after one step, and its loss."""
    parts = [part for each in learners for part in (each.module, each.objective)]
    still = torch.optim.SGD([p for part in parts for p in part.parameters()], lr=0.0)
    rngs = [generator(1, "test", learner.position) for learner in learners]
    values = training_step(
        learners,
        Batch(load=lambda a, b: batch[a:b], count=COUNT, labels=labels, rngs=rngs),
        optimiser=still,
        precision="float32",
        micro_batch=micro_batch,
        due=due or [True for _ in learners],
    )
    return [
        {n: p.grad.clone() for n, p in named(each) if p.grad is not None} | {"loss": value[0]}
        for each, value in zip(learners, values, strict=True)
    ]


def named(learner: Learner) -> Iterator[tuple[str, torch.nn.Parameter]]:
    yield from ((f"module.{n}", p) for n, p in learner.module.named_parameters())
    yield from ((f"objective.{n}", p) for n, p in learner.objective.named_parameters())


def assert_equal(found: list[Grads], expected: list[Grads]) -> None:
    assert [each.keys() for each in found] == [each.keys() for each in expected]
    for one, other in zip(found, expected, strict=True):
        for name, gradient in other.items():
            scale = gradient.abs().max().item() or 1.0
            assert_close(one[name] / scale, gradient / scale, **EXACT)


@pytest.mark.parametrize("recipe", KINDS)
def test_side_by_side_a_module_has_the_gradient_it_has_alone(
    recipe: str, chain: Callable[..., Chain]
) -> None:
    whole = chain(recipe, "isolated")
    learners, batch = doubled(new_learners(whole)), batch_of(whole)
    found = gradients(learners, batch)
    base, alone = Recipe.load(RECIPES / recipe), []
    for number in base.stages:
        (learner,) = doubled(new_learners(base.chain(number)))
        alone += gradients([learner], batch)
        with torch.no_grad():
            batch = learner.module(batch)
    assert_equal(found, alone)


@pytest.mark.parametrize("recipe", KINDS)
@pytest.mark.parametrize("mode", ["isolated", "end_to_end"])
def test_weights_start_as_those_of_stages_in_a_row(
    recipe: str, mode: str, chain: Callable[..., Chain]
) -> None:
    base = Recipe.load(RECIPES / recipe)
    apart, joined = random_stack(base.chain(len(base.stages))), random_stack(chain(recipe, mode))
    assert joined.names == [f"all/1.{n}" for n in range(1, len(apart.parts) + 1)]
    for one, other in zip(apart.parts, joined.parts, strict=True):
        assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("recipe", KINDS)
def test_a_loss_reaches_its_own_module_only(recipe: str, chain: Callable[..., Chain]) -> None:
    learners = doubled(new_learners(whole := chain(recipe, "isolated")))
    for turn in range(len(learners)):
        due = [number == turn for number in range(len(learners))]
        found = gradients(learners, batch_of(whole), due=due)
        assert [each.keys() != {"loss"} for each in found] == due


@pytest.mark.parametrize("recipe", KINDS)
def test_end_to_end_one_loss_reaches_every_module(recipe: str, chain: Callable[..., Chain]) -> None:
    whole = chain(recipe, "end_to_end")
    (learner,) = learners = doubled(new_learners(whole))
    (found,) = gradients(learners, batch_of(whole))
    assert found.keys() == {name for name, _ in named(learner)} | {"loss"}
    assert all(bool(gradient.any()) for gradient in found.values())


@pytest.mark.parametrize(
    ("recipe", "mode", "changes"),
    [
        ("tiny", "isolated", {}),
        ("tiny_audio", "isolated", {}),
        ("tiny", "end_to_end", {}),
        ("tiny_audio", "end_to_end", {}),
        ("tiny", "end_to_end", {"objective": PER_IMAGE}),
        ("tiny", "isolated", {"objective": PER_IMAGE}),
        ("tiny_audio", "end_to_end", {"objective": PER_PHONE}),
        ("tiny_audio", "isolated", {"objective": PER_PHONE}),
    ],
)
@pytest.mark.parametrize(("micro_batch", "checkpointing"), [(COUNT, True), (2, False), (1, True)])
def test_every_setting_gives_the_plain_gradient(
    recipe: str,
    mode: str,
    changes: dict[str, Any],
    micro_batch: int,
    checkpointing: bool,
    chain: Callable[..., Chain],
) -> None:
    whole = chain(recipe, mode, **changes)
    learners, labels = doubled(new_learners(whole)), stand_in_labels(whole, COUNT)
    plain = gradients(learners, batch_of(whole), labels=labels)
    for learner in learners:
        learner.module.checkpointing = checkpointing
    cut = gradients(learners, batch_of(whole), labels=labels, micro_batch=micro_batch)
    assert_equal(cut, plain)


@pytest.mark.parametrize("due", [[True, False, True], [False, True, False], [False] * 3])
def test_modules_that_are_not_due_are_passed_over_in_parts_too(
    due: list[bool], chain: Callable[..., Chain]
) -> None:
    learners = doubled(new_learners(whole := chain("tiny", "isolated")))
    plain = gradients(learners, batch_of(whole), due=due)
    assert [each.keys() != {"loss"} for each in plain] == due
    assert_equal(gradients(learners, batch_of(whole), due=due, micro_batch=2), plain)


def test_cpc_on_images_gives_the_plain_gradient_in_parts(chain: Callable[..., Chain]) -> None:
    loss = together("tiny", "end_to_end")["objective"]
    loss["context"] = {"kind": "pixelcnn", "layers": 2}
    whole = chain("tiny", "end_to_end", objective=loss)
    learners = doubled(new_learners(whole))
    plain = gradients(learners, batch_of(whole))
    assert "objective.context.out.weight" in plain[0]
    assert_equal(gradients(learners, batch_of(whole), micro_batch=2), plain)


def test_the_learning_rate_falls_where_the_recipe_says(tmp_path: Path) -> None:
    decay = {"factor": 0.25, "after": [0.5, 0.75]}
    chain = Recipe.load(lay_out(tmp_path, "tiny", together("tiny", "isolated", decay=decay))).chain(
        1
    )
    rates = [chain.last.spec.train.rate(step, 8) / 1e-3 for step in range(8)]
    assert rates == pytest.approx([1, 1, 1, 1, 0.25, 0.25, 0.0625, 0.0625])
