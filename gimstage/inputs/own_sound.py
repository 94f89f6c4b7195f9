"""Somebody's own files of sound, imported once and cut from in place.

Shape letters: N files, E entries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gimstage.data.files import BadFileError
from gimstage.data.listing import Listing, listing
from gimstage.data.ownsound import Placed, SoundFolder, SoundSplit
from gimstage.data.rawstore import Item, RawLayout, layout_of
from gimstage.data.soundfiles import ENDINGS, SoundHeader, as_stored, decoded, read_header
from gimstage.inputs.ahead import cores, made_ahead
from gimstage.inputs.base import given_folder, looked_at
from gimstage.inputs.imported import Imported, first_rows
from gimstage.inputs.sequences import Sequences
from gimstage.progress import Watch
from gimstage.specs.own_sound import SoundDataSpec

AHEAD_VALUES = 1 << 22  # of a file, while those before it are written: minutes of sound
Blocks = Iterator[NDArray[Any]]

_FILES = "files of sound, such as .wav, .flac, .ogg, .opus or .mp3"


class Sound(Sequences[SoundSplit], Imported):
    """The sound of a recipe, which lies in files of any kind.

    Args:
        spec: the recipe's data.toml.
        root: the folder that `--data` names.
        runs: the runs folder, below which it is imported.
    """

    spec: SoundDataSpec
    title = "own sound"

    def make(self, watch: Watch) -> None:
        """Import the files unless they are; what was planned of the splits is forgotten."""
        planned = not self.is_made
        super().make(watch)
        if planned:
            self._splits.clear()
            self._kept.clear()

    def told(self, split: str) -> dict[str, str]:
        """Which files the split has, and where each of them begins; see `Imported`."""
        begins = hashlib.sha256(self.starts.tobytes()).hexdigest()
        return super().told(split) | {"begins": begins}

    @classmethod
    def find(cls, spec: SoundDataSpec, data: Path | None, runs: Path) -> Sound:
        """The folder `--data` names.

        Raises:
            DataError: it is not given.
        """
        return cls(spec, given_folder(data, _FILES, "add --data DIR"), runs=runs)

    @property
    def settings(self) -> dict[str, Any]:
        """The source, the rate and the channels; and how samples are made, which may change."""
        spec = self.spec
        return {
            "source": spec.source,
            "rate_hz": spec.rate_hz,
            "channels": spec.channels,
            "algorithm": 1,
        }

    @cached_property
    def _folder(self) -> SoundFolder:
        return SoundFolder(self.listing, self.spec.rate_hz, self.spec.channels)

    @cached_property
    def listing(self) -> Listing:
        """What lies in the folder; raises as `data.listing.listing`."""
        return listing(self.root, ENDINGS, self.spec.table, self.spec.pattern)

    @property
    def originals(self) -> Mapping[str, Path]:
        """The files of all splits, as they are imported."""
        return self.listing.files

    @cached_property
    def headers(self) -> dict[str, SoundHeader]:
        """What the files that can be read say of their sound, by id."""
        return {id_: told for id_, told in self._told_by_files.items() if not isinstance(told, str)}

    @cached_property
    def _told_by_files(self) -> dict[str, SoundHeader | str]:
        """The header of every file, or why it has none."""
        return {id_: self._header(path) for id_, path in self.originals.items()}

    def _header(self, path: Path) -> SoundHeader | str:
        try:
            return read_header(path, rate_hz=self.spec.rate_hz, channels=self.spec.channels)
        except BadFileError as error:
            return str(error)

    @property
    def foreseen(self) -> dict[str, str]:
        """Why files have no header that can be read, by id."""
        return {id_: told for id_, told in self._told_by_files.items() if isinstance(told, str)}

    @property
    def layout(self) -> RawLayout:
        """Samples of 16 bits, or float32 where a file holds more."""
        if self.record is not None:
            return layout_of(self.record)
        wide = any(header.wide for header in self.headers.values())
        dtype = "float32" if wide else "int16"
        return RawLayout("sound", (self.spec.channels,), dtype, ("sample", "channel"))

    @property
    def rows_expected(self) -> int:
        """The samples that the headers count, at the rate of the recipe."""
        return sum(header.rows_at(self.spec.rate_hz) for header in self.headers.values())

    def decoded(self, paths: Sequence[Path]) -> Iterator[Iterator[NDArray[Any]]]:
        """The samples of every file, a block at a time; see `Imported`."""
        dtype = np.dtype(self.layout.dtype)

        def begun(path: Path) -> Blocks:
            """All of a file that is short; the beginning of a long one, the rest still to come."""
            blocks, values = self._samples(path, dtype), 0
            first: list[NDArray[Any]] = []
            while values < AHEAD_VALUES and (block := next(blocks, None)) is not None:
                first.append(block)
                values += block.size
            return chain(first, blocks)

        for decoding in made_ahead(begun, paths, most=2 * cores()):
            yield _blocks(decoding)

    def _samples(self, path: Path, dtype: np.dtype[Any]) -> Blocks:
        asked = {"rate_hz": self.spec.rate_hz, "channels": self.spec.channels}
        header = read_header(path, **asked)
        for wave in decoded(path, header, **asked):
            yield as_stored(wave, dtype)

    def columns(self, items: Sequence[Item]) -> dict[str, NDArray[Any]]:
        """Where the sound of every file begins, and where the last one ends."""
        return {"offsets": first_rows(items)}

    def open(self, name: str) -> SoundSplit:
        """Those files of a split that can be read; of what is not made, their lengths."""
        names, bad = tuple(self.originals), self.bad
        chosen = [int(index) for index in self.listing.split(name) if names[index] not in bad]
        if not chosen:
            raise self.bad_files()
        kept = np.array(chosen, np.int64)
        if self.is_made:
            placed: Placed | None = Placed(self.store, self.starts[kept])
            samples = np.diff(self.starts)[kept]
        else:
            placed, rate_hz = None, self.spec.rate_hz
            samples = np.array([self.headers[names[i]].rows_at(rate_hz) for i in kept], np.int64)
        return SoundSplit(self._folder, name, kept=kept, samples=samples, placed=placed)

    def notes(self) -> list[str]:
        """Splits, labels, files left out, and whether there is anything to hear; see `DataSet`."""
        chosen = looked_at(len(self.train))
        silent = sum(all(self.train.silence(index)) for index in chosen)
        what = f"split '{self.train.name}': {silent} of {len(chosen)} files looked at are silent"
        return self.listing.notes() + Imported.notes(self) + [what] * (silent > 0)


def _blocks(decoding: Future[Blocks]) -> Blocks:
    yield from decoding.result()
