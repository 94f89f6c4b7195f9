"""The vision encoder module: what it computes, how it is laid out, what it says of itself."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from gimstage.modules import ResNetModule

KINDS = ["bottleneck", "basic"]
# in_channels, width, blocks, stride, stem_channels and input size of the published three.
PUBLISHED = {
    "bottleneck": [(1, 64, 3, 1, 64, 16), (256, 128, 4, 2, None, 16), (512, 256, 6, 2, None, 8)],
    "basic": [(1, 64, 3, 1, 64, 16), (64, 128, 4, 2, None, 16), (128, 256, 6, 2, None, 8)],
}


def module(block: str = "bottleneck", **changed) -> ResNetModule:
    """A small module without stem, but for what is said."""
    chosen = {"in_channels": 6, "width": 4, "blocks": 2, "stride": 2, "stem_channels": None}
    torch.manual_seed(0)
    return ResNetModule(block=block, **chosen | changed)


def published(block: str, number: int) -> tuple[ResNetModule, int]:
    """A module of the published encoder, without memory for its weights, and its input size."""
    in_channels, width, blocks, stride, stem, size = PUBLISHED[block][number]
    with torch.device("meta"):
        made = module(
            block,
            in_channels=in_channels,
            width=width,
            blocks=blocks,
            stride=stride,
            stem_channels=stem,
        )
    return made, size


def seeded(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def test_a_bottleneck_computes_what_is_written():
    block = module(blocks=1).blocks[0]
    x = seeded(3, 6, 8, 8)
    y = F.conv2d(x.relu(), block.conv1.weight, block.conv1.bias)
    y = F.conv2d(y.relu(), block.conv2.weight, block.conv2.bias, stride=2, padding=1)
    y = F.conv2d(y.relu(), block.conv3.weight, block.conv3.bias)
    around = F.conv2d(x.relu(), block.shortcut.weight, block.shortcut.bias, stride=2)
    assert_close(block(x), y + around)


def test_a_basic_block_computes_what_is_written():
    block = module("basic", blocks=1).blocks[0]
    x = seeded(3, 6, 8, 8)
    y = F.conv2d(x.relu(), block.conv1.weight, block.conv1.bias, stride=2, padding=1)
    y = F.conv2d(y.relu(), block.conv2.weight, block.conv2.bias, padding=1)
    around = F.conv2d(x.relu(), block.shortcut.weight, block.shortcut.bias, stride=2)
    assert_close(block(x), y + around)


@pytest.mark.parametrize("block", KINDS)
def test_an_identity_shortcut_adds_the_raw_input(block):
    same = module(block, width=4, in_channels=16 if block == "bottleneck" else 4, stride=1)
    for weight in same.parameters():
        weight.data.zero_()
    x = seeded(1, 2, 2, same.in_channels, 8, 8)
    assert torch.equal(same(x), x)


def test_the_input_is_left_as_it_was():
    x = seeded(1, 2, 2, 6, 8, 8)
    kept = x.clone()
    module()(x)
    assert torch.equal(x, kept)


def test_leading_axes_are_restored_and_may_be_any():
    small, x = module(), seeded(2, 3, 4, 6, 8, 8)
    assert small(x).shape == (2, 3, 4, 16, 4, 4)
    assert_close(small(x[0, 0]), small(x)[0, 0])


def test_each_patch_is_encoded_alone():
    small, x = module(stem_channels=5), seeded(2, 3, 3, 6, 8, 8)
    changed = x.clone()
    changed[1, 2, 0] += 1
    same = (small(x) == small(changed)).flatten(3).all(3)
    expected = torch.ones(2, 3, 3, dtype=torch.bool)
    expected[1, 2, 0] = False
    assert torch.equal(same, expected)


def test_a_code_is_the_spatial_mean_of_raw_features():
    features = seeded(2, 3, 3, 5, 4, 4)
    expected = features.reshape(2, 3, 3, 5, 16).sum(-1) / 16
    assert_close(module().pool(features), expected)


@pytest.mark.parametrize("block", KINDS)
@pytest.mark.parametrize(
    ("stride", "stem", "through_relu"), [(2, None, True), (1, None, False), (2, 6, False)]
)
def test_reads_through_relu_is_what_negative_inputs_show(block, stride, stem, through_relu):
    width = 4 if block == "bottleneck" else 16
    small = module(block, in_channels=16, width=width, stride=stride, stem_channels=stem)
    x = seeded(1, 2, 2, 16, 8, 8)
    assert torch.equal(small(x), small(x.relu())) == through_relu
    assert small.reads_through_relu == through_relu


@pytest.mark.parametrize("block", KINDS)
@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
@pytest.mark.parametrize("stem", [None, 3])
def test_the_stated_output_shape_is_the_real_one(block, size, stem):
    small = module(block, stem_channels=stem)
    assert small.output_shape((6, *size)) == small(seeded(1, 6, *size)).shape[1:]


@pytest.mark.parametrize("block", KINDS)
@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
@pytest.mark.parametrize("stem", [None, 3])
def test_the_stated_work_is_what_a_flop_counter_sees(block, size, stem):
    small = module(block, stem_channels=stem)
    with FlopCounterMode(display=False) as counter:
        small(seeded(1, 6, *size))
    assert small.multiply_adds((6, *size)) == counter.get_total_flops() / 2


def test_a_patch_of_other_channels_is_refused():
    with pytest.raises(ValueError, match=f"^{re.escape('patch of 1 channels; expected 6')}$"):
        module().output_shape((1, 8, 8))


@pytest.mark.parametrize(
    ("block", "counts"),
    [("bottleneck", (216_064, 1_216_000, 7_088_128)), ("basic", (223_232, 1_115_264, 6_819_072))],
)
def test_the_published_modules_have_their_published_numbers_of_weights(block, counts):
    made = [published(block, number)[0] for number in range(3)]
    assert tuple(sum(w.numel() for w in one.parameters()) for one in made) == counts


def test_the_first_published_module_has_more_weights_for_colour():
    colour = module(in_channels=3, width=64, blocks=3, stride=1, stem_channels=64)
    assert sum(weight.numel() for weight in colour.parameters()) == 219_264


def test_the_published_modules_take_their_published_work_per_crop():
    works = []
    for number in range(3):
        made, size = published("bottleneck", number)
        works.append(round(49 * made.multiply_adds((made.in_channels, size, size)) / 1e9, 2))
    assert works == [2.69, 4.11, 5.86]


@pytest.mark.parametrize("block", KINDS)
def test_channels_last_changes_the_layout_and_not_the_values(block):
    small, x = module(block, stem_channels=5).double(), seeded(1, 2, 2, 6, 8, 8).double()
    plain = small(x)
    small.to(memory_format=torch.channels_last)
    laid_out = small(x)
    assert laid_out.flatten(0, 2).is_contiguous(memory_format=torch.channels_last)
    assert_close(laid_out, plain, rtol=1e-12, atol=1e-12)


def test_weight_names_say_where_a_weight_sits():
    names = list(dict(module(blocks=2, stem_channels=3).named_parameters()))
    convs = ["shortcut", "conv1", "conv2", "conv3"]
    sites = ["stem", *(f"blocks.0.{c}" for c in convs), *(f"blocks.1.{c}" for c in convs[1:])]
    assert names == [f"{site}.{kind}" for site in sites for kind in ("weight", "bias")]
