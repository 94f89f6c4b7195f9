"""Recipes for sequences: from rows and lengths to the crop, and to convolutions that fit.

Imports facts and pages only.
"""

import copy
import math

import numpy as np

from gimstage.drafts.facts import SequenceFacts
from gimstage.drafts.page import Page

SHORT_SHARE = 0.1  # of the sequences, at most, that may be shorter than a crop

Pages = dict[str, Page]


def fit(data: Page, stages: Pages, facts: SequenceFacts) -> Pages:
    """Crops as long as the sequences allow; the stages, with convolutions that suit the rate."""
    frames, reason = crop_of(facts, data.table["views"]["crop_frames"])
    data.set("views.crop_frames", frames, reason)
    stages = fit_stages(stages, facts)
    for page in stages.values():
        if page.table.get("views", {}).get("crop_frames", 0) > frames:
            page.set("views.crop_frames", frames, "as long as the longest window")
    fit_objectives(stages, frames)
    return stages


def crop_of(facts: SequenceFacts, wanted: int) -> tuple[int, str]:
    """How many frames a crop has, and why.

    Args:
        facts: what the data holds.
        wanted: the frames of a crop where sequences are long enough.
    """
    enough = max(1, int(np.quantile(facts.frames, SHORT_SHARE, method="lower")))
    if enough >= wanted:
        return wanted, f"{_lasting(wanted, facts)}; more shows a module more at once"
    short = int((facts.frames < enough).sum())
    reason = f"{_lasting(enough, facts)}; {short:,} of {len(facts.frames):,} are shorter"
    return enough, reason


def _lasting(frames: int, facts: SequenceFacts) -> str:
    rows = frames * facts.frame_rows
    return f"{rows / facts.rate_hz:.4g} s" if facts.rate_hz else f"{rows:,} rows"


def strides_to(frame_rows: int) -> list[int] | None:
    """Strides of convolutions that make a frame one row, the longest first; None if none do."""
    odd, rest = [], frame_rows
    for prime in (7, 5, 3):
        while rest % prime == 0:
            odd.append(prime)
            rest //= prime
    twos = rest.bit_length() - 1
    if rest != 1 << twos:
        return None
    return odd + ([4, *[2] * (twos - 2)] if twos >= 3 else [2] * twos)


def fit_stages(base: Pages, facts: SequenceFacts) -> Pages:
    """The stages of a base with convolutions that make a row of every frame.

    Where those of the base do so already, or it is of other modules, it is left as it is.

    Args:
        base: the files of its stages, in order.
        facts: what the data holds.
    """
    convolutions = [name for name, page in base.items() if _kind(page) == "conv1d"]
    strides = strides_to(facts.frame_rows)
    own = [base[name].table["module"].get("stride", 1) for name in convolutions]
    if not convolutions or not strides or math.prod(own) == facts.frame_rows:
        return base
    pages = {
        f"{number}_conv{number}.toml": _convolution(base[convolutions[0]], strides, number, facts)
        for number in range(1, len(strides) + 1)
    }
    for name in [name for name in base if name not in convolutions]:
        page, number = copy.deepcopy(base[name]), len(pages) + 1
        page.table["input"] = number - 1
        pages[f"{number}_{name.partition('_')[2]}"] = page
    return pages


def _kind(page: Page) -> str:
    kind: str = page.table.get("module", {}).get("kind", "")
    return kind


def _convolution(like: Page, strides: list[int], number: int, facts: SequenceFacts) -> Page:
    """One of some convolutions: no row is lost at either end of a crop."""
    page, stride = copy.deepcopy(like), strides[number - 1]
    page.table["input"] = number - 1 or "data"
    kernel, behind = 2 * stride + stride % 2, math.prod(strides[:number])
    page.set("module.kernel", kernel, "rows that one output row sees: two strides")
    page.set("module.stride", stride, f"one row every {behind} of the data's")
    page.set("module.padding", (kernel - stride) // 2, "zeros on either side: no row is lost")
    channels = page.table["module"]["channels"]
    every = f"{1000 * behind / facts.rate_hz:.4g} ms" if facts.rate_hz else f"{behind} rows"
    page.title = f"One row of {channels} channels every {every}."
    return page


def fit_objectives(pages: Pages, crop_frames: int) -> None:
    """Predict no farther than half a crop."""
    for page in pages.values():
        loss = page.table.get("objective", {})
        most = max(1, crop_frames // 2)
        if loss.get("prediction_steps", 0) > most:
            page.set("objective.prediction_steps", most, "half a crop of frames ahead, at most")
