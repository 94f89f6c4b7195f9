"""Predsim: what it compares, what it averages, what it weighs and what it refuses."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from gimstage.objectives import Result
from gimstage.objectives.predsim import Predsim, similarity_loss, similarity_matrix

F64 = {"rtol": 1e-10, "atol": 1e-12}
# channels and side of h of the published seven layers.
PUBLISHED = [(128, 48), (256, 48), (256, 24), (512, 24), (512, 12), (512, 6), (1024, 1)]


def predsim(**changed) -> Predsim:
    torch.manual_seed(0)
    chosen = {"code_shape": (6, 6, 5), "num_classes": 4}
    return Predsim(**chosen | {"similarity_share": 0.7, "head_inputs": 20} | changed).double()


def codes(*shape: int) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(shape, generator=rng, dtype=torch.float64).requires_grad_()


def classes(count: int) -> Tensor:
    return torch.randint(4, (count,), generator=torch.Generator().manual_seed(2))


def result(model: Predsim, z: Tensor, labels: Tensor | None) -> Result:
    draws = model.draw(z.shape, torch.Generator())
    return model.forward(z, z, draws, labels=labels)


def plain_similarity(rows: list[Tensor]) -> Tensor:
    """The definition, one pair of samples at a time."""
    matrix = torch.empty(len(rows), len(rows), dtype=torch.float64)
    for a, first in enumerate(rows):
        for b, second in enumerate(rows):
            x, y = first - first.mean(), second - second.mean()
            matrix[a, b] = x @ y / ((1e-8 + x.square().sum().sqrt()) * (1e-8 + y.norm()))
    return matrix


def test_maps_are_compared_by_the_spread_of_their_channels() -> None:
    h = codes(4, 5, 3, 2)
    rows = [(one.flatten(1) - one.mean((1, 2))[:, None]).square().sum(1).div(5).sqrt() for one in h]
    assert_close(similarity_matrix(h), plain_similarity(rows), **F64)


@pytest.mark.parametrize("shape", [(4, 7), (4, 3, 5, 5), (4, 5, 1, 6)])
def test_vectors_and_maps_of_3_channels_or_one_row_are_compared_by_value(shape) -> None:
    h = codes(*shape)
    assert_close(similarity_matrix(h), plain_similarity(list(h.flatten(1))), **F64)


def test_two_samples_of_one_class_should_be_alike_and_of_two_unlike() -> None:
    found = similarity_matrix(F.one_hot(torch.tensor([0, 0, 3]), 4).double())
    assert_close(found[0], torch.tensor([1, 1, -1 / 3], dtype=torch.float64), rtol=1e-7, atol=1e-7)


def test_a_constant_sample_is_like_no_other_and_gives_finite_gradients() -> None:
    h = codes(3, 5, 4, 4)
    h.data[1] = 2.0
    similarity_loss(h, classes(3), 4).backward()
    assert not similarity_matrix(h)[1].any()
    assert h.grad.isfinite().all()


def test_gradients_agree_with_finite_differences() -> None:
    h, labels = codes(3, 5, 2, 2), classes(3)
    assert torch.autograd.gradcheck(lambda h: similarity_loss(h, labels, 4), (h,))


def test_the_loss_is_the_weighted_sum_of_both_parts() -> None:
    model, z, labels = predsim(), codes(4, 6, 6, 5), classes(4)
    model.head.weight.data.normal_()
    h = z.permute(0, 3, 1, 2)
    mixed = F.conv2d(h, model.mix.weight, padding=1)
    # Windows of 4 × 4 do not divide 6: with 2 rows and columns of zeros around they are 2 × 2.
    windows = F.pad(h, (2, 2, 2, 2))[:, :, :8, :8].unfold(2, 4, 4).unfold(3, 4, 4)
    logits = model.head(windows.mean((4, 5)).flatten(1))
    similarity = (similarity_matrix(mixed) - similarity_matrix(F.one_hot(labels, 4).double())) ** 2
    expected = 0.7 * similarity.mean() + 0.3 * F.cross_entropy(logits, labels)
    assert_close(result(model, z, labels).loss, expected, **F64)


def test_vectors_are_mixed_and_classified_as_they_are() -> None:
    model, z, labels = predsim(code_shape=(1, 1, 5)), codes(4, 1, 1, 5), classes(4)
    model.head.weight.data.normal_()
    flat = z.flatten(1)
    mixed = flat @ model.mix.weight.flatten(1).T
    prediction = F.cross_entropy(model.head(flat), labels)
    expected = 0.7 * similarity_loss(mixed, labels, 4) + 0.3 * prediction
    assert_close(result(model, z, labels).loss, expected, **F64)


def test_the_published_layers_have_their_published_classifiers_and_auxiliary_weights() -> None:
    inputs, weights = [], 0
    for channels, side in PUBLISHED:
        with torch.device("meta"):
            model = predsim(code_shape=(side, side, channels), num_classes=10, head_inputs=2048)
            pooled = model.average(torch.empty(1, channels, side, side))
        assert pooled.numel() == model.head.in_features
        inputs.append(model.head.in_features)
        weights += sum(weight.numel() for weight in model.parameters())
    assert inputs == [1152, 1536, 1536, 2048, 2048, 2048, 1024]
    assert round(weights / 1e6, 1) == 9.6


@pytest.mark.parametrize(("channels", "side"), [(256, 48), (512, 24), (512, 12), (512, 6)])
def test_behind_max_pooling_the_classifiers_would_be_as_wide(channels: int, side: int) -> None:
    with torch.device("meta"):
        before, behind = (
            predsim(code_shape=(size, size, channels), head_inputs=2048)
            for size in (side, side // 2)
        )
    assert before.head.in_features == behind.head.in_features


def test_height_is_halved_before_width_and_a_map_that_fits_not_at_all() -> None:
    kernels = [predsim(head_inputs=most).average.kernel_size for most in (180, 179, 90, 89)]
    assert kernels == [(1, 1), (2, 1), (2, 1), (2, 2)]


def test_the_classifier_starts_blind_and_learns() -> None:
    model, z, labels = predsim(), codes(4, 6, 6, 5), classes(4)
    assert not model.head.weight.any()
    result(model, z, labels).loss.backward()
    assert all(w.grad is not None and w.grad.any() for w in [z, *model.parameters()])


def test_accuracy_is_the_classifiers_share_of_right_labels() -> None:
    model, labels = predsim(code_shape=(1, 1, 4)), torch.tensor([0, 1, 2, 2])
    model.head.weight.data.copy_(torch.eye(4))
    model.head.bias.data.zero_()
    z = torch.eye(4, dtype=torch.float64)[:, None, None]
    assert result(model, z, labels).accuracy.item() == 3 / 4


def test_it_needs_a_label_per_sample() -> None:
    assert predsim().label_kind == "sample"


def test_under_bfloat16_autocast_the_loss_is_float32_and_close() -> None:
    model, z, labels = predsim().float(), codes(6, 6, 6, 5).detach().float(), classes(6)
    exact = result(model, z, labels).loss
    with torch.autocast("cpu", torch.bfloat16):
        rounded = result(model, z, labels).loss
    assert rounded.dtype == torch.float32
    assert_close(rounded, exact, rtol=2e-2, atol=0)


def test_twenty_adam_steps_lower_the_loss() -> None:
    model, z, labels = predsim(), codes(12, 6, 6, 5).detach(), classes(12)
    adam, losses = torch.optim.Adam(model.parameters(), lr=0.02), []
    for _ in range(21):
        loss = result(model, z, labels).loss
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


def refusal(message: str):
    return pytest.raises(ValueError, match=f"^{re.escape(message)}$")


def test_a_label_that_is_no_class_is_refused() -> None:
    with refusal("label -1; expected 0 to 3"):
        result(predsim(), codes(2, 6, 6, 5), torch.tensor([0, -1]))


def test_missing_labels_are_refused() -> None:
    with refusal("no labels; expected (2,)"):
        result(predsim(), codes(2, 6, 6, 5), None)


def test_codes_of_another_shape_are_refused() -> None:
    with refusal("codes (2, 5, 6, 6); expected (B, 6, 6, 5)"):
        result(predsim(), codes(2, 5, 6, 6), classes(2))
