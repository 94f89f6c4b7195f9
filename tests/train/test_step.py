"""One gradient, however the batch is cut: micro-batches and checkpointing, and the plain step."""

import shutil
from pathlib import Path

import pytest
import torch
from helpers.homes import RECIPES, one_step, parts_of
from torch import Tensor, nn
from torch.testing import assert_close

from gimstage.draws import generator
from gimstage.modules import EncoderModule
from gimstage.objectives import Objective
from gimstage.recipe.chain import Chain
from gimstage.recipe.recipe import Recipe

COUNT = 5
STAGES = [("tiny", 1), ("tiny", 2), ("tiny_audio", 1), ("tiny_audio", 3), ("tiny_audio", 6)]
SETTINGS = [(COUNT, True), (2, False), (2, True), (1, False), (3, True)]


def chain_of(recipe: str, number: int) -> Chain:
    return Recipe.load(RECIPES / recipe).chain(number)


def batch_of(chain: Chain) -> Tensor:
    shape = chain.modality.crop_shape(chain.shapes()[-2])
    rng = torch.Generator().manual_seed(4)
    return torch.randn(COUNT, *shape, generator=rng, dtype=torch.float64)


def gradients(
    parts: tuple[EncoderModule, Objective],
    batch: Tensor,
    *,
    micro_batch: int,
    checkpointing: bool,
    precision: str = "float32",
) -> dict[str, Tensor]:
    """Of all parameters, after one step; and what the step returns."""
    module, objective = parts
    module.checkpointing = checkpointing
    frozen = torch.optim.SGD([*module.parameters(), *objective.parameters()], lr=0.0)
    values = one_step(
        module,
        objective,
        optimiser=frozen,
        load=lambda first, last: batch[first:last],
        count=COUNT,
        rng=generator(1, "test"),
        precision=precision,
        micro_batch=micro_batch,
    )
    found = {f"module.{n}": p.grad for n, p in module.named_parameters()}
    found |= {f"objective.{n}": p.grad for n, p in objective.named_parameters()}
    return {name: grad.clone() for name, grad in found.items()} | {"values": values}


def double(parts: tuple[nn.Module, nn.Module]) -> tuple[nn.Module, nn.Module]:
    module, objective = (part.double() for part in parts)
    with torch.no_grad():  # so that the loss is no plain chance
        objective.projections.mul_(3)
    return module, objective


@pytest.mark.parametrize(("micro_batch", "checkpointing"), SETTINGS)
@pytest.mark.parametrize(("recipe", "number"), STAGES)
def test_every_setting_gives_the_plain_gradient(
    recipe: str, number: int, micro_batch: int, checkpointing: bool
) -> None:
    chain = chain_of(recipe, number)
    parts, batch = double(parts_of(chain)), batch_of(chain)
    plain = gradients(parts, batch, micro_batch=COUNT, checkpointing=False)
    cut = gradients(parts, batch, micro_batch=micro_batch, checkpointing=checkpointing)
    assert plain.keys() == cut.keys()
    for name, gradient in plain.items():
        scale = gradient.abs().max().item() or 1.0
        assert_close(cut[name] / scale, gradient / scale, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("number", "old", "new"),
    [
        (5, '"conv1d"', '"conv1d_gru"\nhidden_channels = 6\nbptt = true'),
        (6, "bptt = true", "bptt = false"),
        (1, "[train]", '[objective.context]\nkind = "gru"\nchannels = 5\nbptt = true\n\n[train]'),
        (4, '"batch"', '"sequence"'),
    ],
)
def test_other_modules_of_speech_give_the_plain_gradient_too(
    tmp_path: Path, number: int, old: str, new: str
) -> None:
    folder = Path(shutil.copytree(RECIPES / "tiny_audio", tmp_path / "tiny_audio"))
    path = next(folder.glob(f"{number}_*.toml"))
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new).replace("relu = true", "relu = false"))
    for above in range(number + 1, 7):
        next(folder.glob(f"{above}_*.toml")).unlink()
    for probe in folder.glob("probe*.toml"):
        probe.unlink()
    chain = Recipe.load(folder).chain(number)
    parts, batch = double(parts_of(chain)), batch_of(chain)
    plain = gradients(parts, batch, micro_batch=COUNT, checkpointing=False)
    cut = gradients(parts, batch, micro_batch=2, checkpointing=False)
    for name, gradient in plain.items():
        scale = gradient.abs().max().item() or 1.0
        assert_close(cut[name] / scale, gradient / scale, rtol=0, atol=1e-12)


def test_a_loss_per_micro_batch_would_be_another_one() -> None:
    chain = chain_of("tiny", 1)
    module, objective = double(parts_of(chain))
    batch = batch_of(chain)
    whole = gradients((module, objective), batch, micro_batch=COUNT, checkpointing=False)
    codes, contexts = module.codes_and_contexts(batch[:2])
    part = objective(codes, contexts, objective.draw(codes.shape, generator(1, "test"))).loss
    assert abs(part.item() - whole["values"][0].item()) > 1e-4


def test_each_pass_loads_every_part_once() -> None:
    chain = chain_of("tiny", 1)
    module, objective = parts_of(chain)
    batch, loaded = batch_of(chain).float(), []

    def load(first: int, last: int) -> Tensor:
        loaded.append((first, last))
        return batch[first:last]

    one_step(
        module,
        objective,
        optimiser=torch.optim.Adam([*module.parameters(), *objective.parameters()]),
        load=load,
        count=COUNT,
        rng=generator(1, "test"),
        precision="float32",
        micro_batch=2,
    )
    assert loaded == [(0, 2), (2, 4), (4, 5)] * 2


def test_in_bfloat16_micro_batches_differ_less_than_bfloat16_itself() -> None:
    chain = chain_of("tiny", 2)
    parts, batch = parts_of(chain), batch_of(chain).float()
    exact = gradients(parts, batch, micro_batch=COUNT, checkpointing=False)
    plain, cut = (
        gradients(parts, batch, micro_batch=n, checkpointing=False, precision="bfloat16")
        for n in (COUNT, 1)
    )

    def distance(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
        names = [name for name in a if name != "values"]
        squares = sum(float((a[n] - b[n]).square().sum()) for n in names)
        return (squares / sum(float(b[n].square().sum()) for n in names)) ** 0.5

    assert distance(cut, plain) < distance(plain, exact) < 0.1
