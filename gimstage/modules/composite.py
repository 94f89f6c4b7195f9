"""Several modules in a row, as one module.

    x ─► part 1 ─► part 2 ─► … ─► part n ─► features

How they are trained is not decided here: gradient runs through all of them where it is let, from
one loss at the end (CPC, supervised learning), or each part is trained on a loss of its own.

This file imports nothing of gimstage but modules: the base, sequences and maps.
"""

import math
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from gimstage.modules.base import EncoderModule, Outputs, Reads, Shape, multiply_adds
from gimstage.modules.maps import MapModule, MapReach
from gimstage.modules.sequence import Reach, SequenceModule

_WHOLE = "several modules in a row encode whole sequences and maps only"


def joined(modules: Sequence[EncoderModule]) -> EncoderModule:
    """The modules as one; a single one as it is."""
    if len(modules) == 1:
        return modules[0]
    if all(module.reads == "sequence" for module in modules):
        return CompositeSequence(modules)
    if all(module.reads == "map" for module in modules):
        return CompositeMap(modules)
    return Composite(modules)


class Composite(EncoderModule):
    """Modules on patches in a row; codes and contexts are the last one's.

    Args:
        modules: at least one; each reads what the one before hands on.

    Raises:
        ValueError: their channels do not fit together, or one reads other units.
    """

    reads: ClassVar[Reads] = "patch"

    def __init__(self, modules: Sequence[EncoderModule]) -> None:
        super().__init__()
        for giver, reader in zip(modules, modules[1:], strict=False):
            if giver.out_channels != reader.in_channels:
                raise ValueError(
                    f"{giver.out_channels} channels handed on; expected {reader.in_channels}"
                )
        for module in modules:
            if module.reads != self.reads:
                raise ValueError(f'a module that reads a "{module.reads}"; expected "{self.reads}"')
        self.row = nn.ModuleList(modules)
        first, last = modules[0], modules[-1]
        self.in_channels, self.reads_through_relu = first.in_channels, first.reads_through_relu
        self.out_channels, self.code_channels = last.out_channels, last.code_channels
        self.rectified = last.rectified
        self.uses_batch_statistics = any(module.uses_batch_statistics for module in modules)
        self.uses_dropout = any(module.uses_dropout for module in modules)
        self.checkpoints = sum(module.checkpoints for module in modules)

    @property
    def parts(self) -> tuple[EncoderModule, ...]:
        """The modules, first to last."""
        return tuple(self.row)  # type: ignore[arg-type]  # a ModuleList forgets its type

    @property
    def checkpointing(self) -> bool:
        """Whether blocks are computed again in backward, in every part alike."""
        return any(part.checkpointing for part in self.parts)

    @checkpointing.setter
    def checkpointing(self, value: bool) -> None:
        for part in self.parts:
            part.checkpointing = value

    def forward(self, x: Tensor) -> Tensor:
        """The last part's features."""
        for part in self.parts:
            x = part(x)
        return x

    def pool(self, features: Tensor) -> Tensor:
        """The last part's codes of its features."""
        return self.parts[-1].pool(features)

    def outputs(self, x: Tensor) -> Outputs:
        """The last part's features, codes and contexts."""
        for part in self.parts[:-1]:
            x = part(x)
        return self.parts[-1].outputs(x)

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of one unit's features after the last part."""
        for part in self.parts:
            shape = part.output_shape(shape)
        return shape

    @property
    def context_channels(self) -> int:
        """Channels of the last part's contexts."""
        return self.parts[-1].context_channels

    def code_shape(self, shape: Shape) -> Shape:
        """The shape of the last part's codes of one unit."""
        for part in self.parts[:-1]:
            shape = part.output_shape(shape)
        return self.parts[-1].code_shape(shape)

    def multiply_adds(self, shape: Shape) -> int:
        """Multiply-adds of all parts over one unit."""
        work = 0
        for part in self.parts:
            work += multiply_adds(part, shape)
            shape = part.output_shape(shape)
        return work


class CompositeSequence(Composite, SequenceModule):
    """Modules on sequences in a row, of which the last alone may be recurrent.

    Raises:
        ValueError: as `Composite`, or one before the last is recurrent.
    """

    reads = "sequence"

    def __init__(self, modules: Sequence[EncoderModule]) -> None:
        super().__init__(modules)
        if any(part.recurrent for part in self._row[:-1]):
            raise ValueError("a recurrent module before the last; expected it at the end")
        self.stride = math.prod(part.stride for part in self._row)
        self.recurrent = self._row[-1].recurrent

    @property
    def _row(self) -> tuple[SequenceModule, ...]:
        return self.parts  # type: ignore[return-value]  # `joined` looked

    def length(self, rows: int) -> int:
        """How many rows come out for a whole sequence of `rows`."""
        for part in self._row:
            rows = part.length(rows)
        return rows

    def reach(self, first: int, count: int) -> Reach:
        """Refused with a message, like `advance`."""
        raise NotImplementedError(_WHOLE)

    def advance(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Refused: what an inner part makes of zeros before a sequence is not zeros.

        Padding would have put zeros there, so a stretch at an edge would come out otherwise than
        the whole. Recipes store no features of such a module, and nothing asks for them.
        """
        raise NotImplementedError(_WHOLE)


class CompositeMap(Composite, MapModule):
    """Modules on maps in a row, which encode whole maps only."""

    reads = "map"

    def __init__(self, modules: Sequence[EncoderModule]) -> None:
        super().__init__(modules)
        self.stride = math.prod(part.stride for part in self._row)

    @property
    def _row(self) -> tuple[MapModule, ...]:
        return self.parts  # type: ignore[return-value]  # `joined` looked

    def side(self, positions: int) -> int:
        """How many positions a side come out for a whole map of `positions` a side."""
        for part in self._row:
            positions = part.side(positions)
        return positions

    def reach(self, size: int) -> MapReach:
        """Refused with a message, for the reason that `CompositeSequence.advance` gives."""
        raise NotImplementedError(_WHOLE)

    def unpadded(self, x: Tensor) -> Tensor:
        """Refused with a message, like `reach`."""
        raise NotImplementedError(_WHOLE)
