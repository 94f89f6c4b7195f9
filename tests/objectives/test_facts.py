"""What objectives say of themselves, held against what they do."""

import math
import re
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gimstage.modules import GRUModule, PixelCNN
from gimstage.objectives import (
    GIVEN,
    DeepInfoMax,
    InfoNCE,
    Objective,
    Predsim,
    Result,
    Supervised,
    objective_multiply_adds,
)

INFONCE: dict[str, Any] = {
    "code_channels": 6,
    "context_channels": 6,
    "prediction_steps": 2,
    "prediction_gap": 1,
    "num_negatives": 5,
    "projection": "target",
    "negative_source": "targets",
    "exclude_positive": False,
    "probability_floor": 0.0,
    "window": None,
}
few = st.integers(1, 4)


def infonce(**changes: Any) -> InfoNCE:
    torch.manual_seed(0)
    return InfoNCE(**(INFONCE | changes))


def loss_of(objective: Objective, z: Tensor, labels: Tensor | None = None) -> float:
    draws = objective.draw(tuple(z.shape), torch.Generator().manual_seed(1))
    return objective(z, z, draws, labels).loss.item()


def test_every_built_in_kind_has_a_version_of_its_numbers() -> None:
    kinds = {k: part for k, part in Objective.kinds.items() if "gimstage." in part.__module__}
    assert set(kinds) == {"deep_infomax", "infonce", "predsim", "supervised"}
    assert all(type(part.algorithm) is int for part in kinds.values())


@pytest.mark.parametrize("negatives", [1, 5, 16])
def test_guessing_costs_infonce_the_logarithm_of_its_candidates(negatives: int) -> None:
    objective = infonce(num_negatives=negatives)
    nn.init.zeros_(objective.projections)
    found = loss_of(objective, torch.randn(4, 6, 6, 6))
    assert found == pytest.approx(InfoNCE.chance_loss_for(num_negatives=negatives))


def test_codes_that_tell_nothing_cost_infonce_about_what_guessing_does() -> None:
    z = torch.randn(16, 7, 7, 6, generator=torch.Generator().manual_seed(4)) / 10
    chance = InfoNCE.chance_loss_for(num_negatives=5)
    assert loss_of(infonce(), z) == pytest.approx(chance, abs=0.02)


@pytest.mark.parametrize("classes", [2, 10, 41])
def test_guessing_costs_a_classifier_the_logarithm_of_its_classes(classes: int) -> None:
    objective = Supervised(6, classes, per="sample", frames=None)
    nn.init.zeros_(objective.head.weight)
    nn.init.zeros_(objective.head.bias)
    found = loss_of(objective, torch.randn(8, 3, 3, 6), torch.arange(8) % classes)
    assert found == pytest.approx(Supervised.chance_loss_for(num_classes=classes))


def test_what_has_no_fixed_price_of_guessing_says_none() -> None:
    assert Predsim.chance_loss_for(num_classes=10) is None
    assert DeepInfoMax.chance_loss_for(loss="jsd") is None


@pytest.mark.parametrize("source", ["batch", "sequence"])
def test_only_targets_can_leave_the_positive_out(source: str) -> None:
    message = (
        f'exclude_positive = true with negative_source = "{source}"; '
        'expected "targets", the only source that can leave one out'
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        InfoNCE.check_keys(exclude_positive=True, negative_source=source)


@pytest.mark.parametrize(
    ("exclude", "source"),
    [(e, s) for e, s in product([True, False], ["targets", "batch"]) if not e or s == "targets"],
)
def test_other_sources_of_negatives_go_together(exclude: bool, source: str) -> None:
    InfoNCE.check_keys(exclude_positive=exclude, negative_source=source)


@pytest.mark.parametrize(
    ("per", "offset", "found"),
    [
        ("frame", None, 'per = "frame" without offset'),
        ("sample", 1, 'per = "sample" with offset'),
        ("sample", 0, 'per = "sample" with offset'),
    ],
)
def test_an_offset_goes_with_labels_per_frame(per: str, offset: int | None, found: str) -> None:
    message = f'{found}; expected offset with per = "frame", and only there'
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Supervised.check_keys(per=per, offset=offset)


@pytest.mark.parametrize("per", ["sample", "frame"])
def test_labels_told_beforehand_are_those_of_the_objective(per: Any) -> None:
    made = Supervised(6, 3, per=per, frames=4, offset=0 if per == "frame" else None)
    assert Supervised.labels_for(per=per) == made.label_kind == per


def test_only_supervised_losses_need_labels() -> None:
    assert Predsim.labels_for(num_classes=10) == "sample"
    assert InfoNCE.labels_for() is None
    assert DeepInfoMax.labels_for() is None


@pytest.mark.parametrize(("per", "own"), [("sample", True), ("frame", False)])
def test_only_a_classifier_of_samples_can_be_probed(per: Any, own: bool) -> None:
    made = Supervised(6, 3, per=per, frames=4, offset=0)
    assert (made.classifier is made.head) is own


@given(few, st.integers(0, 3), st.integers(1, 12), st.none() | st.integers(1, 12))
def test_too_short_is_what_cannot_be_drawn(
    steps: int, gap: int, length: int, window: int | None
) -> None:
    objective = infonce(prediction_steps=steps, prediction_gap=gap, window=window)
    if objective.too_short(length) is None:
        objective.draw((2, length, 6), torch.Generator())
    else:
        with pytest.raises(ValueError, match="positions to predict along"):
            objective.draw((2, length, 6), torch.Generator())


def test_what_is_too_short_is_said_in_the_words_of_the_recipe() -> None:
    wanted = ("prediction_steps = 3 with prediction_gap = 1", 5)
    assert infonce(prediction_steps=3).too_short(4) == wanted
    assert infonce(prediction_steps=3).too_short(5) is None


def test_losses_that_predict_nothing_are_never_too_short() -> None:
    assert Supervised(6, 3, per="sample", frames=None).too_short(1) is None


@given(few, st.integers(0, 2), st.integers(6, 9), few, st.none() | st.integers(6, 9))
def test_the_work_of_infonce_is_that_of_a_plain_loop_over_anchors(
    steps: int, gap: int, length: int, parallel: int, window: int | None
) -> None:
    objective = infonce(prediction_steps=steps, prediction_gap=gap, window=window)
    work, rows = 0, min(length, window or length)
    for distance in range(1 + gap, 1 + gap + steps):
        for _ in range((rows - distance) * parallel):
            work += 6 * 6 + 6 * (1 + 5)  # one projection, then every candidate's score
    assert objective.multiply_adds((length, parallel, 6)) == work


@pytest.mark.parametrize(
    ("context", "shape"),
    [
        (GRUModule(in_channels=6, channels=4, bptt=True), (7, 6)),
        (PixelCNN(in_channels=6, layers=2), (5, 4, 6)),
    ],
)
def test_the_work_of_a_context_module_is_counted_with_infonces_own(
    context: Any, shape: tuple[int, ...]
) -> None:
    plain = infonce(context_channels=context.out_channels)
    extra = infonce(context=context).multiply_adds(shape) - plain.multiply_adds(shape)
    assert extra == context.multiply_adds(shape)


def test_the_projections_are_as_much_work_as_torch_counts() -> None:
    objective, z = infonce(), torch.randn(3, 7, 4, 6)
    draws = objective.draw(tuple(z.shape), torch.Generator())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        objective(z, z, draws)
    anchors = sum(7 - distance for distance in objective.distances) * 4
    assert counter.get_total_flops() == 2 * 3 * anchors * 6 * 6


@pytest.mark.parametrize("shape", [(5, 5, 6), (9, 6)])
def test_a_classifier_of_samples_is_applied_once(shape: tuple[int, ...]) -> None:
    objective = Supervised(6, 10, per="sample", frames=None)
    assert objective.multiply_adds(shape) == counted(objective, shape) == 60


def test_a_classifier_of_frames_is_applied_at_every_row() -> None:
    objective = Supervised(6, 10, per="frame", frames=8, offset=0)
    assert objective.multiply_adds((8, 6)) == counted(objective, (8, 6)) == 480


def counted(objective: Objective, shape: tuple[int, ...]) -> int:
    """Multiply-adds that torch counts for the codes of one sample."""
    frames = getattr(objective, "frames", None)
    labels = torch.zeros((1, frames) if frames else (1,), dtype=torch.int64)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        z = torch.randn(1, *shape)
        objective(z, z, objective.draw(tuple(z.shape), torch.Generator()), labels)
    return counter.get_total_flops() // 2


def test_the_nets_of_deep_infomax_are_as_much_work_as_torch_counts() -> None:
    objective = DeepInfoMax(6, 7, hidden_channels=4, loss="jsd").eval()
    near, far = torch.randn(1, 5, 5, 6), torch.randn(1, 3, 3, 7)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        local_codes, global_codes = objective.local_net(near), objective.global_net(far)
        torch.bmm(global_codes, local_codes.mT)
    assert 2 * objective.multiply_adds((5, 5, 6)) == counter.get_total_flops()


def test_the_work_of_predsim_is_its_convolution_and_its_widest_classifier() -> None:
    objective = Predsim(code_shape=(4, 4, 8), num_classes=10, similarity_share=0.5, head_inputs=32)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        objective.mix(torch.randn(1, 8, 4, 4))
        objective.head(torch.randn(1, 32))
    assert 2 * objective.multiply_adds((1, 1, 4, 4, 8)) == counter.get_total_flops()


class Untold(Objective):
    """A loss that does not say what it costs.

    Args:
        label_kind: the labels it asks for.
    """

    algorithm = 1

    def __init__(self, label_kind: Any = None) -> None:
        super().__init__()
        self.label_kind, self.seen = label_kind, []
        self.net = nn.Linear(6, 5, bias=False)

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> None:
        """Nothing."""

    def forward(self, z: Tensor, c: Tensor, draws: None, labels: Tensor | None = None) -> Result:
        """One product for every code, and none for contexts."""
        self.seen.append((tuple(z.shape), tuple(c.shape), labels))
        loss = self.net(z).mean()
        return Result(loss, loss.detach()[None], torch.zeros(()))


def untold(**keys: Any) -> Untold:
    with torch.device("meta"):
        return Untold(**keys)


def test_work_that_is_not_told_is_counted_for_one_sample() -> None:
    assert objective_multiply_adds(untold(), (4, 3, 6), 6) == 4 * 3 * 6 * 5


def test_work_that_is_told_is_not_counted() -> None:
    objective = Supervised(6, 10, per="sample", frames=None)
    assert objective_multiply_adds(objective, (4, 3, 6), 6) == 60


def test_counting_takes_contexts_of_the_modules_channels() -> None:
    objective = untold()
    objective_multiply_adds(objective, (4, 6), 9)
    assert objective.seen == [((2, 4, 6), (2, 4, 9), None)]


@pytest.mark.parametrize(("kind", "shape"), [("sample", (2,)), ("frame", (2, 4))])
def test_counting_gives_the_labels_that_are_needed(kind: str, shape: tuple[int, ...]) -> None:
    objective = untold(label_kind=kind)
    objective_multiply_adds(objective, (4, 6), 6)
    assert objective.seen[0][2].shape == shape


def test_what_its_module_decides_is_never_a_key() -> None:
    assert {"code_channels", "context_channels", "code_shape", "frames"} == GIVEN


def test_logarithms_of_chance_are_in_nats() -> None:
    assert InfoNCE.chance_loss_for(num_negatives=16) == math.log(17)
