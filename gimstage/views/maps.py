"""Views of whole maps: squares cut from images, and from what convolutions made of them.

    image (side px) ── module of stride s ── map (side / s positions) ── …

A convolution sees every position alike, so a square of a stored map is, but for the edge that
padding reaches, what encoding that square of the image gives, whatever its size: later stages cut
larger windows from the maps of earlier ones. A *view* is the image as it lies, or its mirror image.

Shape letters: N samples, V views, B batch, n positions per side of a square, C channels. This file
imports nothing of gimstage but the integers of grids.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from gimstage.views.grids import Ints


@dataclass(frozen=True)
class Squares:
    """Square cuts of maps: B entries each; what lies outside a map is zeros.

    Args:
        sample: index into the split, (B,) int64.
        view: 0 for the image as it lies, 1 for its mirror image, (B,) int64.
        y: top row, (B,) int64, negative where it lies above the map.
        x: left column, (B,) int64, in the same form; counted in the mirror image where it is one.
        size: positions a side, n.
    """

    sample: Ints
    view: Ints
    y: Ints
    x: Ints
    size: int

    def __len__(self) -> int:
        return len(self.sample)

    def entries(self, first: int, last: int) -> Self:
        """The entries from `first` to before `last`."""
        cut = slice(first, last)
        return type(self)(self.sample[cut], self.view[cut], self.y[cut], self.x[cut], self.size)

    @property
    def starts(self) -> Ints:
        """First index along (sample, view, y, x), (B, 4) int64."""
        return np.stack([self.sample, self.view, self.y, self.x], axis=1)

    def overhang(self, side: int) -> bool:
        """Whether one of them reaches beyond its map, of `side` positions a side."""
        corners = np.stack([self.y, self.x])
        return bool(((corners < 0) | (corners + self.size > side)).any())

    def zero_outside(self, maps: Tensor, side: int) -> Tensor:
        """Cuts (B, n, n, C), what of them lies outside maps of `side` positions made zeros."""
        if not self.overhang(side):
            return maps
        rows, columns = (
            torch.from_numpy(first)[:, None] + torch.arange(self.size) for first in (self.y, self.x)
        )
        rows, columns = ((at < 0) | (at >= side) for at in (rows, columns))
        outside = rows[:, :, None] | columns[:, None]
        return maps.masked_fill(outside[..., None].to(maps.device), 0)


@dataclass(frozen=True, kw_only=True)
class MapViews:
    """Squares of one size, drawn from maps of one size.

    Args:
        side: positions per side of a map.
        size: positions per side of a square, at most `side`.
        flip: whether half of them are cut from the mirror image.
    """

    side: int
    size: int
    flip: bool

    def draw(self, rng: torch.Generator, samples: Ints) -> Squares:
        """One random square per entry of `samples`, uniform over all that fit its map."""
        count = len(samples)
        y, x = torch.randint(self.side - self.size + 1, (2, count), generator=rng).numpy()
        coin = torch.randint(2, (count,), generator=rng).numpy()
        return Squares(samples, coin * int(self.flip), y, x, self.size)

    def centre(self, samples: Ints) -> Squares:
        """The square in the middle of every sample, not mirrored."""
        zero = np.zeros(len(samples), np.int64)
        corner = zero + (self.side - self.size) // 2
        return Squares(samples, zero, corner, corner, self.size)


@dataclass(frozen=True, kw_only=True)
class StoredMaps:
    """What features.zarr holds of a split: the whole map of every view of every sample.

    Args:
        num_samples: samples of the split, N.
        views: 1, or 2 where mirror images are stored too, V.
    """

    num_samples: int
    views: int
