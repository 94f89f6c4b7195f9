"""What a stage hands on: its frozen module's features, through ReLU, as an encoding stores them.

The stage after it sees the same numbers wherever they come from: `store` puts them into rows of
features.zarr, `restored` gives at once what reading those rows back would give.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gimstage.cache import ENCODINGS, Affine, Encoding, check_values
from gimstage.modules import EncoderModule
from gimstage.specs import OutputSpec


@dataclass(frozen=True)
class HandOff:
    """The way from a module's features to the values that the next stage reads.

    Args:
        relu: whether features are handed on after a ReLU.
        rectified: whether the module's features come out of one already.
        encoding: how they are stored, and rounded.
        affine: the ranges of their channels; None until they are measured, and where the encoding
            needs none.
    """

    relu: bool
    rectified: bool
    encoding: Encoding
    affine: Affine | None = None

    @classmethod
    def of(cls, output: OutputSpec, module: EncoderModule) -> HandOff:
        """What `[output]` says of the features of this module."""
        return cls(output.relu, module.rectified, ENCODINGS[output.encoding])

    def apply(self, features: Tensor) -> Tensor:
        """Features as they are handed on but for their encoding; `features` itself is changed."""
        # ReLU of what is rectified already would only cost a pass over it.
        return features.relu_() if self.relu and not self.rectified else features

    def check(self, features: Tensor, *, where: str, first_row: int) -> None:
        """Refuse what the encoding cannot hold.

        Args:
            features: as `apply` gives them, (n, …) float.
            where: they come from, for the message.
            first_row: which stored row the first of them is.

        Raises:
            CacheError: names the first row that is not finite or out of the encoding's range.
        """
        check_values(features, self.encoding, where=where, first_row=first_row, rectified=self.relu)

    def store(self, out: Tensor, features: Tensor, *, where: str, first_row: int) -> None:
        """Check features and write them as they are stored; arguments and errors as of `check`.

        Args:
            out: (n, …) of the encoding's dtype, on any device.
            features: as `apply` gives them, (n, …) float.
            where: they come from, for the message.
            first_row: which stored row the first of them is.
        """
        self.check(features, where=where, first_row=first_row)
        self.encoding.encode_into(out, features, affine=self.affine)

    def restored(self, features: Tensor) -> Tensor:
        """What reading these features back would give, float32, of what `apply` gives."""
        return self.encoding.decode(self.encoding.encode(features, self.affine), self.affine)
