"""Recipes stage by stage: table 2 of the paper, which is memory, and every module's figures."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from gimstage.report.collect import Group, Report
from gimstage.report.costs import Measured, devices, most, spent
from gimstage.report.datasets import unlike
from gimstage.report.folders import RecipeRun
from gimstage.report.probed import BASELINES, input_order
from gimstage.report.published import MEMORY_ROWS, MemoryRow, Published
from gimstage.report.stageruns import module_kind
from gimstage.runs.manifest import ProbeRow


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
    """Table 2, GPU memory, for one base recipe; `data` and `unlike` as of a `SystemTable`."""

    base: str | None
    data: str | None
    unlike: str | None
    rows: tuple[Memory, ...]

    @property
    def whole(self) -> Memory | None:
        """All modules at once, whose shares the others are; None without such a row."""
        return next((row for row in self.rows if "all modules" in row.system), None)


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
    """The training of one stage, or the loss of one of its modules.

    Args:
        stage: its number, or `STAGE.MODULE`.
        kind: the kind of its modules.
        chance_loss: the loss of guessing; None for a loss without a known one, and for a stage
            whose modules have losses of their own.
        last_loss: the loss of the last logging interval; None for such a stage.
        steps: the steps of training; this and what follows is the mean over the runs, and None for
            a module.
        predicted_bytes: GPU memory reserved, predicted.
        measured_bytes: GPU memory reserved, measured.
        disk_bytes: the bytes of its features.
        seconds: the seconds of training.
        device: that trained it.
    """

    stage: str
    kind: str
    chance_loss: float | None
    last_loss: Measured | None
    steps: int | None = None
    predicted_bytes: int | None = None
    measured_bytes: int | None = None
    disk_bytes: float | None = None
    seconds: float | None = None
    device: str | None = None


@dataclass(frozen=True)
class ModuleTable:
    """All stages and all probe rows of one group."""

    label: str
    data: str | None
    runs: tuple[str, ...]
    stages: tuple[StageRow, ...]
    rows: tuple[ModuleRow, ...]


def memory_tables(report: Report) -> list[MemoryTable]:
    """Table 2 for every base with images; without any figure of ours where there is none.

    On somebody's own data it has the rows that were run, and is left out where none is of all
    modules at once, which it compares with.
    """
    tables = [
        MemoryTable(
            base,
            data=(data := report.data_title(base)),
            unlike=unlike(data, "images"),
            rows=tuple(
                memory
                for row in MEMORY_ROWS
                if (memory := _memory(report, row, base)).recipe or not report.is_own(base)
            ),
        )
        for base in (*report.bases("images"),) or (None,)
    ]
    return [table for table in tables if table.whole]


def _memory(report: Report, row: MemoryRow, base: str | None) -> Memory:
    recipe = f"{base}{row.suffix}"
    groups = report.of(recipe) if base else []
    runs = [list(run.stages.values()) for group in groups[:1] for run in group.runs]
    stages = [s for run in runs for s in run if row.part != "first" or s.number == 1]
    return Memory(
        system=row.name,
        published=row.published,
        recipe=recipe if stages else None,
        predicted_bytes=most(stage.predicted_bytes for stage in stages),
        measured_bytes=most(stage.measured_bytes for stage in stages),
        device=devices(stages),
    )


def module_table(report: Report, group: Group) -> ModuleTable:
    """All stages and all probe rows of a group."""
    numbers = sorted({number for run in group.runs for number in run.stages})
    rows = [row for run in group.runs for row in run.rows]
    tasks = [row.task for row in rows]
    keys = sorted(
        dict.fromkeys((row.task, row.protocol, row.stage) for row in rows),
        key=lambda key: (tasks.index(key[0]), key[2] in BASELINES, input_order(key[2])),
    )
    return ModuleTable(
        label=group.label,
        data=group.data_title,
        runs=tuple(group.names),
        stages=tuple(row for number in numbers for row in _stage_rows(group, number)),
        rows=tuple(_module_row(group, *key) for key in keys),
    )


def _stage_rows(group: Group, number: int) -> Iterator[StageRow]:
    """A row of the stage; where its modules have losses of their own, then a row of each."""
    runs = [run for run in group.runs if number in run.stages]
    first = runs[0].stages[number]
    took = spent(runs, [run.stages[number] for run in runs])
    if first.mode != "isolated":
        last = _last_loss(runs, number, first.positions[-1])
        yield StageRow(str(number), first.kind, first.chance_loss, last, **took)
        return
    yield StageRow(str(number), first.kind, None, None, **took)
    for at, module in zip(first.positions, first.modules, strict=True):
        name, last = f"{number}.{at - first.positions.start + 1}", _last_loss(runs, number, at)
        yield StageRow(name, module_kind(module), first.chances[at], last)


def _last_loss(runs: Sequence[RecipeRun], number: int, position: int) -> Measured | None:
    """The loss at the end of a stage's metrics, over the runs."""
    curves = [(run.name, [*run.stages[number].points(position, "loss")]) for run in runs]
    ends = [(name, points[-1][1]) for name, points in curves if points]
    return Measured(tuple(x for _, x in ends), tuple(n for n, _ in ends)) if ends else None


def _module_row(group: Group, task: str, protocol: str, stage: str) -> ModuleRow:
    rows = [
        (run.name, row)
        for run in group.runs
        for row in run.rows
        if (row.task, row.protocol, row.stage) == (task, protocol, stage)
    ]

    def over_seeds(figure: Callable[[ProbeRow], float | None]) -> Measured | None:
        told = [(name, figure(row)) for name, row in rows]
        pairs = [(name, 100 * value) for name, value in told if value is not None]
        names, values = tuple(n for n, _ in pairs), tuple(v for _, v in pairs)
        return Measured(values, names) if pairs else None

    return ModuleRow(
        stage=stage,
        task=task,
        protocol=protocol,
        accuracy=over_seeds(lambda row: row.accuracy),
        random_init=over_seeds(lambda row: row.random_init),
        chance=over_seeds(lambda row: row.chance),
        test_samples=min(row.test_samples for _, row in rows),
    )
