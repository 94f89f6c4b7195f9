"""Images in an array of somebody's own: cut from in place where it is mapped, else imported once.

Zarr is compressed as a rule, and a chunk of it may hold many crops: each would be decoded for one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gimstage.data.arraylabels import Told
from gimstage.data.arrays import open_array
from gimstage.data.image_arrays import AXES, ArrayImageSplit, Squares, require_fit
from gimstage.data.rawstore import RawLayout
from gimstage.data.titles import OWN
from gimstage.errors import DataError
from gimstage.inputs.base import given_folder
from gimstage.inputs.images import Images
from gimstage.inputs.imported import Imported
from gimstage.specs.image_arrays import ImageArraySpec


class ArrayImages(Images):
    """The images of an array that is mapped.

    Args:
        spec: the recipe's data.toml.
        root: what `--data` names: a folder, or the array itself.
    """

    spec: ImageArraySpec
    title = OWN["images"]
    keeps_labels = False

    @classmethod
    def find(cls, spec: ImageArraySpec, data: Path | None, runs: Path) -> ArrayImages:
        """What `--data` names.

        Raises:
            DataError: it is not given, or there is no such array.
        """
        root = given_folder(data, "the array", "add --data DIR")
        mapped = isinstance(open_array(root, spec.array).values, np.ndarray)
        return ArrayImages(spec, root) if mapped else ImportedArray(spec, root, runs=runs)

    @cached_property
    def squares(self) -> Squares:
        """All squares of the array.

        Raises:
            DataError: the array is not as the recipe says.
        """
        spec, array = self.spec, open_array(self.root, self.spec.array).require_numbers()
        if len(array.shape) != len(spec.names):
            found = f"{len(array.shape)} axes of lengths {array.shape}"
            wanted = f'as many as axes = "{spec.axes}" of data.toml names'
            raise DataError(array.where, found, wanted, "name every axis of the array")
        size = zip(spec.names, array.shape, strict=True)
        count = math.prod(length for name, length in size if name not in AXES)
        told = Told(self.root, spec.array, count, "image", spec.table)
        squares = Squares(array, spec.names, spec.size_px, told)
        require_fit(squares, spec.raw_channels)
        return squares

    def split(self, name: str) -> ArrayImageSplit:
        """Some of the squares, cut from in place; raises as `ArrayImageSplit`."""
        return ArrayImageSplit(self.squares, name, store=None, planned=False)

    def files(self, split: str) -> dict[str, Path]:
        """The files of the array, whichever split is asked for."""
        return self.squares.array.files

    def told(self, split: str) -> dict[str, str]:
        """Which squares the split has: a digest over their places in the array."""
        places = np.ascontiguousarray(self.squares.places[self.split(split).numbers])
        return {"samples": hashlib.sha256(places.tobytes()).hexdigest()}

    def notes(self) -> list[str]:
        """How the splits are told, and whether images show anything; see `DataSet`."""
        counts = ", ".join(f"{len(own):,} {name}" for name, own in self.squares.splits.items())
        shown = super().notes() if self.is_made else []
        return [f"{counts}: {self.squares.told.division}", *shown]


class ImportedArray(Imported, ArrayImages):
    """The images of an array that is not mapped, imported as squares.

    Args:
        spec: the recipe's data.toml.
        root: what `--data` names.
        runs: the runs folder, below which they are imported.
    """

    spec: ImageArraySpec

    @property
    def settings(self) -> dict[str, Any]:
        """The source, and which squares are read; and how, which may change."""
        spec = self.spec
        keys = ("source", "array", "axes", "size_px")
        return {key: getattr(spec, key) for key in keys} | {"algorithm": 1}

    @property
    def originals(self) -> Mapping[str, Path]:
        """The files of the array, by their names below the data."""
        return self.squares.array.files

    @property
    def layout(self) -> RawLayout:
        """One array of squares, a row each, of the dtype they are read as."""
        squares = self.squares
        shape = (squares.channels, squares.size_px, squares.size_px)
        return RawLayout("images", shape, squares.dtype.name, ("image", "channel", "y", "x"))

    @property
    def rows_expected(self) -> int:
        """The squares that there will be, to the last one."""
        return len(self.squares.places)

    def decoded(self, paths: Sequence[Path]) -> Iterator[Iterator[NDArray[Any]]]:
        """All squares for the first file, none for the others, which are chunks of one array."""
        for number in range(len(paths)):
            whole = len(paths) == len(self.originals) and number == 0
            yield self.squares.blocks() if whole else iter(())

    def split(self, name: str) -> ArrayImageSplit:
        """Some of the squares; of what is not imported, how many there will be."""
        store = self.store if self.is_made else None
        return ArrayImageSplit(self.squares, name, store=store, planned=store is None)

    def files(self, split: str) -> dict[str, Path]:
        """The chunks of the store, whichever split is asked for."""
        return self.store.chunk_files

    def told(self, split: str) -> dict[str, str]:
        """Which squares the split has; see `ArrayImages`."""
        return ArrayImages.told(self, split)

    def notes(self) -> list[str]:
        """How the splits are told, and whether images show anything; see `DataSet`."""
        return ArrayImages.notes(self)
