"""How feature values become stored values and back, and what each encoding loses.

`float16`, `float16_zstd` and `float32` cast; `round5` casts to float16 and keeps 5 of its 10
mantissa bits, which makes it compress; `uint8` is affine per channel: value = q · scale + offset.
Everything works on the device its tensors are on. Compression comes after, on bytes of the CPU.
Shape letters: C channels; `…` any axes.
"""

import math
from dataclasses import dataclass
from typing import Any, TypedDict

import numcodecs
import torch
from torch import Tensor

from gimstage.cache.format import Encoding, torch_dtype
from gimstage.errors import CacheError

# Blosc's own threads would fight the loader's; without them its output is also always the same.
numcodecs.blosc.use_threads = False

_DROPPED_BITS = 5  # of float16's 10 mantissa bits
_FLOAT32_LIMIT = torch.finfo(torch.float32).max
_LIMITS: dict[Encoding, float] = {
    "float16": 65504.0,
    "float16_zstd": 65504.0,
    "round5": 64512.0,  # the largest with 5 mantissa bits; rounding may carry past it to infinity
    "uint8": _FLOAT32_LIMIT,  # clipped, and the clipping reported
    "float32": _FLOAT32_LIMIT,
}


@dataclass(frozen=True)
class Affine:
    """The map of `uint8`, per channel.

    Args:
        scale: value of one step, (C,) float32, positive.
        offset: value of zero, (C,) float32.
        axis: the channel axis of the tensors it applies to, counted from the end (negative).
    """

    scale: Tensor
    offset: Tensor
    axis: int

    def along(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and offset on the device of `values`, shaped to broadcast along its channels."""
        shape = [-1] + [1] * (-self.axis - 1)
        scale, offset = self.scale.to(values.device), self.offset.to(values.device)
        return scale.view(shape), offset.view(shape)


class Fidelity(TypedDict):
    """What an encoding does to a sample of values.

    `snr_db` and `worst_channel_snr_db` are decibels, None where nothing is lost; `max_error` is in
    units of the values; `clipped` is the fraction of values outside the range of `uint8`.
    """

    snr_db: float | None
    worst_channel_snr_db: float | None
    max_error: float
    clipped: float


def calibrate(values: Tensor, *, channel_axis: int) -> Affine:
    """The affine map whose 256 steps span each channel's minimum to maximum.

    Args:
        values: a sample to calibrate on, (…, C, …) float.
        channel_axis: counted from the end (negative).
    """
    channels = values.movedim(channel_axis, 0).flatten(1).float()
    low, high = channels.aminmax(dim=1)
    scale = high / 255 - low / 255  # the difference itself might overflow
    # A constant channel has no range; any step tells its one value, at q = 0.
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return Affine(scale.cpu(), low.cpu(), channel_axis)


def encode(values: Tensor, encoding: Encoding, *, affine: Affine | None = None) -> Tensor:
    """Values as they are stored, of the encoding's dtype; see `check_values` for their range.

    Args:
        values: (…) float.
        encoding: how to store them.
        affine: the map of `uint8`; not looked at otherwise.
    """
    if encoding == "round5":
        return _round_float16(values.to(torch.float16))
    if encoding == "uint8":
        return _steps(values, _needed(affine)).round_().clamp_(0, 255).to(torch.uint8)
    return values.to(torch_dtype(encoding))


def encode_into(
    out: Tensor, values: Tensor, encoding: Encoding, *, affine: Affine | None = None
) -> None:
    """Write values as they are stored into a tensor of the encoding's dtype, laid out as it is.

    Args:
        out: (…) of the encoding's dtype, on any device.
        values: (…) float, in any memory layout.
        encoding: how to store them.
        affine: the map of `uint8`; not looked at otherwise.
    """
    # Plain casts are left to the copy, which casts and lays out in one pass.
    cast = encoding in ("float16", "float16_zstd", "float32") and out.device == values.device
    out.copy_(values if cast else encode(values, encoding, affine=affine))


def decode(raw: Tensor, encoding: Encoding, *, affine: Affine | None = None) -> Tensor:
    """Stored values as float32, on their device.

    Args:
        raw: (…) of the encoding's dtype.
        encoding: how they were stored.
        affine: the map of `uint8`; not looked at otherwise.
    """
    if encoding != "uint8":
        return raw.to(torch.float32)
    scale, offset = _needed(affine).along(raw)
    return raw.to(torch.float32).mul_(scale).add_(offset)


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
    limit = _LIMITS[encoding]
    # Each is NaN as soon as one value is; torch.aminmax, which finds both at once, is many times
    # slower on channels_last.
    if values.amax() <= limit and (rectified or values.amin() >= -limit):
        return
    lows, highs = values.flatten(1).aminmax(dim=1)
    row = int(((lows >= -limit) & (highs <= limit)).logical_not().nonzero()[0])
    raise CacheError(
        f"{where}, row {first_row + row}",
        f"values from {lows[row].item():g} to {highs[row].item():g}",
        f"finite values within ±{limit:g} for the encoding {encoding}",
        "store it as float32, or look for what makes the features grow",
    )


def fidelity(
    values: Tensor, encoding: Encoding, *, channel_axis: int, affine: Affine | None = None
) -> Fidelity:
    """What storing these values loses, measured on them.

    Args:
        values: (…, C, …) float, a sample of what is to be stored.
        encoding: how they would be stored.
        channel_axis: counted from the end (negative).
        affine: the map of `uint8`; not looked at otherwise.
    """
    restored = decode(encode(values, encoding, affine=affine), encoding, affine=affine)
    exact = values.cpu().double()  # float64 exists on every CPU, not on every device
    error = restored.cpu().double() - exact
    signal, noise = (x.square().movedim(channel_axis, 0).flatten(1).sum(1) for x in (exact, error))
    ratios = [_decibels(s, n) for s, n in zip(signal.tolist(), noise.tolist(), strict=True)]
    clipped = 0.0
    if encoding == "uint8":
        steps = _steps(values, _needed(affine)).round_()
        clipped = ((steps < 0) | (steps > 255)).double().mean().item()
    return {
        "snr_db": _decibels(signal.sum().item(), noise.sum().item()),
        "worst_channel_snr_db": min((r for r in ratios if r is not None), default=None),
        "max_error": error.abs().max().item(),
        "clipped": clipped,
    }


def compressor(encoding: Encoding) -> Any | None:
    """The numcodecs codec behind an encoding, None where chunks are stored as they are."""
    if encoding == "float16_zstd":
        return numcodecs.Zstd(level=1)
    if encoding == "round5":
        return numcodecs.Blosc(cname="lz4", clevel=5, shuffle=numcodecs.Blosc.BITSHUFFLE)
    return None


def _round_float16(values: Tensor) -> Tensor:
    """float16 rounded to 5 mantissa bits, to nearest, ties to even, in its integer view.

    Sign and magnitude are apart in a float, so adding to the integer rounds the magnitude; a carry
    out of the mantissa raises the exponent, as it should.
    """
    bits = values.view(torch.int16)
    odd = (bits >> _DROPPED_BITS) & 1
    half = (1 << (_DROPPED_BITS - 1)) - 1
    rounded: Tensor = (bits + odd + half) & -(1 << _DROPPED_BITS)
    return rounded.view(torch.float16)


def _steps(values: Tensor, affine: Affine) -> Tensor:
    """Where values lie on the scale 0 … 255 of their channel, not yet rounded; a new tensor."""
    scale, offset = affine.along(values)
    return (values.to(torch.float32) - offset).div_(scale)


def _needed(affine: Affine | None) -> Affine:
    if affine is None:
        raise CacheError("encoding uint8", "no scale and offset", "those of `calibrate`")
    return affine


def _decibels(signal: float, noise: float) -> float | None:
    # A silent channel that comes back noisy: very bad, but not -inf, which JSON cannot say.
    return 10 * math.log10(max(signal, 1e-300) / noise) if noise > 0 else None
