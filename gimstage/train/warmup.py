"""The state that a recurrent module begins a crop with: that of the rows before it.

    rows before the crop ─► piece ─► piece ─► … ─► state, no gradient ─► the crop, with gradient

So a GRU learns from crops in the middle of an hour as it will read them, in the memory of a crop.
Pieces are read one after another, and nothing of them is kept but the state.

Shape letters: B batch, T rows in time, C channels; a prime marks what comes out.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from gimstage.inputs import Places, SequenceSource, Source, prefetched, to_device
from gimstage.inputs.rows import reach
from gimstage.modules import EncoderModule, SequenceModule
from gimstage.views import Ints, Spans

PIECE_ROWS = 4096  # 8 MB of a sample with 512 channels
READ_AHEAD = 1


class WarmUp:
    """The states of a batch, which are made once and serve both passes over it.

    Args:
        module: the recurrent module, as it is at this step.
        source: what it reads.
        places: the crops of the batch, in rows of that.
        rows: how many rows of the module's output, at most, are run through before each.
        device: where to compute.
    """

    def __init__(
        self,
        module: SequenceModule,
        source: SequenceSource,
        *,
        places: Spans,
        rows: int,
        device: torch.device,
    ) -> None:
        self.module, self.source, self.places = module, source, places
        self.rows, self.device = rows, device
        self._made: dict[tuple[int, int], Tensor | None] = {}

    def __call__(self, first: int, last: int) -> Tensor | None:
        """The state (1, n, C') before each of the crops from `first` to before `last`."""
        if (first, last) not in self._made:
            self._made[first, last] = self._state(self.places.entries(first, last))
        return self._made[first, last]

    @torch.no_grad()
    def _state(self, places: Spans) -> Tensor | None:
        """The states of crops, None where all of them begin their entries."""
        begins = places.first // self.module.stride
        before = np.minimum(begins, self.rows)
        order = np.argsort(-before, kind="stable")  # who has most before it begins first
        tiles = [
            type(places)(places.entry[order[:n]], begins[order[:n]] + at, count)
            for at, count, n in pieces(before[order])
        ]
        state: Tensor | None = None
        for x in self._read(tiles):
            if state is not None and len(x) > state.shape[1]:  # others begin at their beginning
                fresh = state.new_zeros(1, len(x) - state.shape[1], state.shape[2])
                state = torch.cat([state, fresh], 1)
            state = self.module.advance(x, state)[1]
            del x  # before the next one is made
        if state is None:
            return None
        whole = state.new_zeros(1, len(places), state.shape[2])
        whole[:, torch.from_numpy(order[: state.shape[1]]).to(state.device)] = state
        return whole

    def _read(self, tiles: list[Spans]) -> Iterator[Tensor]:
        """The module's input for some stretches of its output, one after another."""
        reaches = [reach(self.module, tile) for tile in tiles]
        if not reaches:
            return
        size = max(each.count for each in reaches)
        buffers = [self.source.buffer(len(reaches[-1]), size) for _ in range(READ_AHEAD + 1)]
        for raw, places in prefetched(self.source, reaches, buffers=buffers, workers=1):
            yield self.source.prepare(to_device(raw, self.device), places)


def warm_up(
    module: EncoderModule, source: Source, places: Places, rows: int, device: torch.device
) -> WarmUp | None:
    """What a recurrent module begins a batch with; None where it begins with nothing.

    Args:
        module: the module, as it is at this step.
        source: what it reads.
        places: the crops of the batch.
        rows: as of `WarmUp`; 0 where no [views] say so.
        device: where to compute.
    """
    if not rows:
        return None
    assert isinstance(module, SequenceModule)
    assert isinstance(source, SequenceSource)
    assert isinstance(places, Spans)
    return WarmUp(module, source, places=places, rows=rows, device=device)


def pieces(before: Ints) -> Iterator[tuple[int, int, int]]:
    """The stretches that samples are run through, each with those that have begun by then.

    Args:
        before: the rows before each sample's crop, falling, (n,) int64.

    Yields:
        The first row of a stretch, counted from the crop and so negative; its rows; and how many
        of the samples, from the first, it is run through with.
    """
    longest = int(before[0])
    cuts = {-int(rows) for rows in before} | set(range(-longest, 0, PIECE_ROWS)) | {0}
    ordered = sorted(cuts)
    for at, end in zip(ordered, ordered[1:], strict=False):
        yield at, end - at, int((before >= -at).sum())
