"""Recipes stage by stage: table 2 of the paper, which is memory, and every module's figures."""

from dataclasses import dataclass

from gimstage.report.collect import Group, Report
from gimstage.report.costs import Measured, most, spent
from gimstage.report.published import MEMORY_ROWS, MemoryRow, Published


@dataclass(frozen=True)
class Memory:
    """One row of table 2; bytes are of the largest stage concerned, the most over the seeds."""

    system: str
    published: Published | None
    recipe: str | None
    predicted_bytes: int | None
    measured_bytes: int | None
    device: str | None


@dataclass(frozen=True)
class MemoryTable:
    """Table 2 for one base recipe."""

    base: str | None
    rows: tuple[Memory, ...]


@dataclass(frozen=True)
class ModuleRow:
    """One probed input of a recipe under one task and protocol, per cent."""

    stage: str
    task: str
    protocol: str
    accuracy: Measured | None
    random_init: Measured | None
    chance: Measured | None
    test_samples: int


@dataclass(frozen=True)
class StageRow:
    """The training of one stage; what it took is the mean over the runs.

    Args:
        stage: its number.
        kind: of its module.
        chance_loss: of guessing, for InfoNCE.
        last_loss: of the last logging interval.
        steps: of training.
        predicted_bytes: GPU memory reserved, predicted.
        measured_bytes: likewise, measured.
        disk_bytes: of its features.
        seconds: of training.
        device: that trained it.
    """

    stage: str
    kind: str
    chance_loss: float | None
    last_loss: Measured | None
    steps: int | None
    predicted_bytes: int | None
    measured_bytes: int | None
    disk_bytes: float | None
    seconds: float | None
    device: str | None


@dataclass(frozen=True)
class ModuleTable:
    """All stages and all probe rows of one group."""

    label: str
    runs: tuple[str, ...]
    stages: tuple[StageRow, ...]
    rows: tuple[ModuleRow, ...]


def memory_tables(report: Report) -> list[MemoryTable]:
    """Table 2 for every base with images; without any figure of ours where there is none."""
    return [
        MemoryTable(base, tuple(_memory(report, row, base) for row in MEMORY_ROWS))
        for base in (*report.bases("images"),) or (None,)
    ]


def _memory(report: Report, row: MemoryRow, base: str | None) -> Memory:
    recipe = f"{base}{row.suffix}"
    groups = report.of(recipe) if base else []
    runs = [list(run.stages.values()) for group in groups[:1] for run in group.runs]
    stages = [s for run in runs for s in (run[:1] if row.part == "first" else run)]
    return Memory(
        system=row.name,
        published=row.published,
        recipe=recipe if stages else None,
        predicted_bytes=most(stage.predicted_bytes for stage in stages),
        measured_bytes=most(stage.measured_bytes for stage in stages),
        device=" / ".join(sorted({stage.device for stage in stages if stage.device})) or None,
    )


def module_table(report: Report, group: Group) -> ModuleTable:
    """All stages and all probe rows of a group."""
    numbers = sorted({number for run in group.runs for number in run.stages})
    keys = dict.fromkeys(
        (row["task"], row["protocol"], row["stage"])
        for run in group.runs
        for probe in run.probes.values()
        for row in probe.rows
    )
    return ModuleTable(
        label=group.label,
        runs=tuple(group.names),
        stages=tuple(_stage_row(group, number) for number in numbers),
        rows=tuple(_module_row(group, *key) for key in keys),
    )


def _stage_row(group: Group, number: int) -> StageRow:
    stages = [(r.name, r.stages[number]) for r in group.runs if number in r.stages]
    first = stages[0][1]
    ends = [(name, stage.lines[-1]["loss"]) for name, stage in stages if stage.lines]
    runs = [run for run in group.runs if number in run.stages]
    return StageRow(
        stage=str(number),
        kind=first.kind,
        chance_loss=first.chance_loss,
        last_loss=Measured(tuple(x for _, x in ends), tuple(n for n, _ in ends)) if ends else None,
        **spent(runs, [stage for _, stage in stages]),
    )


def _module_row(group: Group, task: str, protocol: str, stage: str) -> ModuleRow:
    found = [
        (run.name, row)
        for run in group.runs
        for probe in run.probes.values()
        for row in probe.rows
        if (row["task"], row["protocol"], row["stage"]) == (task, protocol, stage)
    ]

    def over_seeds(key: str) -> Measured | None:
        pairs = [(name, 100 * row[key]) for name, row in found if row[key] is not None]
        names, values = tuple(n for n, _ in pairs), tuple(v for _, v in pairs)
        return Measured(values, names) if pairs else None

    return ModuleRow(
        stage=stage,
        task=task,
        protocol=protocol,
        accuracy=over_seeds("accuracy"),
        random_init=over_seeds("random_init"),
        chance=over_seeds("chance"),
        test_samples=min(row["test_samples"] for _, row in found),
    )
