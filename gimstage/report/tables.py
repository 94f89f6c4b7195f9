"""The paper's tables with our figures beside the published ones, as plain data.

A row is a system; a cell is one task under one protocol, over the seeds of one group. What cannot
be averaged stands in rows of its own.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from gimstage.recipe.identity import differences
from gimstage.report.collect import Group, Report
from gimstage.report.costs import Cost, Measured, cost_of
from gimstage.report.datasets import unlike
from gimstage.report.folders import RecipeRun
from gimstage.report.probed import (
    BASELINES,
    LINEAR,
    input_order,
    input_words,
    position,
    protocol_order,
)
from gimstage.report.published import (
    TABLES,
    PaperTable,
    Published,
    Substitute,
    System,
)
from gimstage.runs.manifest import ProbeRow

CellKey = tuple[str, str]  # task, protocol


@dataclass(frozen=True)
class SystemRow:
    """One system of a table.

    Args:
        system: what the paper says of it.
        cells: our figures, per cent; none where it was not run.
        costs: the costs of every recipe behind them; none where they stand in another recipe's
            runs.
        notes: on ours.
    """

    system: System
    cells: Mapping[CellKey, Measured]
    costs: tuple[Cost, ...]
    notes: tuple[str, ...] = ()

    @property
    def published(self) -> Mapping[str, Published]:
        """Figures of the paper, by task."""
        return self.system.published

    @property
    def run(self) -> bool:
        """Whether any run of this system was found."""
        return bool(self.cells or self.costs)


@dataclass(frozen=True)
class SystemTable:
    """A table of accuracies for one base recipe; `base` and `data` are None where none was run.

    `unlike` says why the published figures are no measure of ours; None where they are.
    """

    number: int
    title: str
    base: str | None
    data: str | None
    unlike: str | None
    tasks: tuple[str, ...]
    protocols: tuple[str, ...]
    rows: tuple[SystemRow, ...]
    notes: tuple[str, ...]


def paper_tables(report: Report) -> list[SystemTable]:
    """Tables 1, 3 and 4 for every base; without any figure of ours where no base was run.

    A table on somebody's own data has the rows with a figure of ours, and none is made without any.
    """
    tables = [
        _paper_table(report, paper, base)
        for paper in TABLES
        for base in (*report.bases(paper.kind),) or (None,)
    ]
    return [table for table in tables if table.rows]


def _paper_table(report: Report, paper: PaperTable, base: str | None) -> SystemTable:
    rows = [row for system in paper.systems for row in _rows(report, system, base)]
    known = {*LINEAR, *(protocol for row in rows for _, protocol in row.cells)}
    protocols = tuple(sorted(known, key=protocol_order))
    notes = (*_mixed_data(rows), *_mixed_settings(rows))
    data = report.data_title(base)
    return SystemTable(
        number=paper.number,
        title=paper.title,
        base=base,
        data=data,
        unlike=unlike(data, paper.kind),
        tasks=paper.tasks,
        protocols=protocols,
        rows=tuple(rows),
        notes=notes,
    )


def _rows(report: Report, system: System, base: str | None) -> list[SystemRow]:
    """A row per group of the system's recipes; one without figures of ours where none was run.

    On somebody's own data there are none but those with a figure.
    """
    tasks = system.recipes
    groups = {task: report.of(f"{base}{suffix}") if base else [] for task, suffix in tasks.items()}
    substitute: Substitute | None = None
    if base and system.substitute and not any(groups.values()):
        substitute, groups = system.substitute, {task: report.of(base) for task in tasks}
    turns = [dict(zip(tasks, turn, strict=True)) for turn in zip_longest(*groups.values())]
    rows = [_row(report, system, turn, substitute, base) for turn in turns]
    if report.is_own(base):
        return [row for row in rows if row.cells]
    return [row for row in rows if row.run] or [SystemRow(system, {}, ())]


def _row(
    report: Report,
    system: System,
    turn: Mapping[str, Group | None],
    substitute: Substitute | None,
    base: str | None,
) -> SystemRow:
    groups = {task: group for task, group in turn.items() if group is not None}
    cells = {
        (task, protocol): measured
        for task, group in groups.items()
        for protocol in _protocols(group)
        if (measured := _cell(group, task, protocol, substitute))
    }
    own = list({group.recipe: group for group in groups.values()}.values())
    costs = () if substitute else tuple(cost_of(report, group) for group in own)
    apart = [f"kept apart: {'; '.join(g.apart[:2])}" for g in own if g.apart]
    return SystemRow(system, cells, costs, (*apart, *_other_form(report, own, base)))


def _other_form(report: Report, groups: Sequence[Group], base: str | None) -> Iterator[str]:
    """That groups were trained on another split, other channels or other crops than their base."""
    first = next((group.training_form for group in report.of(base or "")), None)
    for group in groups:
        form = group.training_form if group.recipe != base else {}
        if first and form and (changes := differences(first, form)):
            yield f"trained on other data than {base} ({'; '.join(changes)})"


def _protocols(group: Group) -> list[str]:
    rows = [row for run in group.runs for row in run.rows]
    return sorted(dict.fromkeys(row.protocol for row in rows), key=protocol_order)


def _cell(group: Group, task: str, protocol: str, substitute: Substitute | None) -> Measured | None:
    """A system's figure, per cent, over the runs of a group that have it."""
    probed = [
        (run, row, value)
        for run in group.runs
        if (row := _probed(run, task, protocol, substitute)) is not None
        and (value := row.random_init if substitute == "random" else row.accuracy) is not None
    ]
    if not probed:
        return None
    first = probed[0][1]
    values = tuple(100 * value for _, _, value in probed)
    names = tuple(run.name for run, _, _ in probed)
    return Measured(values, names, _source(group.recipe, first, substitute), _settings(first))


def _settings(row: ProbeRow) -> dict[str, Any]:
    return {key: value for key, value in row.settings.items() if key != "seed"}


def _source(recipe: str, row: ProbeRow, substitute: Substitute | None) -> str:
    """Whose figure it is: a recipe and what of it was probed."""
    words = input_words(row.stage)
    return f"{recipe}, {words}" + (" before training" if substitute == "random" else "")


def _probed(
    run: RecipeRun, task: str, protocol: str, substitute: Substitute | None
) -> ProbeRow | None:
    """The row of a run's probes that a system's figure is taken from."""
    rows = [row for row in run.rows if (row.task, row.protocol) == (task, protocol)]
    inputs = [row for row in rows if row.stage not in BASELINES]
    inputs.sort(key=lambda row: input_order(row.stage))
    baselines = [row for row in rows if row.stage in BASELINES]
    if substitute in BASELINES:
        chosen = [row for row in baselines if row.stage == substitute]
    elif substitute == "no_gar":
        chosen = _below_gru(run, inputs)
    else:
        chosen = inputs or baselines
    return chosen[-1] if chosen else None


def _below_gru(run: RecipeRun, inputs: Sequence[ProbeRow]) -> list[ProbeRow]:
    """The rows of what the GRU at the end of a network reads; none where it ends in no GRU."""
    last = list(run.stages.values())[-1:]
    if not last or [module.kind for module in last[0].modules[-1:]] != ["gru"]:
        return []
    at = last[0].positions[-1] - 1
    return [row for row in inputs if position(row.stage, run.stages) == at]


def _mixed_data(rows: Sequence[SystemRow]) -> Iterator[str]:
    """A warning where rows that stand side by side are of different data.

    That a supervised system is trained on another split of the same data is no such difference.
    """
    costs = list(dict.fromkeys(cost for row in rows for cost in row.costs))
    trained = {split: [c for c in costs if c.split == split] for split in {c.split for c in costs}}
    kinds = [
        (f"trained on the same split '{split}'", "data_sha256", trained[split])
        for split in sorted(filter(None, trained))
    ]
    for what, key, own in [*kinds, ("probed on the same data", "probe_sha256", costs)]:
        by_data: dict[str, list[str]] = {}
        for cost in own:
            if sha := getattr(cost, key):
                by_data.setdefault(sha, []).append(cost.recipe)
        if len(by_data) > 1:
            parts = "; ".join(f"{sha[:8]}: {', '.join(who)}" for sha, who in by_data.items())
            yield f"Not all rows are {what}, so compare within one only: {parts}."


def _mixed_settings(rows: Sequence[SystemRow]) -> Iterator[str]:
    """A warning where rows that stand side by side are probed with different settings."""
    for key in dict.fromkeys(key for row in rows for key in row.cells):
        cells = [row.cells[key] for row in rows if key in row.cells]
        for cell in cells[1:]:
            if changes := differences(cells[0].settings, cell.settings):
                yield (
                    f"{key[0]}, protocol {key[1]}: {cell.source} is probed with other settings "
                    f"than {cells[0].source} ({'; '.join(changes)})."
                )
