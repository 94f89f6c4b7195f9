"""Adding a kind edits no file of the package: a toy of each is registered here and trained with."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from helpers.homes import RECIPES, at, edit, recipe_of
from torch import Tensor, nn

from gimstage.modules import EncoderModule
from gimstage.modules.base import Shape
from gimstage.objectives import Objective, Result
from gimstage.sizes.bounds import Positive


class ToyMixing(EncoderModule):
    """A 1×1 convolution on every patch, that knows nothing of its cost."""

    algorithm = 3
    reads = "patch"

    def __init__(self, *, in_channels: int, channels: Positive, bias: bool = True) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.code_channels = in_channels, channels, channels
        self.mix = nn.Conv2d(in_channels, channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """The features (…, C', y, x)."""
        return self.mix(x.flatten(0, -4)).unflatten(0, x.shape[:-3])

    def pool(self, features: Tensor) -> Tensor:
        """The mean of every patch."""
        return features.mean((-2, -1))

    def output_shape(self, shape: Shape) -> Shape:
        """(C', y, x)."""
        return (self.out_channels, *shape[1:])


class ToyVariance(Objective):
    """Codes should vary by one: a loss without draws, labels or weights."""

    algorithm = 5

    def __init__(self, *, target: float) -> None:
        super().__init__()
        self.target = target

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> None:
        """Nothing."""

    def forward(self, z: Tensor, c: Tensor, draws: None, labels: Tensor | None = None) -> Result:
        """The squared difference of their standard deviation from the target."""
        loss = (z.flatten(0, -2).std(0) - self.target).square().mean()
        return Result(loss, loss.detach()[None], torch.zeros(()))


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enters the toys as `class …(EncoderModule, kind="…")` does, and takes them out again."""
    monkeypatch.setitem(EncoderModule.kinds, "toy_mixing", ToyMixing)
    monkeypatch.setitem(Objective.kinds, "toy_variance", ToyVariance)


def toy_home(home: Path) -> Path:
    """A home whose stage 1 is a toy, trained on a toy."""
    shutil.copytree(RECIPES / "tiny", home / "tiny")
    path = next(recipe_of(home).glob("1_*.toml"))
    head, _, tail = path.read_text().partition("[module]")
    module = '[module]\nkind = "toy_mixing"\nchannels = 6\n\n'
    objective = '[objective]\nkind = "toy_variance"\ntarget = 1.0\n\n'
    path.write_text(head + module + objective + tail[tail.index("[train]") :])
    edit(home, "1_*.toml", "relu = true", "relu = false")
    return home


def test_a_new_encoder_and_a_new_objective_are_trained_with(tmp_path: Path) -> None:
    pipeline = at(toy_home(tmp_path))
    pipeline.run()
    assert [status.state for status in pipeline.statuses()] == ["done"] * 3
    manifest = json.loads((tmp_path / "runs/tiny/1/manifest.json").read_text())
    assert manifest["identity"]["algorithms"]["toy_mixing"] == 3
    assert manifest["identity"]["algorithms"]["toy_variance"] == 5
    assert manifest["identity"]["stage 1"]["module"]["bias"] is True


def test_what_a_new_kind_costs_is_counted_where_it_does_not_say(tmp_path: Path) -> None:
    plan = at(toy_home(tmp_path)).plans()[0]
    patches, pixels = 8 * 36, 16 * 16
    assert plan.flops_per_step >= 2 * 3 * patches * pixels * 6


def test_a_kind_belongs_to_one_class() -> None:
    message = "kind 'resnet' of test_new_kinds.Other; expected one that gimstage.modules.resnet."
    with pytest.raises(ValueError, match=re.escape(message + "ResNetModule has not")):
        type("Other", (EncoderModule,), {"__module__": "test_new_kinds"}, kind="resnet")


def test_a_class_registers_itself_under_the_kind_it_names() -> None:
    try:
        made = type("Mine", (ToyMixing,), {"__module__": "test_new_kinds"}, kind="toy_of_its_own")
        assert EncoderModule.kinds["toy_of_its_own"] is made
    finally:
        EncoderModule.kinds.pop("toy_of_its_own", None)
