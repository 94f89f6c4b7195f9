"""Stored pixels as the input of a first stage: scaled, normalised, gray where that is asked for.

Shapes: y x pixels. Imports `errors` only.
"""

from collections.abc import Sequence

import torch

from gimstage.errors import DataError

Channels = str | int  # "gray", "rgb", or how many


def edges(side: int, size_px: int) -> list[int]:
    """Where squares begin that cover a side, the last one moved back to end where the side does.

    Args:
        side: its pixels, at least `size_px`.
        size_px: those of a square.
    """
    last = side - size_px
    found = list(range(0, last + 1, size_px))
    return found if found[-1] == last else [*found, last]


def normalise(
    pixels: torch.Tensor,
    *,
    channels: Channels,
    mean: Sequence[float],
    std: Sequence[float],
    scale: float = 255.0,
) -> torch.Tensor:
    """The input of stage 1: (…, C, y, x) float32, scaled to 0 … 1, minus mean, over std.

    Args:
        pixels: (…, C, y, x) of any dtype, on any device.
        channels: "gray" makes one channel of three, weighed by ITU-R BT.601; whatever else it is,
            the stored channels stay.
        mean: the mean of each resulting channel, on the scale 0 to 1.
        std: standard deviation of each resulting channel, on the same scale.
        scale: what stored pixels are divided by to lie in 0 … 1.

    Raises:
        DataError: there is not one mean and one std per channel.
    """
    values = _gray(pixels) if channels == "gray" and pixels.shape[-3] == 3 else pixels
    if not len(mean) == len(std) == values.shape[-3]:
        raise DataError(
            f"channels '{channels}'",
            f"{len(mean)} values of mean and {len(std)} of std",
            f"{values.shape[-3]} of each",
            "give one per channel",
        )
    shift = torch.tensor(mean, dtype=torch.float32, device=pixels.device).view(-1, 1, 1)
    spread = torch.tensor(std, dtype=torch.float32, device=pixels.device).view(-1, 1, 1)
    return values.to(torch.float32).div_(scale).sub_(shift).div_(spread)


def _gray(pixels: torch.Tensor) -> torch.Tensor:
    """The gray of red, green and blue; that of bytes is rounded to a byte as Pillow rounds it."""
    if pixels.dtype != torch.uint8:
        red, green, blue = pixels.to(torch.float32).unbind(-3)
        return (0.299 * red + 0.587 * green + 0.114 * blue).unsqueeze(-3)
    # Pillow's integers: .299 .587 .114 times 65,536, a half added before the shift.
    red, green, blue = pixels.to(torch.int32).unbind(-3)
    return ((19595 * red + 38470 * green + 7471 * blue + 32768) >> 16).unsqueeze(-3)
