"""Modules on whole maps: sides, reaches, and that any part of a map is encoded as in the whole."""

import math

import pytest
import torch
from torch.nn.functional import pad
from torch.testing import assert_close

from gimstage.modules import Conv2dModule, MapModule, MaskedConv2dModule, joined, multiply_adds
from gimstage.modules.base import counted_multiply_adds
from gimstage.specs.encoders import ENCODER_TABLES
from gimstage.specs.outside import UNTRUSTED
from gimstage.views import MapViews, Squares

F64 = {"rtol": 1e-12, "atol": 1e-12}
# Kernel, stride and padding.
SHAPES = [(4, 2, 1), (3, 2, 1), (5, 1, 2), (3, 2, 0), (7, 3, 2)]


def conv(kernel: int, stride: int, padding: int, in_channels: int = 3) -> Conv2dModule:
    torch.manual_seed(kernel)
    return Conv2dModule(
        in_channels=in_channels, channels=4, kernel=kernel, stride=stride, padding=padding
    ).double()


def masked(kernel: int = 3) -> MaskedConv2dModule:
    torch.manual_seed(9)
    return MaskedConv2dModule(in_channels=3, channels=5, kernel=kernel).double()


def maps(side: int, channels: int = 3, batch: int = 2) -> torch.Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(batch, side, side, channels, generator=rng, dtype=torch.float64)


def square(module: MapModule, x: torch.Tensor, y: int, column: int, size: int) -> torch.Tensor:
    """The input that a square of output depends on, zeros where there is none."""
    reach = module.reach(size)
    room = reach.size
    padded = pad(x, (0, 0, room, room, room, room))
    top, left = y * module.stride + reach.y + room, column * module.stride + reach.x + room
    return padded[:, top : top + reach.size, left : left + reach.size]


def test_a_convolution_computes_what_is_written() -> None:
    module, x = conv(4, 2, 1), maps(16)
    expected = torch.relu(module.conv(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
    assert_close(module(x), expected, **F64)


@pytest.mark.parametrize("module", [*(conv(*shape) for shape in SHAPES), masked(3), masked(5)])
def test_any_square_of_the_output_follows_from_its_reach_alone(module: MapModule) -> None:
    x = maps(33)
    whole = module(x)
    side = module.side(33)
    assert whole.shape == (2, *module.output_shape((33, 33, 3)))
    for y, column, size in [(0, 0, 3), (side - 4, 2, 4), (3, side - 5, 5), (0, 0, side)]:
        part = module.unpadded(square(module, x, y, column, size))
        assert_close(part, whole[:, y : y + size, column : column + size], **F64)


def test_codes_and_features_of_a_convolution_are_one_tensor() -> None:
    outputs = conv(3, 1, 1)(maps(8)), conv(3, 1, 1).outputs(maps(8))
    assert outputs[1].codes is outputs[1].features is outputs[1].contexts
    assert_close(outputs[0], outputs[1].codes)


def test_a_context_sees_no_row_below_its_own() -> None:
    module, x = masked(5), maps(12)
    changed = x.clone()
    changed[:, 7:] = 0
    assert_close(module(x)[:, :7], module(changed)[:, :7], **F64)
    assert not torch.allclose(module(x)[:, 7:], module(changed)[:, 7:])


def test_contexts_predict_the_codes_they_read() -> None:
    x = maps(6)
    features, codes, contexts = masked().outputs(x)
    assert codes is x
    assert contexts is features
    assert contexts.shape == (2, 6, 6, 5)


def test_no_gradient_goes_into_the_codes_that_contexts_are_made_of() -> None:
    _, codes, contexts = masked().outputs(maps(6))
    assert contexts.requires_grad
    assert not codes.requires_grad


@pytest.mark.parametrize("module", [conv(4, 2, 1), masked()])
def test_what_a_pass_takes_is_counted_as_torch_counts_it(module: MapModule) -> None:
    counted = counted_multiply_adds(module.to("meta").float().outputs, (1, 12, 12, 3))
    assert multiply_adds(module, (12, 12, 3)) == counted


def test_convolutions_in_a_row_are_one_module_of_all_their_strides() -> None:
    row = joined([conv(4, 2, 1), conv(3, 2, 1, in_channels=4)])
    assert isinstance(row, MapModule)
    assert row.stride == 4
    assert row.output_shape((32, 32, 3)) == (8, 8, 4)
    assert row(maps(32)).shape == (2, 8, 8, 4)


def test_an_even_kernel_of_contexts_is_refused() -> None:
    table = {"kind": "masked_conv2d", "channels": 4, "kernel": 4}
    with pytest.raises(ValueError, match="kernel = 4; expected an odd number"):
        ENCODER_TABLES.table("masked_conv2d", UNTRUSTED).model_validate(table, context=UNTRUSTED)


def edge_after(edge: int, kernel: int, stride: int, padding: int) -> int:
    """How many positions at an edge padding has reached, where it had reached `edge` before."""
    return -(-(max(edge, 0) + padding) // stride)


@pytest.mark.parametrize(
    ("shapes", "size", "edge"),
    [
        ([(4, 2, 1), (4, 2, 1), (3, 1, 1)], 32, 2),
        ([(8, 4, 2), (8, 4, 2), (4, 2, 1), (4, 2, 1)], 256, 1),  # stages/demo_large
    ],
)
def test_a_crop_of_the_maps_is_the_crop_encoded_but_for_the_edge_that_padding_reaches(
    shapes: list[tuple[int, int, int]], size: int, edge: int
) -> None:
    image, stride, reached = maps(2 * size, batch=1), math.prod(s for _, s, _ in shapes), 0
    y, x = size // 2, size - stride
    whole, crop = image, image[:, y : y + size, x : x + size]
    for number, shape in enumerate(shapes):
        module = conv(*shape, in_channels=3 if number == 0 else 4)
        whole, crop = module(whole), module(crop)
        reached = edge_after(reached, *shape)
    side = crop.shape[1]
    cut = whole[:, y // stride :, x // stride :][:, :side, :side]
    assert reached == edge
    assert_close(cut[:, edge:-edge, edge:-edge], crop[:, edge:-edge, edge:-edge], **F64)
    assert not torch.allclose(cut[:, 0], crop[:, 0])


def test_crops_are_uniform_over_all_that_fit_and_mirrored_half_of_the_time() -> None:
    views = MapViews(side=8, size=6, flip=True)
    samples = torch.arange(6000).numpy()
    drawn = views.draw(torch.Generator().manual_seed(3), samples)
    for corner in (drawn.y, drawn.x):
        counts = torch.bincount(torch.from_numpy(corner), minlength=3)
        assert counts.shape == (3,)
        assert bool((counts > 1800).all())
    assert 2800 < int(drawn.view.sum()) < 3200


def test_without_flip_no_crop_is_mirrored() -> None:
    views = MapViews(side=8, size=6, flip=False)
    drawn = views.draw(torch.Generator().manual_seed(3), torch.arange(50).numpy())
    assert not drawn.view.any()


def test_what_lies_outside_a_map_is_zeros() -> None:
    zero = torch.zeros(2, dtype=torch.int64).numpy()
    places = Squares(zero, zero, zero - 1, zero + 2, 4)
    cut = places.zero_outside(torch.ones(2, 4, 4, 1), 5)
    assert places.overhang(5)
    assert cut[0, :, :, 0].tolist() == [[0, 0, 0, 0], *[[1, 1, 1, 0]] * 3]
