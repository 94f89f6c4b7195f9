"""Sequences in an array of somebody's own, which is cut from where it lies.

Shape letters: N sequences, E entries, C channels.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

from gimstage.data.series import Series, SeriesFiles, SeriesSplit
from gimstage.errors import DataError
from gimstage.inputs.base import given_folder, looked_at
from gimstage.inputs.sequences import Sequences
from gimstage.specs.series import SeriesDataSpec


class SeriesSet(Sequences[SeriesSplit]):
    """The sequences of an array.

    Args:
        spec: the recipe's data.toml.
        root: what `--data` names: a folder, or the array itself.
    """

    spec: SeriesDataSpec
    title = "own series"
    keeps_labels = False

    @classmethod
    def find(cls, spec: SeriesDataSpec, data: Path | None, runs: Path) -> SeriesSet:
        """What `--data` names.

        Raises:
            DataError: it is not given.
        """
        return cls(spec, given_folder(data, "the array", "add --data DIR"))

    @cached_property
    def series(self) -> Series:
        """All sequences of the array.

        Raises:
            DataError: the array is not as the recipe says.
        """
        spec = self.spec
        series = Series(
            SeriesFiles(
                root=self.root,
                array=spec.array,
                axes=spec.names,
                offsets=spec.offsets,
                entry_rows=spec.entry_frames and spec.entry_frames * spec.frame_rows,
                frame_rows=spec.frame_rows,
                table=spec.table,
            )
        )
        if series.channels != spec.in_channels:
            found = f"{series.channels} channels"
            expected = f"{spec.in_channels}, as mean and std in data.toml have numbers"
            cure = "write one number a channel"
            raise DataError(series.values.where, found, expected, cure)
        return series

    def open(self, name: str) -> SeriesSplit:
        """A split of the sequences; raises as `SeriesSplit`."""
        return SeriesSplit(self.series, name)

    def files(self, split: str) -> dict[str, Path]:
        """The files of the array, whichever split is asked for."""
        return self.series.files_read

    def told(self, split: str) -> dict[str, str]:
        """Which samples the split has: a digest over their places in the array."""
        places = self.split(split).places
        return {"samples": hashlib.sha256(places.tobytes()).hexdigest()}

    def notes(self) -> list[str]:
        """How the splits are told, and whether there is anything in them; see `DataSet`."""
        counts = ", ".join(f"{len(own):,} {name}" for name, own in self.series.splits.items())
        chosen = looked_at(len(self.train))
        flat = sum(all(self.train.silence(index)) for index in chosen)
        what = f"{flat} of {len(chosen)} sequences looked at are the same from end to end"
        return [f"{counts}: {self.series.told.division}"] + [what] * (flat > 0)
