"""The hidden layer of VGG8B: what it computes, what it hands on, what seven of it weigh."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from gimstage.modules.vgg import VGGLayer

F64 = {"rtol": 1e-10, "atol": 1e-10}
# channels, kernel, stride, padding and max-pool of the published seven.
PUBLISHED = [
    (128, 7, 2, 3, False),
    (256, 3, 1, 1, True),
    (256, 3, 1, 1, False),
    (512, 3, 1, 1, True),
    (512, 3, 1, 1, True),
    (512, 3, 1, 1, True),
    (1024, 3, 1, 0, False),
]


def layer(**changed) -> VGGLayer:
    torch.manual_seed(0)
    chosen = {"in_channels": 3, "channels": 4, "kernel": 3, "stride": 1, "padding": 1}
    return VGGLayer(**chosen | {"max_pool": False, "dropout": 0.5} | changed).double()


def published() -> list[VGGLayer]:
    """The published layers, without memory for their weights."""
    layers, channels = [], 3
    with torch.device("meta"):
        for width, kernel, stride, padding, max_pool in PUBLISHED:
            chosen = {"kernel": kernel, "stride": stride, "padding": padding}
            layers.append(
                layer(
                    in_channels=channels, channels=width, max_pool=max_pool, dropout=0.1, **chosen
                )
            )
            channels = width
    return layers


def images(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def hidden(module: VGGLayer, x: Tensor) -> Tensor:
    """h, written out."""
    y = F.conv2d(x, module.conv.weight, module.conv.bias, module.conv.stride, module.conv.padding)
    mean, variance = y.mean((0, 2, 3), keepdim=True), y.var((0, 2, 3), False, keepdim=True)
    y = (y - mean) / (variance + 1e-5).sqrt()
    return torch.where(y > 0, y, 0.01 * y)


@pytest.mark.parametrize("changed", [{}, {"kernel": 7, "stride": 2, "padding": 3}])
def test_its_loss_reads_h_before_dropout_and_max_pooling(changed) -> None:
    module, x = layer(max_pool=True, **changed), images(5, 3, 8, 8)
    codes, contexts = module.codes_and_contexts(x)
    assert contexts is codes
    assert_close(codes, hidden(module, x).permute(0, 2, 3, 1), **F64)


def test_a_linear_layer_over_a_map_is_a_kernel_that_covers_it() -> None:
    module, x = layer(kernel=6, padding=0), images(5, 3, 6, 6)
    linear = F.linear(x.flatten(1), module.conv.weight.flatten(1), module.conv.bias)
    y = F.leaky_relu(F.batch_norm(linear, None, None, training=True), 0.01)
    assert_close(module.hidden(x)[..., 0, 0], y, **F64)


def test_a_frozen_layer_hands_on_the_maxima_of_h() -> None:
    module, x = layer(max_pool=True).eval(), images(2, 3, 8, 6)
    h = module.hidden(x)
    blocks = h.view(2, 4, 4, 2, 3, 2).transpose(3, 4).flatten(4)
    assert_close(module(x), blocks.amax(4), **F64)


def test_dropping_whole_channels_behind_max_pooling_is_as_dropping_them_before() -> None:
    module, h = layer(max_pool=True), images(40, 4, 6, 6)
    torch.manual_seed(3)
    behind = module.hand_on(h)
    torch.manual_seed(3)
    before = F.max_pool2d(F.dropout2d(h, 0.5), 2)
    assert torch.equal(behind, before)
    dropped = (behind == 0).flatten(2).all(2).double().mean().item()
    assert 0.3 < dropped < 0.7


def test_without_dropout_learning_hands_on_h() -> None:
    module, x = layer(dropout=0.0), images(4, 3, 6, 6)
    assert_close(module(x), hidden(module, x), **F64)


def test_a_frozen_image_is_encoded_alone_and_a_learning_one_is_not() -> None:
    module, x = layer(dropout=0.0), images(4, 3, 6, 6)
    assert not torch.allclose(module(x)[:1], module(x[:1]))
    module.eval()
    assert_close(module(x)[:1], module(x[:1]), **F64)
    assert module.uses_batch_statistics


def test_leading_axes_are_restored_and_may_be_any() -> None:
    module, x = layer().eval(), images(2, 5, 3, 6, 6)
    assert_close(module(x)[1], module(x[1]), **F64)
    assert module.codes_and_contexts(x)[0].shape == (2, 5, 6, 6, 4)


def test_a_stored_code_is_the_spatial_mean_of_the_features() -> None:
    features = images(2, 4, 3, 3)
    assert_close(layer().pool(features), features.flatten(2).sum(2) / 9, **F64)


def test_negative_values_are_read_and_handed_on() -> None:
    module, x = layer(), images(4, 3, 6, 6)
    assert (module(x) < 0).any()
    assert not module.rectified
    assert not torch.equal(module.hidden(x), module.hidden(x.relu()))
    assert not module.reads_through_relu


@pytest.mark.parametrize("max_pool", [False, True])
@pytest.mark.parametrize("size", [(8, 8), (9, 7)])
@pytest.mark.parametrize("changed", [{}, {"kernel": 7, "stride": 2, "padding": 3}])
def test_the_stated_output_shape_is_the_real_one(max_pool, size, changed) -> None:
    module = layer(max_pool=max_pool, **changed)
    assert module.output_shape((3, *size)) == tuple(module(images(2, 3, *size))[0].shape)


def test_the_stated_work_is_what_a_flop_counter_sees() -> None:
    module = layer(max_pool=True, kernel=7, stride=2, padding=3)
    with FlopCounterMode(display=False) as counter:
        module(images(1, 3, 9, 8))
    assert 2 * module.multiply_adds((3, 9, 8)) == counter.get_total_flops()


def test_an_image_of_other_channels_is_refused() -> None:
    message = "image of 1 channels; expected 3"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        layer().output_shape((1, 8, 8))


def test_the_published_layers_hand_on_maps_of_the_published_sizes() -> None:
    shape, sizes = (3, 96, 96), []
    for module in published():
        shape = module.output_shape(shape)
        sizes.append(shape[1:])
    assert sizes == [(n, n) for n in (48, 24, 24, 12, 6, 3, 1)]


def test_the_published_net_has_its_published_number_of_weights() -> None:
    hidden_layers = sum(weight.numel() for one in published() for weight in one.parameters())
    output_layer = 1024 * 10 + 10
    assert hidden_layers + output_layer == 11_540_234
