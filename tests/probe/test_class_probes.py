"""What the probe of image classes reads, and what its classifiers can learn."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.homes import CPU, RECIPES, at
from torch import Tensor, nn

from gimstage.draws import drawing
from gimstage.inputs import Stl10Images
from gimstage.modules import ResNetModule
from gimstage.probe.classifiers import _train, hidden_accuracy, paper_accuracy
from gimstage.probe.crops import all_codes, mean_code
from gimstage.probe.labels import ClassProbe
from gimstage.progress import Watch
from gimstage.recipe.recipe import Recipe
from gimstage.specs import HiddenProtocol, PaperProtocol
from gimstage.stack import Stack

HIDDEN = HiddenProtocol(
    hidden_channels=16,
    dropout=0.1,
    learning_rate=1e-2,
    batch_size=32,
    epochs=20,
    decay_factor=0.1,
    decay_epochs=[],
    views=2,
    seed=1,
)
LINEAR = PaperProtocol(learning_rate=1e-2, batch_size=32, epochs=20, views=1, seed=1)
TABLE = """[hidden]
hidden_channels = 8
dropout = 0.1
learning_rate = 1e-3
batch_size = 16
epochs = 3
decay_factor = 0.1
decay_epochs = [2]
views = 2
seed = 2
"""


def hidden(**changed: Any) -> HiddenProtocol:
    return HiddenProtocol(**HIDDEN.model_dump() | changed)


def crosswise(noise: float) -> tuple[Any, ...]:
    """Two views of 300 samples, and 300 to test on, whose label is whether two signs differ."""
    rng = np.random.default_rng(0)
    signs = rng.integers(0, 2, (600, 2))
    codes = (2 * signs - 1 + noise * rng.standard_normal((600, 2))).astype(np.float32)
    labels = (signs[:, 0] != signs[:, 1]).astype(np.int64)
    return np.stack([codes[:300]] * 2), labels[:300], codes[300:], labels[300:]


def test_a_hidden_layer_learns_what_no_linear_classifier_can() -> None:
    assert paper_accuracy(*crosswise(0.2), protocol=LINEAR) < 0.8
    assert hidden_accuracy(*crosswise(0.2), protocol=HIDDEN) > 0.98


def test_the_hidden_layer_depends_on_its_seed_alone() -> None:
    found = []
    for seed, other in ((1, 5), (1, 6), (2, 5)):
        torch.manual_seed(other)
        found.append(hidden_accuracy(*crosswise(1.0), protocol=hidden(seed=seed, epochs=2)))
    assert found[0] == found[1] != found[2]


def test_dropout_changes_what_is_learnt() -> None:
    half, none = (
        hidden_accuracy(*crosswise(1.0), protocol=hidden(dropout=share, epochs=2))
        for share in (0.5, 0.0)
    )
    assert half != none


def test_a_hidden_layer_leaves_the_global_generator_as_it_was() -> None:
    before = torch.get_rng_state()
    hidden_accuracy(*crosswise(0.2), protocol=hidden(epochs=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_drawn_inside_comes_from_seed_and_purpose_alone() -> None:
    def drawn(*point: Any) -> Tensor:
        with drawing(*point):
            return torch.rand(3)

    assert torch.equal(drawn(1, "a"), drawn(1, "a"))
    assert not torch.equal(drawn(1, "a"), drawn(1, "b"))
    assert not torch.equal(drawn(1, "a"), drawn(2, "a"))


def test_the_learning_rate_falls_at_its_epochs() -> None:
    rates = hidden(learning_rate=1.0, epochs=5, decay_epochs=[2, 4]).rates()
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01])


class Counted(nn.Linear):
    """A linear layer that remembers how many samples each batch had."""

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output."""
        self.sizes = [*getattr(self, "sizes", []), len(x)]
        return super().forward(x)


@pytest.mark.parametrize(
    ("samples", "smallest", "sizes"), [(9, 1, [4, 4, 1]), (9, 2, [4, 4]), (10, 2, [4, 4, 2])]
)
def test_only_a_last_batch_that_is_too_small_is_left_out(
    samples: int, smallest: int, sizes: list[int]
) -> None:
    model, codes = Counted(2, 2), np.zeros((1, samples, 2), np.float32)
    labels = np.zeros(samples, np.int64)
    _train(model, codes, labels, rates=[0.1], batch_size=4, smallest_batch=smallest, seed=1)
    assert model.sizes == sizes


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> ClassProbe:
    """The tiny recipe's probe, of its synthetic images."""
    recipe = Recipe.load(RECIPES / "tiny")
    images = Stl10Images.find(recipe.data, None, tmp_path_factory.mktemp("runs"))
    images.make(Watch())
    return ClassProbe(recipe.probe("probe"), images, device=CPU, workers=1, watch=Watch())


def module(in_channels: int) -> ResNetModule:
    return ResNetModule(
        in_channels=in_channels, block="basic", stem_channels=None, width=2, blocks=1, stride=2
    )


def test_all_codes_of_a_crop_are_those_whose_mean_is_its_mean_code(probe: ClassProbe) -> None:
    stacks = {"x/1": (Stack([module(1)], ["x/1"]),)}
    every, means = (probe.codes(HIDDEN, stacks, reading=read) for read in (all_codes, mean_code))
    assert every["x/1"]["train"].shape == (2, 40, 6 * 6 * 2)
    assert every["x/1"]["test"].shape == (1, 40, 6 * 6 * 2)
    for role in ("train", "test"):
        found = every["x/1"][role]
        mean = found.reshape(*found.shape[:2], 36, 2).mean(2)
        np.testing.assert_allclose(mean, means["x/1"][role], rtol=1e-4, atol=1e-6)
        assert np.array_equal(every["pixels"][role], means["pixels"][role])
    assert every["pixels"]["train"].shape == (2, 40, 56 * 56)


def test_stacks_on_one_stage_give_its_codes_once_and_only_if_asked_for(probe: ClassProbe) -> None:
    below = module(1)
    left, right = ((Stack([below, module(2)], ["x/1", f"{name}/2"]),) for name in "xy")
    asked = {"x/1": left, "x/2": left, "y/2": right}
    codes = probe.codes(HIDDEN, asked, reading=mean_code)
    assert {name: found["train"].shape for name, found in codes.items()} == {
        "x/1": (2, 40, 2),
        "x/2": (2, 40, 2),
        "y/2": (2, 40, 2),
        "pixels": (2, 40, 56 * 56),
    }
    assert set(probe.codes(HIDDEN, {"x/2": left}, reading=mean_code)) == {"x/2", "pixels"}


def test_the_rows_of_a_hidden_layer_are_named_so(tmp_path: Path) -> None:
    recipe = tmp_path / "tiny"
    recipe.mkdir()
    for path in (RECIPES / "tiny").iterdir():
        (recipe / path.name).write_text(path.read_text())
    text = (recipe / "probe.toml").read_text().replace('"trained"', '"random"')
    text = re.sub(r"\[converged\]\n(.+\n)+", TABLE, text)
    (recipe / "probe.toml").write_text(text)
    rows = at(tmp_path).probe("probe")
    stages = ("1", "2", "3", "pixels")
    expected = [(stage, kind) for kind in ("paper", "hidden") for stage in stages]
    assert [(row["stage"], row["protocol"]) for row in rows] == expected
    assert rows[-1]["settings"]["hidden_channels"] == 8
    assert all(0 <= row["accuracy"] <= 1 for row in rows)
