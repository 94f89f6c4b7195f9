"""Sequences of any length through modules, a piece at a time."""

from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from gimstage.modules import Conv1dModule, ConvGRUModule, GRUModule, Identity, Piecewise

F64 = {"rtol": 1e-12, "atol": 1e-12}


def conv(kernel: int, stride: int, padding: int, channels: tuple[int, int] = (3, 3)):
    return Conv1dModule(
        in_channels=channels[0], channels=channels[1], kernel=kernel, stride=stride, padding=padding
    ).double()


def row() -> list:
    """The audio encoder in small, with a convolution above its GRU."""
    torch.manual_seed(3)
    gru = GRUModule(in_channels=3, channels=3, bptt=True).double()
    return [conv(10, 5, 2, (1, 3)), conv(8, 4, 2), conv(4, 2, 2), gru, conv(3, 1, 1)]


def sequence(rows: int, channels: int = 1) -> torch.Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(2, rows, channels, generator=rng, dtype=torch.float64)


def in_pieces(modules: list, x: torch.Tensor, cuts: list[int]) -> list[torch.Tensor]:
    walk, ends = Piecewise(modules), [0, *cuts, x.shape[1]]
    pieces = [walk(x[:, a:b], last=b == x.shape[1]) for a, b in pairwise(ends)]
    return [torch.cat(rows, 1) for rows in zip(*pieces, strict=True)]


def whole(modules: list, x: torch.Tensor) -> list[torch.Tensor]:
    made = []
    with torch.no_grad():
        for module in modules:
            x = module(x)
            made.append(x)
    return made


@pytest.mark.parametrize("cuts", [[], [1], [7, 8, 9], [100, 300], list(range(3, 401, 3))])
def test_pieces_of_any_length_give_the_rows_of_the_whole(cuts: list[int]) -> None:
    modules, x = row(), sequence(401)
    for found, wanted in zip(in_pieces(modules, x, cuts), whole(modules, x), strict=True):
        assert_close(found, wanted, **F64)


def test_a_convolution_and_its_gru_in_one_module_come_in_pieces_too() -> None:
    torch.manual_seed(4)
    module = ConvGRUModule(
        in_channels=1, channels=3, kernel=4, stride=2, padding=1, hidden_channels=2, bptt=True
    ).double()
    x = sequence(60)
    assert_close(in_pieces([module], x, [5, 31])[0], whole([module], x)[0], **F64)


def test_a_stride_may_be_larger_than_its_kernel() -> None:
    modules, x = [conv(2, 5, 0, (1, 3)), conv(1, 3, 0)], sequence(67)
    for found, wanted in zip(in_pieces(modules, x, [3, 4, 30]), whole(modules, x), strict=True):
        assert_close(found, wanted, **F64)


def test_what_is_kept_does_not_grow() -> None:
    walk, kept = Piecewise(row()), []
    for _ in range(6):
        walk(sequence(400), last=False)
        kept.append([work.kept.untyped_storage().nbytes() for work in walk._works])
    assert kept[1:] == kept[:1] * 5


def test_modules_on_patches_are_refused() -> None:
    with pytest.raises(TypeError, match="Identity; expected a SequenceModule"):
        Piecewise([Identity(in_channels=3)])
