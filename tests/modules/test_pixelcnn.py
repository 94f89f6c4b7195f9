"""The context module of CPC: what it computes, what it may look at, what it weighs."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from gimstage.modules.pixelcnn import PixelCNN
from gimstage.objectives import InfoNCE

F64 = {"rtol": 1e-12, "atol": 1e-12}


def pixelcnn(layers: int = 3) -> PixelCNN:
    torch.manual_seed(0)
    return PixelCNN(4, layers).double()


def codes(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def gate(x: torch.Tensor) -> torch.Tensor:
    return x[:, :4].tanh() * x[:, 4:].sigmoid()


def plain(model: PixelCNN, z: torch.Tensor) -> torch.Tensor:
    """As published: 3×3 vertical kernels, the bottom row of which is zero."""
    v = h = z.permute(0, 3, 1, 2)
    for number, layer in enumerate(model.layers):
        kernel = F.pad(layer.vertical.weight, (0, 0, 0, 1))
        wide = F.conv2d(v, kernel, layer.vertical.bias, padding=1)
        beside = layer.output(gate(layer.horizontal(h) + layer.across(wide)))
        if layer.residual is not None:
            wide = wide + layer.residual(v)
        v, h = gate(wide), beside if number == 0 else h + beside
    return model.out(h).permute(0, 2, 3, 1)


def test_contexts_are_those_of_masked_3_by_3_kernels() -> None:
    model, z = pixelcnn(), codes(2, 5, 6, 4)
    assert_close(model(z), plain(model, z), **F64)


def test_a_context_sees_its_own_row_and_those_above_over_all_columns() -> None:
    z = codes(1, 7, 7, 4).requires_grad_()
    pixelcnn(4)(z)[0, 3, 3].sum().backward()
    seen = (z.grad[0] != 0).any(-1)
    expected = torch.zeros(7, 7, dtype=torch.bool)
    expected[:4] = True
    assert torch.equal(seen, expected)


def test_each_grid_is_read_alone() -> None:
    model, z = pixelcnn(), codes(2, 5, 5, 4)
    assert_close(model(z)[1:], model(z[1:]), **F64)


def test_the_published_counts_and_the_weights_that_do_not_exist_here() -> None:
    with torch.device("meta"):
        model = PixelCNN(1024, 4)
    out = sum(weight.numel() for weight in model.out.parameters())
    stack = sum(weight.numel() for weight in model.parameters()) - out
    masked_rows, unread = 4 * 3 * 2048 * 1024, 2048 * 1024 + 2048
    assert out == 1_049_600
    assert stack == 100_696_064
    assert stack + masked_rows + unread == 127_961_088


def test_every_weight_learns() -> None:
    model = pixelcnn()
    model(codes(2, 5, 5, 4)).square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in model.parameters())


def test_vertical_kernels_start_as_three_rows_would() -> None:
    torch.manual_seed(0)
    weight = PixelCNN(64, 1).layers[0].vertical.weight
    assert 0.99 / 24 < weight.abs().max().item() <= 1 / 24


def test_the_stated_work_is_what_a_flop_counter_sees() -> None:
    model = pixelcnn()
    with FlopCounterMode(display=False) as counter:
        model(codes(1, 5, 6, 4))
    assert 2 * model.multiply_adds((5, 6, 4)) == counter.get_total_flops()


def test_codes_of_other_channels_are_refused() -> None:
    message = "codes of 3 channels; expected 4"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        pixelcnn().multiply_adds((5, 5, 3))


def test_twenty_adam_steps_of_predicting_from_its_contexts_lower_the_loss() -> None:
    objective = InfoNCE(
        code_channels=4,
        context_channels=4,
        prediction_steps=2,
        prediction_gap=1,
        num_negatives=4,
        projection="target",
        negative_source="targets",
        exclude_positive=False,
        probability_floor=1e-11,
        window=None,
        context=pixelcnn(2),
    ).double()
    z = codes(4, 1, 5, 4).expand(4, 5, 5, 4)
    adam, losses = torch.optim.Adam(objective.parameters(), lr=0.01), []
    for step in range(21):
        draws = objective.draw(z.shape, torch.Generator().manual_seed(step))
        loss = objective(z, z, draws).loss
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
