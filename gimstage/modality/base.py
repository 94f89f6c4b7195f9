"""The questions whose answers differ between images and sequences.

Shape letters: G patches per side of a crop, C channels, y x map inside a patch, T rows in time.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from gimstage.cache import ArrayLayout, SmallLayout
from gimstage.data.kinds import Kind
from gimstage.modules import EncoderModule
from gimstage.modules.base import Reads
from gimstage.specs import Shape, StageSpec


class StoreForm(NamedTuple):
    """What lies in features.zarr.

    Args:
        arrays: features, and codes where they are stored too; they share their shards.
        small: where each of their rows comes from, and labels.
        attributes: the attributes of the group.
    """

    arrays: list[ArrayLayout]
    small: list[SmallLayout]
    attributes: dict[str, Any]


def small_layout(name: str, shape: Shape, dtype: str, *dims: str) -> SmallLayout:
    """A small array of features.zarr.

    Args:
        name: its name.
        shape: its shape.
        dtype: as numpy names it.
        dims: names of its axes.
    """
    return SmallLayout(name=name, shape=shape, dtype=np.dtype(dtype), dims=dims)


class Modality(ABC):
    """One kind of data, with crops as long or as wide as one stage trains on.

    A *unit of data* is what shapes are told of here: a patch (C, y, x), a crop of a sequence
    (T, C), or of a map (y, x, C). What a module encodes alone may be larger: a whole grid of
    patches (G, G, C, y, x).

    Attributes:
        kind: the kind of data, "images" or "speech".
        reads: what modules that suit it read, as `EncoderModule.reads`.
        crop_key: the key of [views] that says how large crops are.
        along: what the crop's size is counted in on the axis predicted along, for messages.
    """

    kind: ClassVar[Kind]
    reads: ClassVar[frozenset[Reads]]
    crop_key: ClassVar[str]
    along: ClassVar[str]

    @property
    @abstractmethod
    def unit_shape(self) -> Shape:
        """The shape of one unit of raw data, what a first module reads."""

    @property
    def crop_frames(self) -> int | None:
        """Frames of 10 ms in a crop of speech; None for images."""
        return None

    @property
    def crop_patches(self) -> int | None:
        """Patches per side of a crop of an image, G; None for speech."""
        return None

    @property
    @abstractmethod
    def suited(self) -> str:
        """Which modules can read this kind of data, in the words of a message."""

    @classmethod
    def suits(cls, part: type[EncoderModule]) -> bool:
        """Whether modules of a class can read this kind of data."""
        return part.reads in cls.reads

    @property
    @abstractmethod
    def units_per_crop(self) -> int:
        """How many units a crop consists of."""

    @property
    @abstractmethod
    def raw_bytes(self) -> int:
        """Bytes that are read of the raw data for one crop."""

    @abstractmethod
    def crop_shape(self, shape: Shape) -> Shape:
        """The shape of one crop, if its units have `shape`: that of a batch without its first axis.

        (G, G, C, y, x), or (T, C).
        """

    @abstractmethod
    def unit_of(self, module: EncoderModule, shape: Shape) -> Shape:
        """The shape of what a module encodes alone, if units have `shape`."""

    @abstractmethod
    def encoded_alone(self, module: EncoderModule) -> int:
        """How many times a module runs for a crop: once for each that it encodes alone."""

    @abstractmethod
    def input_shape(self, shapes: Sequence[Shape], below: Sequence[EncoderModule]) -> Shape:
        """The shape of what is read for one crop, where modules are run again on the way to it.

        Args:
            shapes: the shapes of units: what the lowest of `below` reads, and what each of them
                makes.
            below: the modules that are run again, lowest first; none where the input is stored.
        """

    @abstractmethod
    def length(self, shape: Shape) -> int:
        """Positions of a crop along the axis that losses predict along.

        Args:
            shape: the shape of the units of codes.
        """

    @abstractmethod
    def crop_text(self, shape: Shape) -> str:
        """How large a crop is, in the words of a message, if its units have `shape`."""

    def warm_up_rows(self, modules: Sequence[EncoderModule]) -> int:
        """Rows before a crop that the state of the last module comes from, in its output's rows.

        Args:
            modules: the modules of all stages, from the data up.
        """
        return 0

    @abstractmethod
    def whole_only(self, module: EncoderModule) -> str:
        """Why a module's features cannot be read in parts, for a message; empty where they can."""

    @abstractmethod
    def refuse(self, stage: StageSpec, modules: Sequence[EncoderModule], where: str) -> None:
        """Refuse what of a stage says nothing of this kind of data, or does not fit it.

        Args:
            stage: its TOML.
            modules: the modules of all stages, from the data up to this one.
            where: the stage, for the message.

        Raises:
            RecipeError: names what is wrong.
        """

    def refuse_below(self, below: "Modality", where: str) -> None:  # noqa: B027 - most say nothing
        """Refuse crops that do not go with those of the stage before; raises as `refuse`.

        Args:
            below: the same questions, as the stage before answers them.
            where: the stage, for the message.
        """
