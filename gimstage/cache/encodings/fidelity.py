"""Which values an encoding can hold, and what it loses of them.

Shape letters: C channels; `…` any axes.
"""

import math
from typing import TypedDict

from torch import Tensor

from gimstage.cache.encodings.base import Affine, Encoding
from gimstage.errors import CacheError


class Fidelity(TypedDict):
    """What an encoding does to a sample of values.

    `snr_db` and `worst_channel_snr_db` are decibels, None where nothing is lost; `max_error` is in
    units of the values; `clipped` is the fraction of values outside the ranges of their channels.
    """

    snr_db: float | None
    worst_channel_snr_db: float | None
    max_error: float
    clipped: float


def check_values(
    values: Tensor, encoding: Encoding, *, where: str, first_row: int, rectified: bool
) -> None:
    """Refuse values that are not finite or that the encoding cannot hold.

    Args:
        values: (n, …) float, n rows of an array.
        encoding: how they will be stored.
        where: the module they come from, for the message.
        first_row: which row of the array the first one is.
        rectified: whether no value is negative, so that only the largest is looked for.

    Raises:
        CacheError: names `where`, the first row concerned and its extreme values.
    """
    limit = encoding.limit
    # Each is NaN as soon as one value is; torch.aminmax, which finds both at once, is many times
    # slower on channels_last.
    if values.amax() <= limit and (rectified or values.amin() >= -limit):
        return
    lows, highs = values.flatten(1).aminmax(dim=1)
    row = int(((lows >= -limit) & (highs <= limit)).logical_not().nonzero()[0])
    raise CacheError(
        f"{where}, row {first_row + row}",
        f"values from {lows[row].item():g} to {highs[row].item():g}",
        expected=f"finite values within ±{limit:g} for the encoding {encoding.name}",
        cure="store it as float32, or look for what makes the features grow",
    )


def fidelity(
    values: Tensor, encoding: Encoding, *, channel_axis: int, affine: Affine | None = None
) -> Fidelity:
    """What storing these values loses, measured on them.

    Args:
        values: (…, C, …) float, a sample of what is to be stored.
        encoding: how they would be stored.
        channel_axis: counted from the end (negative).
        affine: the ranges, for an encoding that needs them.
    """
    restored = encoding.decode(encoding.encode(values, affine), affine)
    exact = values.cpu().double()  # float64 exists on every CPU, not on every device
    error = restored.cpu().double() - exact
    signal, noise = (x.square().movedim(channel_axis, 0).flatten(1).sum(1) for x in (exact, error))
    ratios = [_decibels(s, n) for s, n in zip(signal.tolist(), noise.tolist(), strict=True)]
    return {
        "snr_db": _decibels(signal.sum().item(), noise.sum().item()),
        "worst_channel_snr_db": min((r for r in ratios if r is not None), default=None),
        "max_error": error.abs().max().item(),
        "clipped": _clipped(values, encoding, affine),
    }


def _clipped(values: Tensor, encoding: Encoding, affine: Affine | None) -> float:
    """The fraction of values outside the ranges of their channels; 0 where there are none."""
    if encoding.steps is None:
        return 0.0
    steps = encoding.needed(affine).steps_of(values)
    return ((steps < 0) | (steps > encoding.steps)).double().mean().item()


def _decibels(signal: float, noise: float) -> float | None:
    # A silent channel that comes back noisy: very bad, but not -inf, which JSON cannot say.
    return 10 * math.log10(max(signal, 1e-300) / noise) if noise > 0 else None
