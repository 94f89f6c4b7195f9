"""The supervised objective: what it averages, what it counts, what it refuses."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from gimstage.objectives import Result
from gimstage.objectives.supervised import Supervised

F64 = {"rtol": 1e-12, "atol": 1e-12}


def per_sample() -> Supervised:
    torch.manual_seed(0)
    return Supervised(3, 4, per="sample", frames=None).double()


def per_frame(frames: int) -> Supervised:
    torch.manual_seed(0)
    return Supervised(3, 4, per="frame", frames=frames).double()


def codes(*shape: int) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(shape, generator=rng, dtype=torch.float64).requires_grad_()


def classes(*shape: int) -> Tensor:
    return torch.randint(4, shape, generator=torch.Generator().manual_seed(2))


def result(model: Supervised, c: Tensor, labels: Tensor | None) -> Result:
    draws = model.draw(c.shape, torch.Generator())
    return model.forward(c, c, draws, labels=labels)


def plain_loss(model: Supervised, rows: list[Tensor], labels: Tensor) -> Tensor:
    terms = []
    for row, label in zip(rows, labels.flatten(), strict=True):
        logits = model.head.weight @ row + model.head.bias
        terms.append(logits.exp().sum().log() - logits[label])
    return sum(terms) / len(terms)


@pytest.mark.parametrize("shape", [(5, 6, 3), (5, 2, 4, 3)])
def test_a_sample_is_classified_by_the_mean_over_its_positions(shape) -> None:
    model, c, labels = per_sample(), codes(*shape), classes(5)
    rows = [one.reshape(-1, 3).mean(0) for one in c]
    expected = plain_loss(model, rows, labels)
    found = result(model, c, labels)
    assert_close(found.loss, expected, **F64)
    assert_close(found.loss_per_step, expected.detach()[None], **F64)


@pytest.mark.parametrize(("rows", "frames"), [(8, 8), (12, 4), (13, 4), (7, 5), (3, 5)])
def test_frames_are_averaged_as_torch_averages_adaptively(rows: int, frames: int) -> None:
    model, c, labels = per_frame(frames), codes(2, rows, 3), classes(2, frames)
    averaged = F.adaptive_avg_pool1d(c.mT, frames).mT
    expected = plain_loss(model, list(averaged.reshape(-1, 3)), labels)
    found = result(model, c, labels).loss
    assert_close(found, expected, **F64)
    ours, theirs = (
        torch.autograd.grad(loss, [c, *model.parameters()]) for loss in (found, expected)
    )
    assert_close(ours, theirs, **F64)


def test_accuracy_is_the_share_of_right_labels() -> None:
    model = per_frame(2)
    model.head.weight.data.copy_(torch.eye(4, 3))
    model.head.bias.data.zero_()
    c = F.one_hot(torch.tensor([[0, 1], [2, 0]])).double()
    assert result(model, c, torch.tensor([[0, 1], [2, 3]])).accuracy.item() == 3 / 4


def test_contexts_are_classified_and_not_the_codes_they_were_made_of() -> None:
    z, c = codes(5, 6, 2), codes(5, 6, 3)
    per_sample().forward(z, c, None, labels=classes(5)).loss.backward()
    assert z.grad is None
    assert c.grad.any()


@pytest.mark.parametrize("model", [per_sample(), per_frame(2)], ids=["sample", "frame"])
def test_every_sample_is_classified_alone(model: Supervised) -> None:
    c = codes(4, 6, 3)
    labels = classes(4) if model.label_kind == "sample" else classes(4, 2)
    halves = [result(model, c[part], labels[part]).loss for part in (slice(2), slice(2, 4))]
    assert_close(result(model, c, labels).loss, sum(halves) / 2, **F64)


def test_what_has_a_label() -> None:
    assert per_sample().label_kind == "sample"
    assert per_frame(2).label_kind == "frame"


def test_twenty_adam_steps_lower_the_loss() -> None:
    model, c, labels = per_sample(), codes(12, 5, 3).detach(), classes(12)
    adam, losses = torch.optim.Adam(model.parameters(), lr=0.1), []
    for _ in range(21):
        loss = result(model, c, labels).loss
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("frames", [None, 3])
def test_under_bfloat16_autocast_the_loss_is_float32_and_close(frames: int | None) -> None:
    model = (per_frame(frames) if frames else per_sample()).float()
    c, labels = codes(8, 5, 3).detach().float(), classes(8, frames) if frames else classes(8)
    exact = result(model, c, labels).loss
    with torch.autocast("cpu", torch.bfloat16):
        rounded = result(model, c, labels).loss
    assert rounded.dtype == torch.float32
    assert_close(rounded, exact, rtol=1e-2, atol=0)


def refusal(message: str):
    return pytest.raises(ValueError, match=f"^{re.escape(message)}$")


@pytest.mark.parametrize("label", [-1, 4])
def test_a_label_that_is_no_class_is_refused(label: int) -> None:
    labels = classes(2, 3)
    labels[1, 1] = label
    with refusal(f"label {label}; expected 0 to 3"):
        result(per_frame(3), codes(2, 6, 3), labels)


def test_missing_labels_are_refused() -> None:
    with refusal("no labels; expected (5,)"):
        result(per_sample(), codes(5, 6, 3), None)


def test_labels_of_another_number_are_refused() -> None:
    with refusal("labels (2, 4); expected (2, 3)"):
        result(per_frame(3), codes(2, 6, 3), classes(2, 4))


def test_contexts_of_other_channels_are_refused() -> None:
    with refusal("contexts (5, 6, 2); expected (B, …, C) with 3 channels"):
        result(per_sample(), codes(5, 6, 2), classes(5))


def test_a_grid_has_no_frames() -> None:
    with refusal("contexts (2, 6, 6, 3); expected (B, T, C) with 3 channels"):
        result(per_frame(3), codes(2, 6, 6, 3), classes(2, 3))


def test_frames_without_a_number_of_them_are_refused() -> None:
    with refusal("no number of frames per 'frame'; expected one"):
        Supervised(3, 4, per="frame", frames=None)
