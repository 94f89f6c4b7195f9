"""Modules of the audio encoder: strided convolutions and a GRU over time-major sequences.

A sequence is (…, T, C): T rows in time, C channels. The encoder of Greedy InfoMax on speech is five
convolutions from 16 kHz to one row per 10 ms, each a module, then a GRU (Löwe et al. 2019, 4.2).

Row t of a convolution's output depends on few rows of its input: `reach` names them and `advance`
computes from them alone. So any stretch of a long recording can be encoded by itself, exactly: rows
outside the recording count as the zeros that padding would have put there. A GRU has no such
reach, but a state, which `advance` hands from one stretch to the next.

Shape letters: B batch, T rows in time, C channels; a prime marks what comes out.
This file imports nothing of gimstage but the base of modules.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from gimstage.modules.base import (
    EncoderModule,
    Outputs,
    Shape,
    context_module,
)
from gimstage.sizes.bounds import Kernel, Padding, Positive


class Reach(NamedTuple):
    """`rows` rows of an input, from row `first`; they may lie outside it."""

    first: int
    rows: int


class SequenceModule(EncoderModule, ABC):
    """A module on sequences (…, T, C); its features are its codes, one per row.

    Attributes:
        stride: input rows per output row.
    """

    reads = "sequence"
    stride: int

    @abstractmethod
    def length(self, rows: int) -> int:
        """How many rows come out for a whole sequence of `rows`."""

    @abstractmethod
    def reach(self, first: int, count: int) -> Reach:
        """The input rows that decide the output rows from `first` to `first + count`.

        For a recurrent module: beyond its state at the first of them.
        """

    @abstractmethod
    def advance(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The output rows whose reach is exactly x (B, T, C), and the state after them.

        Args:
            x: (B, T, C), nothing is padded.
            state: what came back for the rows before; None at the beginning of a sequence.
        """

    def continued(self, x: Tensor, state: Tensor | None) -> Outputs:
        """What `outputs` gives of x (B, T, C), after rows that left a state (1, B, C').

        Without a state it is `outputs`, and so it is of a module that has none.
        """
        return self.outputs(x)

    def unpadded(self, x: Tensor) -> Tensor:
        """The output rows whose reach is exactly x (B, T, C), from the beginning of a sequence."""
        return self.advance(x, None)[0]

    def pool(self, features: Tensor) -> Tensor:
        """The features (…, T, C) themselves."""
        return features

    def code_shape(self, shape: Shape) -> Shape:
        """The shape (T', C of codes) of the codes of a sequence (T, C)."""
        return self.length(shape[0]), self.code_channels

    def output_shape(self, shape: Shape) -> Shape:
        """The shape (T', C') of the features of a sequence (T, C)."""
        return self.length(shape[0]), self.out_channels


class Conv1dModule(SequenceModule, kind="conv1d"):
    """A strided convolution over time, then ReLU.

    Args:
        in_channels: channels read.
        channels: channels that come out.
        kernel: rows that one output row sees.
        stride: input rows per output row.
        padding: rows of zeros at each end of a whole sequence.
    """

    algorithm = 1
    rectified = True

    def __init__(
        self,
        *,
        in_channels: int,
        channels: Positive,
        kernel: Kernel,
        stride: Kernel,
        padding: Padding,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = self.code_channels = channels
        self.kernel, self.stride, self.padding = kernel, stride, padding
        self.conv = nn.Conv1d(in_channels, channels, kernel, stride, padding)

    def length(self, rows: int) -> int:
        """How many rows come out for a whole sequence of `rows`."""
        return (rows + 2 * self.padding - self.kernel) // self.stride + 1

    def reach(self, first: int, count: int) -> Reach:
        """The input rows under the kernel, those in the padding included."""
        return Reach(first * self.stride - self.padding, (count - 1) * self.stride + self.kernel)

    def forward(self, x: Tensor) -> Tensor:
        """The features (…, T', C') of whole sequences (…, T, C), zeros around them."""
        return self._convolved(x, self.padding)

    def advance(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, None]:
        """The output rows whose reach is exactly x; there is no state."""
        return self._convolved(x, 0), None

    def _convolved(self, x: Tensor, padding: int) -> Tensor:
        if self.in_channels == 1:
            # As a matrix product the rows of a waveform come out time-major, so neither the loss
            # nor the hand-off copies this largest of all maps. Unfolding wider inputs would cost.
            windows = F.pad(x[..., 0], (padding, padding)).unfold(-1, self.kernel, self.stride)
            return F.linear(windows, self.conv.weight[:, 0], self.conv.bias).relu_()
        rows = x.flatten(0, -3).transpose(1, 2).contiguous()
        y = F.conv1d(rows, self.conv.weight, self.conv.bias, self.stride, padding)
        features: Tensor = y.relu_().transpose(1, 2).unflatten(0, x.shape[:-2])
        return features

    def multiply_adds(self, shape: Shape) -> int:
        """Multiply-adds of a whole sequence (T, C), biases left out."""
        return self.length(shape[0]) * self.conv.weight.numel()


@context_module("gru")
class GRUModule(SequenceModule, kind="gru"):
    """A single GRU over the codes of the module before: contexts for predicting those codes.

    Args:
        in_channels: channels of the codes.
        channels: channels of its hidden state, the contexts.
        bptt: whether gradient flows back through time. Without it the state is detached before
            every step: the values are the same, each step's gradient ends at that step (the
            paper's ablation of table 4).
    """

    algorithm = 1
    stride = 1
    recurrent = True

    def __init__(self, *, in_channels: int, channels: Positive, bptt: bool) -> None:
        super().__init__()
        # The codes it predicts are those it reads.
        self.in_channels = self.code_channels = in_channels
        self.out_channels, self.bptt = channels, bptt
        self.gru = nn.GRU(in_channels, channels, batch_first=True)

    def outputs(self, x: Tensor) -> Outputs:
        """Its input as codes, its output as features and contexts."""
        return self.continued(x, None)

    def continued(self, x: Tensor, state: Tensor | None) -> Outputs:
        """The same after rows that left a state."""
        contexts = self._contexts(x, state)
        return Outputs(contexts, x, contexts)

    def length(self, rows: int) -> int:
        """The number of rows that come in; as many go out."""
        return rows

    def reach(self, first: int, count: int) -> Reach:
        """The rows asked for; what came before them is in the state."""
        return Reach(first, count)

    def forward(self, x: Tensor) -> Tensor:
        """The contexts (…, T, C') of whole sequences of codes (…, T, C)."""
        return self._contexts(x, None)

    def _contexts(self, x: Tensor, state: Tensor | None) -> Tensor:
        flat = x.flatten(0, -3)
        detached = not self.bptt and self.training
        contexts = self._detached(flat, state) if detached else self.gru(flat, state)[0]
        shaped: Tensor = contexts.unflatten(0, x.shape[:-2])
        return shaped

    def advance(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The contexts of the next rows x (B, T, C), and the state (1, B, C') after them."""
        contexts, state = self.gru(x, state)
        return contexts, state

    def _detached(self, x: Tensor, state: Tensor | None) -> Tensor:
        """The same contexts, (B, T, C'), each a function of its own step alone."""
        # Once over the sequence for the values, without gradient; then every step by itself from
        # the state before it, all steps at once: no loop over time is needed.
        with torch.no_grad():
            before = F.pad(self.gru(x, state)[0][:, :-1], (0, 0, 1, 0))
            if state is not None:
                before[:, 0] = state[0]
            before = before.flatten(0, 1)
        steps = x.flatten(0, 1)[:, None]
        contexts: Tensor = self.gru(steps, before[None])[0][:, 0].unflatten(0, x.shape[:2])
        return contexts

    def multiply_adds(self, shape: Shape) -> int:
        """Multiply-adds of a whole sequence (T, C), biases left out."""
        return shape[0] * 3 * self.out_channels * (self.in_channels + self.out_channels)


class ConvGRUModule(SequenceModule, kind="conv1d_gru"):
    """A convolution and a GRU on top, trained together from one loss.

    The codes predicted are the convolution's, the contexts the GRU's, and gradient flows into both
    (the original's model of five modules). What is handed on are the contexts.

    Args:
        in_channels: channels read.
        channels: channels of the convolution.
        kernel: rows that one output row sees.
        stride: input rows per output row.
        padding: rows of zeros at each end of a whole sequence.
        hidden_channels: channels of the GRU.
        bptt: whether gradient flows back through time.
    """

    algorithm = 1
    recurrent = True

    def __init__(
        self,
        *,
        in_channels: int,
        channels: Positive,
        kernel: Kernel,
        stride: Kernel,
        padding: Padding,
        hidden_channels: Positive,
        bptt: bool,
    ) -> None:
        super().__init__()
        self.conv = Conv1dModule(
            in_channels=in_channels,
            channels=channels,
            kernel=kernel,
            stride=stride,
            padding=padding,
        )
        self.gru = GRUModule(in_channels=channels, channels=hidden_channels, bptt=bptt)
        self.in_channels, self.code_channels = in_channels, channels
        self.out_channels, self.stride = hidden_channels, stride

    def outputs(self, x: Tensor) -> Outputs:
        """The convolution's output as codes, the GRU's as features and contexts."""
        return self.continued(x, None)

    def continued(self, x: Tensor, state: Tensor | None) -> Outputs:
        """The same after rows that left a state."""
        return self.gru.continued(self.conv(x), state)

    def length(self, rows: int) -> int:
        """How many rows come out for a whole sequence of `rows`."""
        return self.conv.length(rows)

    def reach(self, first: int, count: int) -> Reach:
        """The input rows under the kernel, those in the padding included."""
        return self.conv.reach(first, count)

    def forward(self, x: Tensor) -> Tensor:
        """The contexts (…, T', C') of whole sequences (…, T, C)."""
        return self.gru(self.conv(x))

    def advance(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The contexts of the next rows, and the state after them."""
        return self.gru.advance(self.conv.advance(x, None)[0], state)

    def multiply_adds(self, shape: Shape) -> int:
        """Multiply-adds of a whole sequence (T, C), biases left out."""
        inner = self.conv.output_shape(shape)
        return self.conv.multiply_adds(shape) + self.gru.multiply_adds(inner)
