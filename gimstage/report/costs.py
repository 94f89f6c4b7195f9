"""Figures over seeds, and what runs took."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gimstage.report.collect import Group, Report
from gimstage.report.folders import RecipeRun
from gimstage.report.stageruns import StageRun


@dataclass(frozen=True)
class Measured:
    """A figure over seeds.

    Args:
        values: one per seed.
        runs: the runs they come from.
        source: a recipe and what of it was probed.
        settings: the settings of the probe, without seed.
    """

    values: tuple[float, ...]
    runs: tuple[str, ...]
    source: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """The mean of the values over the seeds."""
        return statistics.fmean(self.values)

    @property
    def std(self) -> float | None:
        """The standard deviation over the seeds, of a sample; None with one seed."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class Cost:
    """What the runs of a group took: sums over their own stages, means over the runs.

    Args:
        recipe: whose runs.
        seeds: how many runs.
        split: the name of the split trained on; None without training.
        data_sha256: the SHA-256 of that split.
        samples: that were trained on.
        probe_sha256: the SHA-256 of the probes' splits.
        probe_samples: the samples of the probes' train and test split, labelled.
        steps: the steps of training.
        predicted_bytes: GPU memory reserved by the largest stage, predicted.
        measured_bytes: GPU memory reserved by the largest stage, measured.
        disk_bytes: the bytes of features.
        seconds: the seconds of training.
        device: that trained.
    """

    recipe: str
    seeds: int
    split: str | None
    data_sha256: str | None
    samples: int | None
    probe_sha256: str | None
    probe_samples: tuple[int, int] | None
    steps: int | None
    predicted_bytes: int | None
    measured_bytes: int | None
    disk_bytes: float | None
    seconds: float | None
    device: str | None


def cost_of(report: Report, group: Group) -> Cost:
    """What the runs of a group took."""
    stages = [stage for run in group.runs for stage in run.stages.values()]
    probes = [row for run in group.runs for probe in run.probes.values() for row in probe.rows]
    sizes = {(row.train_samples, row.test_samples) for row in probes}
    return Cost(
        recipe=group.label,
        seeds=len(group.runs),
        split=group.training_split,
        data_sha256=group.training_data,
        samples=most(stage.samples for stage in stages)
        or report.samples.get(group.training_data or ""),
        probe_sha256=group.probe_data,
        probe_samples=sizes.pop() if len(sizes) == 1 else None,
        **spent(group.runs, stages),
    )


def spent(runs: Sequence[RecipeRun], stages: Sequence[StageRun]) -> dict[str, Any]:
    """Steps, memory, disk, time and device of some stages of some runs, the mean over the runs."""

    def total(values: Iterable[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return sum(known) / len(runs) if known else None

    steps = total(stage.manifest.training.steps for stage in stages)
    return {
        "steps": None if steps is None else round(steps),
        "predicted_bytes": most(stage.predicted_bytes for stage in stages),
        "measured_bytes": most(stage.measured_bytes for stage in stages),
        "disk_bytes": total(stage.disk_bytes for stage in stages),
        "seconds": total(stage.manifest.training.seconds for stage in stages),
        "device": devices(stages),
    }


def devices(stages: Iterable[StageRun]) -> str | None:
    """What trained some stages, each device once; None where that is not told."""
    told = {stage.manifest.device for stage in stages}
    return " / ".join(sorted(filter(None, told))) or None


def most(values: Iterable[int | None]) -> int | None:
    """The largest of those that are known; None where none is."""
    return max((value for value in values if value is not None), default=None)
