"""The report as one document: words, tables and figures in order, whatever they are written as."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from gimstage.report.collect import Report
from gimstage.report.costs import Measured
from gimstage.report.drawing import Drawing
from gimstage.report.grids import Grid, accuracy_grid, cost_grid, memory_grid, module_grids
from gimstage.report.modules import MemoryTable, ModuleTable, memory_tables, module_table
from gimstage.report.probed import PROTOCOLS
from gimstage.report.published import MEMORY_TITLE, PAPER
from gimstage.report.tables import SystemRow, SystemTable, paper_tables

TITLE = "Greedy InfoMax with gimstage, beside the paper"
SEEDS = (
    "A seed fixes the bits of a run on one model of CPU and with one number of threads only. On "
    "others the same seed gives other figures, which differ as those of another seed would."
)
INTRODUCTION = (
    "Our figures are read from the manifests and metrics of finished runs; nothing was trained or "
    f"probed for this page. Published figures are those of {PAPER}.",
    "The base recipes of gimstage train one module after another, each to its end: the iterative "
    "arm of the paper's figure 3. The paper's tables 1, 3 and 4 are simultaneous training, all "
    "modules in one loop; rows of ours that are trained so are named simultaneous.",
    "A figure is the mean ± the standard deviation of the sample, then in brackets the number of "
    "seeds. Figures of different protocols, data or settings are never averaged. What lies in "
    "several folders is one result and counts once.",
    SEEDS,
    f"Protocols: {'; '.join(f'{name} is {words}' for name, words in PROTOCOLS.items())}.",
)


@dataclass(frozen=True)
class Section:
    """A heading, and what stands below it."""

    heading: str
    content: tuple[Grid | Drawing, ...]


@dataclass(frozen=True)
class Document:
    """All that the report says.

    Args:
        notes: on what was left out or kept apart.
        sections: in order.
    """

    notes: tuple[str, ...]
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class Figures:
    """All that the report counts: what its tables are made of."""

    papers: tuple[SystemTable, ...]
    memories: tuple[MemoryTable, ...]
    modules: tuple[ModuleTable, ...]


def all_figures(report: Report) -> Figures:
    """The tables of the paper, and every recipe stage by stage."""
    return Figures(
        tuple(paper_tables(report)),
        tuple(memory_tables(report)),
        tuple(module_table(report, group) for group in report.groups),
    )


@dataclass(frozen=True)
class Contents:
    """What a section may be made of: the runs, what was counted of them, what was drawn."""

    report: Report
    figures: Figures
    drawings: tuple[Drawing, ...]


def compose(
    report: Report, figures: Figures, drawings: Sequence[Drawing], notes: Sequence[str]
) -> Document:
    """Put everything in order.

    Args:
        report: the runs.
        figures: the figures of all these tables.
        drawings: that were made.
        notes: why others were not.
    """
    contents = Contents(report, figures, tuple(drawings))
    sections = [Section(heading, tuple(make(contents))) for heading, make in SECTIONS.items()]
    kept = [section for section in sections if section.content]
    return Document((*report.notes, *notes), tuple(kept))


def _paper_table(number: int, contents: Contents) -> Iterator[Grid]:
    for table in contents.figures.papers:
        if table.number == number:
            yield accuracy_grid(table)
            yield cost_grid(table)


def _runs_grid(report: Report) -> Grid:
    rows = []
    for group in report.groups:
        stages = sorted({str(number) for run in group.runs for number in run.stages}, key=int)
        probes = sorted({name for run in group.runs for name in run.probes})
        rows.append(
            (
                group.recipe,
                ", ".join(" = ".join(run.folders) for run in group.runs),
                group.data_title or "–",
                ", ".join(stages) or "–",
                ", ".join(probes) or "–",
            )
        )
    heads = ("recipe", "runs", "data", "stages", "probes")
    caption = (
        "Runs of one line differ in their seeds only, and are averaged. What lies in several "
        "folders is counted once: one = other."
    )
    return Grid("Runs behind this page", caption, heads, frozenset(), tuple(rows))


# What stands below each heading of the report, in order.
SECTIONS: dict[str, Callable[[Contents], Iterable[Grid | Drawing]]] = {
    "Runs": lambda contents: [_runs_grid(contents.report)],
    "Table 1": partial(_paper_table, 1),
    "Table 2": lambda contents: map(memory_grid, contents.figures.memories),
    "Table 3": partial(_paper_table, 3),
    "Table 4": partial(_paper_table, 4),
    "Figures": lambda contents: contents.drawings,
    "All modules": lambda contents: [
        grid for table in contents.figures.modules for grid in module_grids(table)
    ],
}


def as_json(document: Document, figures: Figures, drawings: Sequence[Drawing]) -> dict[str, Any]:
    """Everything as plain JSON values, unrounded."""
    return {
        "format": 1,
        "notes": list(document.notes),
        "seeds": SEEDS,
        "tables": [_table_json(table) for table in figures.papers],
        "memory": [
            {"number": 2, "title": MEMORY_TITLE, **asdict(table)} for table in figures.memories
        ],
        "modules": [_modules_json(table) for table in figures.modules],
        "figures": [asdict(drawing) for drawing in drawings],
    }


def _table_json(table: SystemTable) -> dict[str, Any]:
    return {
        "number": table.number,
        "title": table.title,
        "base": table.base,
        "data": table.data,
        "published_unlike_ours": table.unlike,
        "rows": [_row_json(row) for row in table.rows],
        "notes": list(table.notes),
    }


def _row_json(row: SystemRow) -> dict[str, Any]:
    return {
        "system": row.system.name,
        "run": row.run,
        "published": {task: asdict(figure) for task, figure in row.published.items()},
        "published_note": row.system.source,
        "ours": [
            {"task": task, "protocol": protocol, **_measured_json(cell)}
            for (task, protocol), cell in row.cells.items()
        ],
        "took": [asdict(cost) for cost in row.costs],
        "notes": list(row.notes),
    }


def _measured_json(measured: Measured) -> dict[str, Any]:
    counted = {"mean": measured.mean, "std": measured.std, "n": len(measured.values)}
    return counted | asdict(measured)


def _modules_json(table: ModuleTable) -> dict[str, Any]:
    def plain(row: Any) -> dict[str, Any]:
        values = {name: getattr(row, name) for name in row.__dataclass_fields__}
        return {
            name: _measured_json(value) if isinstance(value, Measured) else value
            for name, value in values.items()
        }

    return {
        "recipe": table.label,
        "data": table.data,
        "runs": list(table.runs),
        "stages": [plain(row) for row in table.stages],
        "probes": [plain(row) for row in table.rows],
    }
