"""Views: which part of a sample is looked at, cut alike from pixels and from cached features.

    image (image_px) ── crop (crop_px) ── patch grid (patch_px, every stride_px)
    stored view      ── a larger grid of `patches` × `patches`, from which a crop is a window

A patch is encoded alone, so encoding a stored view's grid once and cutting a window of
`crop_patches` × `crop_patches` codes from it equals encoding that crop of the image. The origin of
the grid and its flip are fixed per stored view; the window moves.

Shape letters: N samples, V stored views, B batch, G patches per side of a grid, P px per patch
side, C channels. This file imports nothing of gimstage but errors and draws.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gimstage.draws import generator
from gimstage.errors import RecipeError

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Crops:
    """Square cuts of images: B entries each; `flip` mirrors the cut horizontally after cutting.

    Args:
        sample: index into the split, (B,) int64.
        y: top row, (B,) int64, px.
        x: left column, (B,) int64, px.
        flip: (B,) bool.
        size_px: side length, px.
        cutout: the square of each cut that is to be zeros once it is flipped and normalised,
            (B, 4) int64, px: top row, left column, the row and the column after its last. It may
            reach over the borders. None where nothing is.
    """

    sample: Ints
    y: Ints
    x: Ints
    flip: NDArray[np.bool_]
    size_px: int
    cutout: Ints | None = None

    def __len__(self) -> int:
        return len(self.sample)

    def entries(self, first: int, last: int) -> "Crops":
        """The entries from `first` to before `last`."""
        cut = slice(first, last)
        cutout = None if self.cutout is None else self.cutout[cut]
        return Crops(
            self.sample[cut], self.y[cut], self.x[cut], self.flip[cut], self.size_px, cutout
        )


@dataclass(frozen=True)
class Windows:
    """Square cuts of stored grids: B entries each.

    Args:
        sample: index into the split, (B,) int64.
        view: stored view, (B,) int64.
        row: top patch row inside the grid, (B,) int64.
        column: left patch column inside the grid, (B,) int64.
        size: side length in patches.
    """

    sample: Ints
    view: Ints
    row: Ints
    column: Ints
    size: int

    def __len__(self) -> int:
        return len(self.sample)

    def entries(self, first: int, last: int) -> "Windows":
        """The entries from `first` to before `last`."""
        sample, view, row, column = self.starts[first:last].T
        return Windows(sample, view, row, column, self.size)

    @property
    def starts(self) -> Ints:
        """First index along (sample, view, row, column), (B, 4) int64."""
        return np.stack([self.sample, self.view, self.row, self.column], axis=1)


@dataclass(frozen=True, kw_only=True)
class LiveViews:
    """Fresh random crops of the images, as stage 1 sees them (Löwe et al. 2019, appendix).

    Args:
        image_px: side length of the square images, px.
        crop_px: side length of a crop, px.
        patch_px: side length of a patch, px.
        stride_px: distance between neighbouring patches, px.
        flip: whether half of the crops are mirrored.
        cutout_px: side length of the square of zeros in each crop, px; None for none.

    Raises:
        RecipeError: the crop does not fit the image, patches do not divide the crop, or the square
            does not fit it.
    """

    image_px: int
    crop_px: int
    patch_px: int
    stride_px: int
    flip: bool
    cutout_px: int | None = None

    def __post_init__(self) -> None:
        if self.crop_px > self.image_px:
            raise RecipeError(
                "data.toml [views] crop_px",
                f"{self.crop_px} px is larger than the image",
                f"at most {self.image_px}",
                "choose a smaller crop",
            )
        if self.cutout_px is not None and not 1 <= self.cutout_px <= self.crop_px:
            raise RecipeError(
                "data.toml [views] cutout_px",
                f"a square of {self.cutout_px} px cannot be cut out of a crop of {self.crop_px} px",
                f"1 to {self.crop_px}",
                "choose another size, or leave the key out to cut out nothing",
            )
        if self.patch_px > self.crop_px or (self.crop_px - self.patch_px) % self.stride_px:
            raise RecipeError(
                "data.toml [views] stride_px",
                f"patches of {self.patch_px} px every {self.stride_px} px do not divide "
                f"a crop of {self.crop_px} px",
                "crop_px - patch_px to be a multiple of stride_px",
                f"try crop_px = {self._nearest_crop()}",
            )

    def _nearest_crop(self) -> int:
        steps = max(0, self.crop_px - self.patch_px) // self.stride_px
        return self.patch_px + steps * self.stride_px

    @property
    def crop_patches(self) -> int:
        """Patches per side of a crop (7 in the paper)."""
        return (self.crop_px - self.patch_px) // self.stride_px + 1

    @property
    def size(self) -> int:
        """The same, as places count it."""
        return self.crop_patches

    def grid_px(self, patches: int) -> int:
        """Side length in px of a grid of `patches` × `patches`."""
        return (patches - 1) * self.stride_px + self.patch_px

    def draw(self, rng: torch.Generator, samples: Ints) -> Crops:
        """One random crop per entry of `samples`: offsets uniform, flip with probability ½.

        A square to cut out, if any, has its centre on a uniform pixel of the crop.
        """
        count = len(samples)
        offsets = torch.randint(self.image_px - self.crop_px + 1, (2, count), generator=rng).numpy()
        coin = torch.randint(2, (count,), generator=rng).numpy().astype(bool)
        flip, cutout = coin & self.flip, self._squares(rng, count)
        return Crops(samples, offsets[0], offsets[1], flip, self.crop_px, cutout)

    def _squares(self, rng: torch.Generator, count: int) -> Ints | None:
        """What to cut out of so many crops: drawn last, and so of no effect on the other draws."""
        if self.cutout_px is None:
            return None
        centres = torch.randint(self.crop_px, (count, 2), generator=rng).numpy()
        # The centre of an even size is the pixel after the middle.
        first = centres - self.cutout_px // 2
        return np.concatenate([first, first + self.cutout_px], axis=1)

    def uncut(self) -> "LiveViews":
        """The same views with nothing cut out: what is learnt is probed on whole crops."""
        return replace(self, cutout_px=None)

    def centre(self, samples: Ints) -> Crops:
        """The unflipped centre crop of every sample, as the probe's test split is seen."""
        offset = np.full(len(samples), (self.image_px - self.crop_px) // 2, dtype=np.int64)
        return Crops(samples, offset, offset, np.zeros(len(samples), bool), self.crop_px)


@dataclass(frozen=True, kw_only=True)
class StoredViews:
    """The views of each sample that features.zarr holds, and the windows cut from them.

    Args:
        live: image, crop and patch sizes.
        patches: side length G of the stored grid; `live.crop_patches` stores single fixed crops.
        count: stored views per sample, V.
        seed: the seed of the grid origins and flips.
        num_samples: samples of the split, N.

    Raises:
        RecipeError: the grid is smaller than a crop or larger than the image.
    """

    live: LiveViews
    patches: int
    count: int
    seed: int
    num_samples: int

    def __post_init__(self) -> None:
        smallest = self.live.crop_patches
        largest = (self.live.image_px - self.live.patch_px) // self.live.stride_px + 1
        if not smallest <= self.patches <= largest:
            raise RecipeError(
                "data.toml [stored_views] patches",
                f"a grid of {self.patches} × {self.patches} patches",
                f"{smallest} (one crop) to {largest} (the whole image)",
                "change patches, or the sizes in [views]",
            )

    @property
    def size(self) -> int:
        """Patches per side of a window."""
        return self.live.crop_patches

    @cached_property
    def origins(self) -> Ints:
        """Grid origin and flip of every stored view, (N, V, 3) int64: y px, x px, flip 0/1.

        Origins are uniform over all that fit the image; neighbouring views of a sample are
        mirrored against each other, so an even number of views holds both flips equally.
        """
        rng = generator(self.seed, "stored-views")
        room = self.live.image_px - self.live.grid_px(self.patches) + 1
        shape = (self.num_samples, self.count)
        offsets = torch.randint(room, (*shape, 2), generator=rng)
        first = torch.randint(2, (self.num_samples, 1), generator=rng)
        flips = (first + torch.arange(self.count)) % 2 * int(self.live.flip)
        return torch.cat([offsets, flips[..., None]], dim=-1).numpy()

    def draw(self, rng: torch.Generator, samples: Ints) -> Windows:
        """One random crop-sized window per entry of `samples`, out of a random stored view."""
        room = self.patches - self.live.crop_patches + 1
        view = torch.randint(self.count, (len(samples),), generator=rng).numpy()
        corner = torch.randint(room, (2, len(samples)), generator=rng).numpy()
        return Windows(samples, view, corner[0], corner[1], self.live.crop_patches)

    def centre(self, samples: Ints) -> Windows:
        """The window in the middle of every sample's first stored view."""
        zero = np.zeros(len(samples), np.int64)
        corner = zero + (self.patches - self.live.crop_patches) // 2
        return Windows(samples, zero, corner, corner, self.live.crop_patches)

    def whole(self, samples: Ints) -> Windows:
        """Every stored view of every sample, sample-major: B = len(samples) · V."""
        sample = np.repeat(samples, self.count)
        view = np.tile(np.arange(self.count, dtype=np.int64), len(samples))
        zero = np.zeros(len(sample), np.int64)
        return Windows(sample, view, zero, zero, self.patches)

    def crops(self, windows: Windows) -> Crops:
        """The pixels the windows were encoded from.

        Inside a flipped view, row and column count in the mirrored image: a window further right
        lies further left in the picture.
        """
        y, x, flip = np.moveaxis(self.origins[windows.sample, windows.view], -1, 0)
        size_px = self.live.grid_px(windows.size)
        shift = windows.column * self.live.stride_px
        mirrored = self.live.grid_px(self.patches) - size_px - shift
        left = x + np.where(flip == 1, mirrored, shift)
        top = y + windows.row * self.live.stride_px
        return Crops(windows.sample, top, left, flip.astype(bool), size_px)


def cut_out(images: Tensor, squares: Ints) -> Tensor:
    """Images (B, C, px, px) with zeros in the square (B, 4) of each, as `Crops.cutout` has it."""
    edges = torch.from_numpy(squares).to(images.device)
    top, left, bottom, right = edges.T[..., None]
    px = torch.arange(images.shape[-1], device=images.device)
    rows, columns = (top <= px) & (px < bottom), (left <= px) & (px < right)
    return images.masked_fill((rows[:, :, None] & columns[:, None])[:, None], 0)


def patch_grid(images: Tensor, patch_px: int, stride_px: int) -> Tensor:
    """The patches of each image, (B, grid_h, grid_w, C, P, P), of images (B, C, h, w).

    Rows run from top to bottom, columns from left to right.
    """
    tiles = images.unfold(2, patch_px, stride_px).unfold(3, patch_px, stride_px)
    return tiles.permute(0, 2, 3, 1, 4, 5)
