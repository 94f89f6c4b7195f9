"""Several modules in a row, as one."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gimstage.modules import (
    Composite,
    Conv1dModule,
    EncoderModule,
    FoldedAlexNet,
    GRUModule,
    Identity,
    ResNetModule,
    SequenceModule,
    VGGLayer,
    joined,
    multiply_adds,
)

PATCH, WAVE = (3, 8, 8), (40, 1)


def resnet(in_channels: int, width: int, *, stem: int | None = None) -> ResNetModule:
    torch.manual_seed(in_channels)
    return ResNetModule(
        in_channels=in_channels,
        width=width,
        blocks=2,
        stride=2,
        block="basic",
        stem_channels=stem,
    )


def conv(in_channels: int, channels: int) -> Conv1dModule:
    torch.manual_seed(in_channels)
    return Conv1dModule(in_channels=in_channels, channels=channels, kernel=4, stride=2, padding=1)


def gru(in_channels: int) -> GRUModule:
    return GRUModule(in_channels=in_channels, channels=5, bptt=True)


def patches() -> Composite:
    row = joined([resnet(3, 4, stem=4), resnet(4, 6), Identity(in_channels=6)])
    assert isinstance(row, Composite)
    return row


def sequence() -> SequenceModule:
    row = joined([conv(1, 4), conv(4, 6), gru(6)])
    assert isinstance(row, SequenceModule)
    return row


EITHER = pytest.mark.parametrize(
    ("row", "shape"), [(patches(), PATCH), (sequence(), WAVE)], ids=["patches", "sequence"]
)


def test_a_single_module_stays_as_it_is() -> None:
    module = resnet(3, 4)
    assert joined([module]) is module


@EITHER
def test_what_comes_out_is_what_its_parts_make_in_turn(
    row: EncoderModule, shape: tuple[int, ...]
) -> None:
    x = expected = torch.randn(2, *shape)
    for part in row.parts:
        expected = part(expected)
    assert torch.equal(row(x), expected)


@EITHER
def test_codes_and_contexts_are_the_last_parts(row: EncoderModule, shape: tuple[int, ...]) -> None:
    x = inner = torch.randn(2, *shape)
    for part in row.parts[:-1]:
        inner = part(inner)
    torch.testing.assert_close(row.outputs(x), row.parts[-1].outputs(inner), rtol=0, atol=0)


@EITHER
def test_shapes_are_told_beforehand(row: EncoderModule, shape: tuple[int, ...]) -> None:
    features, codes, contexts = row.outputs(torch.randn(2, *shape))
    assert features.shape == (2, *row.output_shape(shape))
    assert codes.shape == (2, *row.code_shape(shape))
    assert contexts.shape[-1] == row.context_channels


def test_codes_of_features_are_pooled_as_the_last_part_does() -> None:
    features = torch.randn(2, 6, 4, 4)
    assert torch.equal(patches().pool(features), features.mean((-2, -1)))


def test_its_work_is_what_torch_counts() -> None:
    with torch.device("meta"):
        row, x = patches(), torch.empty(1, *PATCH)
    with FlopCounterMode(display=False) as counter:
        row(x)
    assert 2 * multiply_adds(row, PATCH) == counter.get_total_flops()


def test_the_input_is_the_firsts_and_the_output_the_lasts() -> None:
    row = sequence()
    assert (row.in_channels, row.out_channels) == (1, 5)
    assert (row.code_channels, row.context_channels) == (6, 5)


@pytest.mark.parametrize("stem", [None, 4])
def test_it_reads_through_relu_where_its_first_part_does(stem: int | None) -> None:
    row = joined([resnet(3, 4, stem=stem), resnet(4, 4)])
    assert row.reads_through_relu is (stem is None)


def test_it_is_rectified_where_its_last_part_is() -> None:
    assert joined([conv(1, 4), conv(4, 4)]).rectified
    assert not sequence().rectified


def test_one_part_with_dropout_or_batch_statistics_is_enough() -> None:
    layer = VGGLayer(
        in_channels=4, channels=4, kernel=3, stride=1, padding=1, max_pool=False, dropout=0.5
    )
    row = joined([resnet(3, 4, stem=4), layer, Identity(in_channels=4)])
    assert (row.uses_dropout, row.uses_batch_statistics) == (True, True)
    assert (patches().uses_dropout, patches().uses_batch_statistics) == (False, False)


def test_checkpoints_are_those_of_all_parts() -> None:
    assert patches().checkpoints == 4


def test_checkpointing_is_switched_in_every_part() -> None:
    row = patches()
    row.checkpointing = True
    assert all(part.checkpointing for part in row.parts)
    row.parts[0].checkpointing = False
    assert row.checkpointing  # another part still does


def test_checkpointing_leaves_values_and_gradients_as_they_are() -> None:
    x, grads = torch.randn(2, *PATCH), []
    for checkpointing in (False, True):
        row = patches()
        row.checkpointing = checkpointing
        row(x).square().sum().backward()
        grads.append([p.grad for p in row.parameters()])
    torch.testing.assert_close(*grads, rtol=0, atol=0)


def test_strides_of_a_row_multiply_and_lengths_follow_one_another() -> None:
    row = sequence()
    assert row.stride == 4
    assert row.length(40) == row(torch.randn(1, 40, 1)).shape[1]


@pytest.mark.parametrize("last", [True, False])
def test_a_row_is_recurrent_where_its_last_part_is(last: bool) -> None:
    assert joined([conv(1, 4), gru(4) if last else conv(4, 4)]).recurrent is last


def test_channels_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="^4 channels handed on; expected 5$"):
        joined([resnet(3, 4), resnet(5, 6)])


def test_a_module_that_reads_other_units_is_refused() -> None:
    whole = FoldedAlexNet(in_channels=4, widths=[4, 4, 4, 4, 4], global_channels=4)
    with pytest.raises(ValueError, match='^a module that reads a "grid"; expected "patch"$'):
        joined([resnet(3, 4), whole])


def test_a_sequence_among_patches_is_refused() -> None:
    with pytest.raises(ValueError, match='^a module that reads a "sequence"; expected "patch"$'):
        joined([resnet(3, 4), conv(4, 4)])


def test_a_recurrent_module_before_the_last_is_refused() -> None:
    message = "^a recurrent module before the last; expected it at the end$"
    with pytest.raises(ValueError, match=message):
        joined([conv(1, 4), gru(4), conv(5, 4)])


def test_a_row_of_sequences_encodes_whole_ones_only() -> None:
    message = "^several modules in a row encode whole sequences and maps only$"
    with pytest.raises(NotImplementedError, match=message):
        sequence().advance(torch.randn(1, 40, 1), None)
    with pytest.raises(NotImplementedError, match=message):
        sequence().reach(0, 1)
