"""A sequence of any length through modules, a piece at a time.

    piece ─► module 1 ─► rows ─► module 2 ─► rows ─► …
             │ keeps the rows that later output still reads, and a recurrent module its state

The rows that come out, piece after piece, are those of the whole sequence: to the bit where the
kernels of a piece are those of the whole, and to rounding elsewhere. What is kept does not grow.

Shape letters: B batch, T rows in time, C channels; a prime marks what comes out.
This file imports nothing of gimstage but modules: the base, and sequences.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from gimstage.modules.base import EncoderModule
from gimstage.modules.sequence import SequenceModule


class Piecewise:
    """Frozen modules in a row at work on sequences that come in pieces.

    Args:
        modules: the modules, the lowest first; each a single one, not several joined.

    Raises:
        TypeError: one is not on sequences.
    """

    def __init__(self, modules: Iterable[EncoderModule]) -> None:
        self._works = [_Work(module) for module in modules]

    @torch.no_grad()
    def __call__(self, x: Tensor, *, last: bool) -> list[Tensor]:
        """The rows (B, T', C') of every module that are known by now and were not before.

        Args:
            x: the next rows (B, T, C) of what the lowest module reads.
            last: whether the sequence ends with them; then all rows that remain come out.
        """
        made = []
        for work in self._works:
            x = work(x, last)
            made.append(x)
        return made


class _Work:
    """One module at work: what it has read and still needs, its state, and how far it is."""

    def __init__(self, module: EncoderModule) -> None:
        if not isinstance(module, SequenceModule):
            raise TypeError(f"{type(module).__name__}; expected a SequenceModule")
        self.module = module
        self.state: Tensor | None = None
        # Rows of input from row `first` on, which is negative where padding begins a sequence.
        self.kept: Tensor | None = None
        self.first = module.reach(0, 1).first
        self.read = self.made = 0

    def __call__(self, x: Tensor, last: bool) -> Tensor:
        """The module's next rows, none where what they depend on has not come yet."""
        if self.kept is None:
            self.kept = x.new_zeros(len(x), -self.first, x.shape[-1])
        self.read += x.shape[1]
        kept, count = torch.cat([self.kept, x], 1), self._count(last)
        if count <= 0:
            self.kept = kept
            return x.new_empty(len(x), 0, self.module.out_channels)
        begin, rows = self.module.reach(self.made, count)
        stretch = kept[:, begin - self.first :][:, :rows]
        stretch = F.pad(stretch, (0, 0, 0, rows - stretch.shape[1]))  # behind the last row
        y, self.state = self.module.advance(stretch, self.state)
        self.made += count
        # A stride larger than the kernel passes over rows that are still to come.
        first = min(self.module.reach(self.made, 1).first, self.read)
        self.kept, self.first = kept[:, first - self.first :].clone(), first
        return y

    def _count(self, last: bool) -> int:
        """How many more rows can be made of what has been read."""
        if last:
            return self.module.length(self.read) - self.made
        begin, rows = self.module.reach(self.made, 1)
        return (self.read - begin - rows) // self.module.stride + 1
