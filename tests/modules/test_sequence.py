"""The modules of the audio encoder: lengths, reaches, states, and what each hands to its loss."""

import pytest
import torch
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from gimstage.modules import Conv1dModule, ConvGRUModule, GRUModule, SequenceModule
from gimstage.objectives import InfoNCE

# Kernel, stride and padding of the published five.
PUBLISHED = [(10, 5, 2), (8, 4, 2), (4, 2, 2), (4, 2, 2), (4, 2, 1)]
F64 = {"rtol": 1e-12, "atol": 1e-12}


def conv(number: int, in_channels: int = 3, channels: int = 4) -> Conv1dModule:
    kernel, stride, padding = PUBLISHED[number]
    torch.manual_seed(number)
    return Conv1dModule(
        in_channels=in_channels, channels=channels, kernel=kernel, stride=stride, padding=padding
    ).double()


def gru(bptt: bool = True) -> GRUModule:
    torch.manual_seed(7)
    return GRUModule(in_channels=3, channels=5, bptt=bptt).double()


def conv_gru() -> ConvGRUModule:
    torch.manual_seed(8)
    return ConvGRUModule(
        in_channels=3, channels=4, kernel=4, stride=2, padding=1, hidden_channels=5, bptt=True
    ).double()


def sequence(rows: int, channels: int = 3, batch: int = 2) -> torch.Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(batch, rows, channels, generator=rng, dtype=torch.float64)


def stretch(module: SequenceModule, x: torch.Tensor, first: int, count: int) -> torch.Tensor:
    """The input rows a stretch of output depends on, zeros where there are none."""
    begin, rows = module.reach(first, count)
    padded = torch.nn.functional.pad(x, (0, 0, rows, rows))
    return padded[:, begin + rows : begin + 2 * rows]


def test_a_convolution_computes_what_is_written() -> None:
    module, x = conv(0), sequence(60)
    expected = torch.relu(module.conv(x.transpose(1, 2))).transpose(1, 2)
    assert_close(module(x), expected, **F64)


@pytest.mark.parametrize(
    ("samples", "lengths"),
    [(20_480, [4095, 1023, 512, 257, 128]), (16_000, [3199, 799, 400, 201, 100])],
)
def test_the_published_lengths(samples: int, lengths: list[int]) -> None:
    found = []
    for number in range(5):
        samples = conv(number).length(samples)
        found.append(samples)
    assert found == lengths


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("first", [0, 1, 7])
def test_a_stretch_and_its_reach_give_the_rows_of_the_whole(number: int, first: int) -> None:
    module, x = conv(number), sequence(101)
    whole = module(x)
    for count in (1, 4, whole.shape[1] - first):
        rows, state = module.advance(stretch(module, x, first, count), None)
        assert state is None
        assert_close(rows, whole[:, first : first + count], **F64)


@pytest.mark.parametrize("make", [gru, conv_gru])
def test_a_state_carries_over_from_stretch_to_stretch(make) -> None:
    module, x = make(), sequence(50)
    whole, state, parts = module(x), None, []
    for first in range(0, whole.shape[1], 8):
        count = min(8, whole.shape[1] - first)
        rows, state = module.advance(stretch(module, x, first, count), state)
        parts.append(rows)
    assert_close(torch.cat(parts, 1), whole, **F64)


def test_without_bptt_values_stay_and_gradients_end_at_their_step() -> None:
    x = sequence(9).requires_grad_()
    contexts = gru(bptt=False)(x)
    assert_close(contexts, gru()(x), **F64)
    contexts[:, 5].sum().backward()
    reached = x.grad.abs().sum((0, 2)).nonzero().flatten().tolist()
    assert reached == [5]


def test_with_bptt_gradients_reach_every_step_before() -> None:
    x = sequence(9).requires_grad_()
    gru()(x)[:, 5].sum().backward()
    assert x.grad.abs().sum((0, 2)).nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 5]


def test_what_each_module_hands_to_its_loss() -> None:
    x = sequence(20)
    codes, contexts = conv(2)(x), gru()(x)
    z, c = conv(2).codes_and_contexts(x)
    assert z is c
    assert torch.equal(z, codes)
    z, c = gru().codes_and_contexts(x)
    assert z is x
    assert torch.equal(c, contexts)
    both = conv_gru()
    z, c = both.codes_and_contexts(x)
    assert torch.equal(z, both.conv(x))
    assert torch.equal(c, both(x))
    assert (both.code_channels, both.out_channels) == (4, 5)


@pytest.mark.parametrize("make", [lambda: conv(1), gru, conv_gru])
def test_shapes_are_told_beforehand(make) -> None:
    module = make()
    assert module.output_shape((50, 3)) == tuple(module(sequence(50))[0].shape)


def test_multiply_adds_are_those_torch_counts() -> None:
    module = conv(1)
    with FlopCounterMode(display=False) as counted:
        module(sequence(50, batch=1))
    assert 2 * module.multiply_adds((50, 3)) == counted.get_total_flops()
    # A GRU multiplies three gates' matrices with input and state at every step.
    assert gru().multiply_adds((50, 3)) == 50 * 3 * 5 * (3 + 5)
    inner = conv_gru()
    parts = inner.conv.multiply_adds((50, 3)) + inner.gru.multiply_adds((25, 4))
    assert inner.multiply_adds((50, 3)) == parts


def test_the_published_parameter_counts() -> None:
    with torch.device("meta"):
        modules = [conv(0, 1, 512), *(conv(n, 512, 512) for n in range(1, 5))]
        modules.append(GRUModule(in_channels=512, channels=256, bptt=True))
    counts = [sum(p.numel() for p in module.parameters()) for module in modules]
    assert counts == [5_632, 2_097_664, 1_049_088, 1_049_088, 1_049_088, 591_360]


def infonce(context: GRUModule | None, channels: int) -> InfoNCE:
    return InfoNCE(
        code_channels=3,
        context_channels=channels,
        prediction_steps=3,
        prediction_gap=0,
        num_negatives=4,
        projection="context",
        negative_source="batch",
        exclude_positive=False,
        probability_floor=0.0,
        window=None,
        context=context,
    ).double()


def test_a_context_module_stands_between_codes_and_loss_and_learns_with_it() -> None:
    context, x = gru(), sequence(20)
    objective = infonce(context, 5)
    draws = objective.draw(x.shape, torch.Generator().manual_seed(3))
    result = objective(x, x, draws)
    plain = infonce(None, 5)
    plain.load_state_dict({"projections": objective.projections})
    assert_close(result.loss, plain(x, context(x), draws).loss, **F64)
    result.loss.backward()
    assert all(p.grad is not None for p in context.parameters())
