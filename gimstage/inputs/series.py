"""Sequences in an array of somebody's own, which is cut from where it lies.

Shape letters: N sequences, E entries, C channels.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path

from gimstage.data.demo_series import PlannedSeries, write_demo_series
from gimstage.data.series import Series, SeriesSplit
from gimstage.errors import DataError
from gimstage.inputs.base import given_folder, looked_at
from gimstage.inputs.sequences import Sequences
from gimstage.progress import Watch
from gimstage.specs.series import DemoSeriesSpec, SeriesSpec


class SeriesSet(Sequences[SeriesSplit | PlannedSeries]):
    """The sequences of an array.

    Args:
        spec: the recipe's data.toml.
        root: what `--data` names: a folder, or the array itself.
    """

    spec: SeriesSpec
    keeps_labels = False

    @property
    def title(self) -> str:
        """Somebody's own, whatever it is."""
        return "own series"

    @classmethod
    def find(cls, spec: SeriesSpec, data: Path | None, runs: Path) -> SeriesSet:
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
        spec, series = self.spec, Series(self.spec.files(self.root))
        if series.channels != spec.in_channels:
            found = f"{series.channels} channels"
            expected = f"{spec.in_channels}, as mean and std in data.toml have numbers"
            cure = "write one number a channel"
            raise DataError(series.values.where, found, expected, cure)
        return series

    def open(self, name: str) -> SeriesSplit | PlannedSeries:
        """A split of the sequences; raises as `SeriesSplit`."""
        return SeriesSplit(self.series, name)

    def files(self, split: str) -> dict[str, Path]:
        """The files of the array, whichever split is asked for."""
        return self.series.files_read

    def told(self, split: str) -> dict[str, str]:
        """Which samples the split has: a digest over their places in the array."""
        places = self.series.places[self.series.splits[split]]
        return {"samples": hashlib.sha256(places.tobytes()).hexdigest()}

    def notes(self) -> list[str]:
        """How the splits are told, and whether there is anything in them; see `DataSet`."""
        counts = ", ".join(f"{len(own):,} {name}" for name, own in self.series.splits.items())
        chosen = looked_at(len(self.train))
        flat = sum(all(self.train.silence(index)) for index in chosen)
        what = f"{flat} of {len(chosen)} sequences looked at are the same from end to end"
        return [f"{counts}: {self.series.told.division}"] + [what] * (flat > 0)


class DemoSeries(SeriesSet):
    """Synthetic signals, written below the runs folder when they are first worked on."""

    spec: DemoSeriesSpec

    @classmethod
    def find(cls, spec: SeriesSpec, data: Path | None, runs: Path) -> DemoSeries:
        """The folder `--data` names, or the demo's own below the runs folder."""
        assert isinstance(spec, DemoSeriesSpec), "it is found for its own source"
        if data is not None:
            return cls(spec, data)
        name = "demo-series-{subjects}-{train}-{test}-{seed}".format(**spec.demo.model_dump())
        return cls(spec, runs / "data" / name, own=True)

    @property
    def title(self) -> str:
        """Synthetic, or somebody's own in its place."""
        return "synthetic series (demo)" if self.own else super().title

    def write(self, watch: Watch) -> None:
        """Write the demo's signals, as many as the recipe says."""
        write_demo_series(self.root, **self.spec.demo.model_dump())
        self._splits.clear()

    def open(self, name: str) -> SeriesSplit | PlannedSeries:
        """A split; of what is not made, lengths and labels."""
        if self.is_made:
            return super().open(name)
        demo = self.spec.demo.model_dump()
        return PlannedSeries(self.root, name, frame_rows=self.spec.frame_rows, **demo)
