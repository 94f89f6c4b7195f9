"""The encoder of Deep InfoMax: what it computes, how it is laid out, what it says of itself."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from gimstage.modules.folded_alexnet import FoldedAlexNet

F64 = {"rtol": 1e-10, "atol": 1e-10}


def encoder(**changed) -> FoldedAlexNet:
    torch.manual_seed(0)
    chosen = {"in_channels": 2, "widths": (3, 4, 6, 5, 4), "global_channels": 7}
    return FoldedAlexNet(**chosen | changed).double()


def grids(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def normalised(x: Tensor) -> Tensor:
    """Each channel with mean 0 and variance 1 over batch and map; the scale starts as 1."""
    mean, variance = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), False, keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt()


def convs(parts: torch.nn.Sequential) -> list[torch.nn.Conv2d]:
    return [part for part in parts if isinstance(part, torch.nn.Conv2d)]


def test_local_codes_are_those_of_the_written_layers() -> None:
    module, x = encoder(), grids(2, 3, 3, 2, 16, 16)
    y = x.reshape(18, 2, 16, 16)
    for conv, pooled in zip(convs(module.patches), [1, 1, 0, 0, 1], strict=True):
        y = normalised(F.conv2d(y, conv.weight, padding=1)).relu()
        y = F.max_pool2d(y, 3, 2) if pooled else y
    assert_close(module(x), y.view(2, 3, 3, 4, 1, 1), **F64)


def test_global_codes_are_those_of_the_written_layers() -> None:
    module, x = encoder(), grids(2, 5, 5, 2, 16, 16)
    codes, contexts = module.codes_and_contexts(x)
    three, one = convs(module.grid)
    y = normalised(F.conv2d(codes.permute(0, 3, 1, 2), three.weight)).relu()
    y = normalised(F.conv2d(y, one.weight)).relu()
    assert_close(contexts, y.permute(0, 2, 3, 1), **F64)


def test_codes_are_the_features_of_a_patch_grid() -> None:
    module, x = encoder().eval(), grids(2, 3, 3, 2, 16, 16)
    codes, _ = module.codes_and_contexts(x)
    assert torch.equal(codes, module(x)[..., 0, 0])
    assert torch.equal(codes, module.pool(module(x)))
    assert (module.code_channels, module.global_channels) == (4, 7)


def test_a_global_code_sees_3_by_3_places() -> None:
    module, x = encoder().eval(), grids(1, 5, 5, 2, 16, 16).requires_grad_()
    module.codes_and_contexts(x)[1][0, 0, 2].sum().backward()
    expected = torch.zeros(5, 5, dtype=torch.bool)
    expected[:3, 2:] = True
    assert torch.equal((x.grad[0] != 0).flatten(2).any(2), expected)


def test_frozen_patches_are_encoded_alone_and_learning_ones_are_not() -> None:
    module, x = encoder(), grids(2, 3, 3, 2, 16, 16)
    assert not torch.allclose(module(x)[:1], module(x[:1]))
    module.eval()
    assert_close(module(x)[:1, :1], module(x[:1, :1]), **F64)
    assert module.uses_batch_statistics


def test_features_are_never_negative_and_negative_inputs_count() -> None:
    module, x = encoder(), grids(2, 3, 3, 2, 16, 16)
    assert module.rectified
    assert (module(x) >= 0).all()
    assert not module.reads_through_relu
    assert not torch.equal(module(x), module(x.relu()))


def test_the_input_is_left_as_it_was() -> None:
    x = grids(1, 3, 3, 2, 16, 16)
    kept = x.clone()
    encoder()(x)
    assert torch.equal(x, kept)


@pytest.mark.parametrize("shape", [(3, 4, 2, 16, 16), (3, 3, 2, 24, 17)])
def test_the_stated_output_shape_is_the_real_one(shape: tuple[int, ...]) -> None:
    module = encoder()
    assert module.output_shape(shape) == tuple(module(grids(1, *shape))[0].shape)
    assert module.unit_axes == len(shape)


def test_the_stated_work_is_what_a_flop_counter_sees() -> None:
    module, shape = encoder(), (4, 3, 2, 16, 16)
    with FlopCounterMode(display=False) as counter:
        module.codes_and_contexts(grids(1, *shape))
    assert 2 * module.multiply_adds(shape) == counter.get_total_flops()


def test_the_published_shapes_and_work() -> None:
    with torch.device("meta"):
        module = FoldedAlexNet(in_channels=1, widths=(96, 192, 384, 384, 192), global_channels=192)
        codes, contexts = module.codes_and_contexts(torch.empty(2, 7, 7, 1, 16, 16))
    assert codes.shape == (2, 7, 7, 192)
    assert contexts.shape == (2, 5, 5, 192)
    assert sum(conv.bias is not None for conv in convs(module.patches)) == 0
    assert round(module.multiply_adds((7, 7, 1, 16, 16)) / 1e9, 2) == 1.59


def refusal(message: str):
    return pytest.raises(ValueError, match=f"^{re.escape(message)}$")


def test_patches_of_other_channels_are_refused() -> None:
    with refusal("patches of 1 channels; expected 2"):
        encoder().output_shape((3, 3, 1, 16, 16))


def test_other_numbers_of_widths_are_refused() -> None:
    with refusal("4 widths; expected 5"):
        encoder(widths=(3, 4, 6, 5))
