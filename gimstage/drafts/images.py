"""Recipes for images: from a side in pixels to crop, patch, stride, and how far is predicted."""

import itertools
import math
import operator
from dataclasses import dataclass

from gimstage.drafts.facts import ImageFacts
from gimstage.drafts.page import Page

MOST_GRID = 7  # patches a side of a crop, as in the paper
SPARE = 3  # further patches a side that are stored, among which crops are drawn


@dataclass(frozen=True)
class Sizes:
    """How square images of a side are cut.

    Args:
        patch_px: side of a patch.
        stride_px: from one patch to the next: half a patch.
        grid: patches a side of a crop.
        stored: patches a side of what is stored.
    """

    patch_px: int
    stride_px: int
    grid: int
    stored: int

    @property
    def crop_px(self) -> int:
        """Side of a crop, in pixels."""
        return self.patch_px + self.stride_px * (self.grid - 1)


def sizes_of(image_px: int) -> Sizes:
    """The paper's proportions at another size: 16 of 96 px are a patch, 7 × 7 of them a crop."""
    patch = min(max(8, round(image_px / 24) * 4), image_px)
    stride = max(1, patch // 2)
    fits = (image_px - patch) // stride + 1
    grid = min(MOST_GRID, max(fits - 1, 1))
    return Sizes(patch, stride, grid, min(fits, grid + SPARE))


def fit(data: Page, stages: dict[str, Page], facts: ImageFacts) -> None:
    """Cut the images as suits their size: into patches, or whole maps, as the base does."""
    if "patch_px" not in data.table["views"]:
        _fit_maps(data, stages, facts.size_px)
        return
    sizes, px = sizes_of(facts.size_px), facts.size_px
    if data.table["views"]["patch_px"] != sizes.patch_px:
        for page in stages.values():  # whose titles say how large maps are
            page.title = f"{page.title.partition(':')[0].rstrip('.')}."
    reason = f"{sizes.grid} × {sizes.grid} patches, out of {px} px"
    data.set("views.crop_px", sizes.crop_px, reason)
    data.set("views.patch_px", sizes.patch_px, "a sixth of an image, as in the paper; 8 at least")
    data.set("views.stride_px", sizes.stride_px, "half a patch: neighbours share the other half")
    covered = sizes.patch_px + sizes.stride_px * (sizes.stored - 1)
    reason = f"a side, {covered} of {px} px; crops are cut from these"
    data.set("stored_views.patches", sizes.stored, reason)
    for page in stages.values():
        _fit_objective(page, sizes.grid)


def _fit_objective(page: Page, grid: int) -> None:
    """Predict no farther than a crop of so many positions a side reaches."""
    loss = page.table.get("objective", {})
    most = max(1, grid - 1 - loss.get("prediction_gap", 0))
    if loss.get("prediction_steps", 0) > most:
        reason = f"rows ahead: as many as a crop of {grid} has"
        page.set("objective.prediction_steps", most, reason)


def _fit_maps(data: Page, stages: dict[str, Page], image_px: int) -> None:
    """Windows of whole maps no larger than an image, and a multiple of all strides together."""
    strides = [page.table.get("module", {}).get("stride", 1) for page in stages.values()]
    most = image_px // math.prod(strides) * math.prod(strides) or image_px
    for page in (data, *stages.values()):
        if page.table.get("views", {}).get("crop_px", 0) > most:
            page.set("views.crop_px", most, f"the most that an image of {image_px:,} px has")
    behind = itertools.accumulate(strides, operator.mul)
    for page, step in zip(stages.values(), behind, strict=True):
        crop = page.table.get("views", {}).get("crop_px") or data.table["views"]["crop_px"]
        _fit_objective(page, crop // step)
