"""What an encoding is: the facts that layouts, readers, writers and recipes ask of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from gimstage.errors import CacheError


@dataclass(frozen=True)
class Affine:
    """The ranges of the channels: value = stored value · scale + offset.

    Args:
        scale: value of one step, (C,) float32, positive.
        offset: value of zero, (C,) float32.
        axis: the channel axis of the tensors it applies to, counted from the end (negative).
    """

    scale: Tensor
    offset: Tensor
    axis: int

    @classmethod
    def spanning(cls, values: Tensor, *, channel_axis: int, steps: int) -> Affine:
        """The map whose steps reach from each channel's minimum, at 0, to its maximum.

        Args:
            values: a sample of what is to be stored, (…, C, …) float.
            channel_axis: counted from the end (negative).
            steps: between the minimum and the maximum.
        """
        channels = values.movedim(channel_axis, 0).flatten(1).float()
        low, high = channels.aminmax(dim=1)
        scale = high / steps - low / steps  # the difference itself might overflow
        # A constant channel has no range; any step tells its one value, at q = 0.
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        return cls(scale.cpu(), low.cpu(), channel_axis)

    def along(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and offset on the device of `values`, shaped to broadcast along its channels."""
        shape = [-1] + [1] * (-self.axis - 1)
        scale, offset = self.scale.to(values.device), self.offset.to(values.device)
        return scale.view(shape), offset.view(shape)

    def steps_of(self, values: Tensor) -> Tensor:
        """Which step of its channel each value is nearest to, not clipped; a new float32 tensor."""
        scale, offset = self.along(values)
        return (values.to(torch.float32) - offset).div_(scale).round_()


@dataclass(frozen=True)
class Compression:
    """What the bytes of a chunk go through, lossless, on the CPU.

    Args:
        name: the codec's name, as Zarr's metadata has it.
        configuration: the codec's configuration, as Zarr's metadata has it.
        codec: makes the numcodecs codec that does it.
    """

    name: str
    configuration: Mapping[str, Any]
    codec: Callable[[], Any]

    @property
    def metadata(self) -> dict[str, Any]:
        """The codec as it stands in a zarr.json."""
        return {"name": self.name, "configuration": dict(self.configuration)}


@dataclass(frozen=True, eq=False, kw_only=True)
class Encoding(ABC):
    """A way to store feature values.

    Args:
        name: what recipes and the array's attributes call it.
        dtype: the dtype of stored values; one that numpy has too.
        limit: the largest magnitude of a finite value that it can hold.
        compression: the compression of the chunks; None stores them as they are.
        steps: between the least and the largest value of a channel, for an encoding whose stored
            integers 0 … steps are mapped to those ranges; they are measured before anything is
            stored, and lie beside the array. None for one that needs no ranges.
    """

    name: str
    dtype: torch.dtype
    limit: float
    compression: Compression | None = None
    steps: int | None = None

    casts: ClassVar[bool] = False  # whether encoding is a plain cast to the dtype

    def __init_subclass__(cls) -> None:
        """Take a class that encodes in a way of its own for more than a cast, unless it says so."""
        if "encode" in cls.__dict__ and "casts" not in cls.__dict__:
            cls.casts = False

    @abstractmethod
    def encode(self, values: Tensor, affine: Affine | None = None) -> Tensor:
        """Values as they are stored, of the encoding's dtype; see `check_values` for their range.

        Args:
            values: (…) float.
            affine: the ranges; not looked at by an encoding that needs none.
        """

    @abstractmethod
    def decode(self, raw: Tensor, affine: Affine | None = None) -> Tensor:
        """Stored values as float32, on their device.

        Args:
            raw: (…) of the encoding's dtype.
            affine: the ranges; not looked at by an encoding that needs none.
        """

    def encode_into(self, out: Tensor, values: Tensor, *, affine: Affine | None = None) -> None:
        """Write values as they are stored into a tensor of the encoding's dtype, in its layout.

        Args:
            out: (…) of the encoding's dtype, on any device.
            values: (…) float, in any memory layout.
            affine: the ranges; not looked at by an encoding that needs none.
        """
        # Plain casts are left to the copy, which casts and lays out in one pass.
        cast = self.casts and out.device == values.device
        out.copy_(values if cast else self.encode(values, affine))

    def ranges(self, values: Tensor, *, channel_axis: int) -> Affine | None:
        """The ranges of a sample of what is to be stored; None where the encoding needs none.

        Args:
            values: (…, C, …) float.
            channel_axis: counted from the end (negative).
        """
        if self.steps is None:
            return None
        return Affine.spanning(values, channel_axis=channel_axis, steps=self.steps)

    def needed(self, affine: Affine | None) -> Affine:
        """The ranges, for an encoding that needs them.

        Raises:
            CacheError: there are none.
        """
        if affine is None:
            raise CacheError(
                f"encoding {self.name}",
                "no scale and offset",
                expected="those that `ranges` measures",
            )
        return affine

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The dtype of stored values, as numpy names it."""
        return torch.empty(0, dtype=self.dtype).numpy().dtype

    @property
    def codec_names(self) -> list[str]:
        """The codecs of a chunk in order, as Zarr's metadata names them."""
        return ["bytes", *([self.compression.name] if self.compression else []), "crc32c"]


ENCODINGS: dict[str, Encoding] = {}


def register(encoding: Encoding) -> None:
    """Let recipes choose an encoding, and stores be read that hold it.

    Raises:
        CacheError: its name is taken, or numpy has no such dtype.
    """
    where = f"encoding {encoding.name}"
    if encoding.name in ENCODINGS:
        raise CacheError(where, "registered twice", expected="a name of its own")
    try:
        encoding.numpy_dtype  # noqa: B018 - what Zarr's metadata and files need
    except TypeError as error:
        found, expected = f"{encoding.dtype}", "a dtype that numpy has too"
        raise CacheError(where, found, expected=expected) from error
    ENCODINGS[encoding.name] = encoding
