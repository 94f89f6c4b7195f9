"""Somebody's own image files, imported once as squares and cut from in place."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gimstage.data.files import BadFileError
from gimstage.data.kinds import PICTURES
from gimstage.data.listing import Listing, listing
from gimstage.data.own_images import OwnImageSplit, Squares
from gimstage.data.pictures import Cut, PictureHeader, read_header, squares
from gimstage.data.rawstore import RawLayout, layout_of
from gimstage.data.titles import OWN
from gimstage.inputs.ahead import cores, made_ahead
from gimstage.inputs.base import given_folder
from gimstage.inputs.images import Images
from gimstage.inputs.imported import Imported
from gimstage.specs.own_images import OwnImagesSpec

MOST_PIXELS = 1 << 26  # decoded at a time: one image of 8,192 px a side


class OwnImages(Imported, Images):
    """The images of a recipe, which lie in files of any kind and size.

    Args:
        spec: the recipe's data.toml.
        root: the folder that `--data` names.
        runs: the runs folder, below which they are imported.
    """

    spec: OwnImagesSpec
    title = OWN["images"]

    @classmethod
    def find(cls, spec: OwnImagesSpec, data: Path | None, runs: Path) -> OwnImages:
        """The folder `--data` names.

        Raises:
            DataError: it is not given.
        """
        files = "image files, such as .jpg, .png, .tif or .webp"
        return cls(spec, given_folder(data, files, "add --data DIR"), runs=runs)

    @property
    def settings(self) -> dict[str, Any]:
        """The source, and what is made of a file; and how, which may change."""
        spec = self.spec
        return {
            "source": spec.source,
            "size_px": spec.size_px,
            "fit": spec.fit,
            "channels": spec.raw_channels,
            "algorithm": 1,
        }

    @cached_property
    def listing(self) -> Listing:
        """What lies in the folder; raises as `data.listing.listing`."""
        return listing(self.root, PICTURES, self.spec.table)

    @property
    def originals(self) -> Mapping[str, Path]:
        """The files of all splits by their ids, sorted."""
        return self.listing.files

    @cached_property
    def _told_by_files(self) -> dict[str, PictureHeader | str]:
        """The header of every file, or why it has none."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd tags; and of sizes, which are looked at
            return {id_: self._header(path) for id_, path in self.originals.items()}

    def _header(self, path: Path) -> PictureHeader | str:
        try:
            return read_header(path, self.spec.size_px)
        except BadFileError as error:
            return str(error)

    @property
    def foreseen(self) -> dict[str, str]:
        """Why files have no header that can be read, by id."""
        return {id_: told for id_, told in self._told_by_files.items() if isinstance(told, str)}

    @cached_property
    def cut(self) -> Cut:
        """What is made of every file: bytes, or 16 bits where a gray file has so many."""
        spec = self.spec
        if self.record is not None:
            dtype = np.dtype(layout_of(self.record).dtype)
        else:
            headers = self._told_by_files.values() if spec.raw_channels == 1 else ()
            deep = any(not isinstance(told, str) and told.deep for told in headers)
            dtype = np.dtype(np.uint16 if deep else np.uint8)
        return Cut(spec.size_px, spec.fit, spec.raw_channels, dtype)

    @property
    def layout(self) -> RawLayout:
        """One array of squares, a row each, as bytes or 16 bits."""
        cut = self.cut
        shape = (cut.channels, cut.size_px, cut.size_px)
        return RawLayout("images", shape, cut.dtype.name, ("image", "channel", "y", "x"))

    @cached_property
    def _expected(self) -> list[int]:
        """How many squares every file becomes, as its header tells."""
        told = self._told_by_files.values()
        return [0 if isinstance(each, str) else self.cut.count(each) for each in told]

    @property
    def rows_expected(self) -> int:
        """The squares that all files become, as their headers tell."""
        return sum(self._expected)

    def decoded(self, paths: Sequence[Path]) -> Iterator[Iterator[NDArray[Any]]]:
        """The squares of every file, decoded on all cores, some files ahead; see `Imported`."""
        cut = self.cut
        # A file may take much longer than the next, so many are ahead, unless they are large.
        told = [each for each in self._told_by_files.values() if not isinstance(each, str)]
        largest = max((each.width * each.height for each in told), default=1)
        most = min(8 * cores(), max(1, MOST_PIXELS // largest))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for decoding in made_ahead(lambda path: [*squares(path, cut)], paths, most=most):
                yield _blocks(decoding)

    def split(self, name: str) -> OwnImageSplit:
        """The squares of a split; of what is not imported, how many there will be."""
        own = self.listing.split(name)
        if self.is_made:
            first, count = self.starts[:-1], np.diff(self.starts)
        else:
            count = np.array(self._expected, np.int64)
            first = np.cumsum(count) - count
        store = self.store if self.is_made else None
        places = Squares(first[own], count[own], store)
        return OwnImageSplit(self.listing, name, cut=self.cut, squares=places)

    def notes(self) -> list[str]:
        """Splits and labels, files left out, and whether pictures show anything; see `DataSet`."""
        shown = Images.notes(self) if self.is_made else []
        return self.listing.notes() + Imported.notes(self) + shown


def _blocks(decoded: Future[list[NDArray[Any]]]) -> Iterator[NDArray[Any]]:
    yield from decoded.result()
