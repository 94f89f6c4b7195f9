"""Tables as text, ready for Markdown, HTML and the terminal alike: one rounding for all of them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gimstage.report.costs import Cost, Measured
from gimstage.report.datasets import of_data
from gimstage.report.modules import Memory, MemoryTable, ModuleTable
from gimstage.report.probed import LINEAR, PROTOCOLS, protocol_order
from gimstage.report.published import MEMORY_TITLE, Published
from gimstage.report.tables import SystemRow, SystemTable
from gimstage.sizes import format_bytes, format_duration

NOT_RUN, NOT_MEASURED, NONE = "not run", "not measured", "–"
SPENT = ("steps", "memory predicted", "memory measured", "disk", "training")
MARKS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Grid:
    """A table of words.

    Args:
        title: with the table's number.
        caption: what its figures are.
        columns: their heads.
        numbers: indices of the columns to align right.
        rows: the rows, of as many cells as there are columns.
        notes: below it.
    """

    title: str
    caption: str
    columns: tuple[str, ...]
    numbers: frozenset[int]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def accuracy_grid(table: SystemTable) -> Grid:
    """A table of the paper: published figures beside ours, per task and protocol."""
    columns = ["system", *(f"{task}, published" for task in table.tasks)]
    keys = [(task, protocol) for task in table.tasks for protocol in table.protocols]
    columns += [*(f"{task}, {protocol}" for task, protocol in keys), "ours from"]
    marks = _Marks()
    rows = []
    for row in table.rows:
        published = [_published(row.published.get(task), table) for task in table.tasks]
        ours = [
            percent(row.cells[key]) if key in row.cells else NONE if row.run else NOT_RUN
            for key in keys
        ]
        sources = "; ".join(dict.fromkeys(cell.source for cell in row.cells.values()))
        name = row.system.name + marks.of(_remarks(row))
        rows.append((name, *published, *ours, sources or NONE))
    return Grid(
        f"Table {table.number}. {table.title}" + _of(table.base),
        "Per cent; ours as mean ± standard deviation of the sample over n seeds, by protocol."
        + of_data(table.data),
        tuple(columns),
        frozenset(range(1, len(columns) - 1)),
        tuple(rows),
        (*_unlike(table), *marks.notes, *_explained(table.protocols), *table.notes),
    )


def _published(figure: Published | None, table: SystemTable | MemoryTable, unit: str = "") -> str:
    """A figure of the paper; in brackets where it is no measure of the runs beside it."""
    if figure is None:
        return NONE
    return f"({figure}{unit})" if table.unlike else f"{figure}{unit}"


def _unlike(table: SystemTable | MemoryTable) -> tuple[str, ...]:
    return (table.unlike,) if table.unlike else ()


def _explained(protocols: Iterable[str]) -> Iterator[str]:
    """What those protocols are that are no linear probes."""
    for protocol in protocols:
        if protocol in PROTOCOLS and protocol not in LINEAR:
            yield f"Protocol {protocol}: {PROTOCOLS[protocol]}."


class _Marks:
    """Letters behind names, for notes below a table; the same note has one letter."""

    def __init__(self) -> None:
        self._letters: dict[str, str] = {}

    def of(self, notes: Iterable[str]) -> str:
        """The marks to put behind a name that some notes belong to."""
        for note in notes:
            again, letter = divmod(len(self._letters), len(MARKS))
            self._letters.setdefault(note, MARKS[letter] * (again + 1))
        letters = ",".join(self._letters[note] for note in notes)
        return f" [{letters}]" if letters else ""

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes that the marks given out so far stand for."""
        return tuple(f"[{letter}] {note}." for note, letter in self._letters.items())


def _remarks(row: SystemRow) -> list[str]:
    published = [f"published: {row.system.source}"] if row.system.source else []
    return [*published, *(f"ours {note}" for note in row.notes)]


def cost_grid(table: SystemTable) -> Grid:
    """What stands behind the figures of a table: data, steps, memory, disk, time."""
    columns = (
        *("system", "recipe", "seeds", "data", "samples", "probe train / test"),
        *SPENT,
    )
    rows: list[tuple[str, ...]] = []
    for row in table.rows:
        rows += [(row.system.name, *_cost_cells(cost)) for cost in row.costs]
        if not row.costs:
            sources = [cell.source.partition(",")[0] for cell in row.cells.values()]
            words = f"see {sources[0]}" if sources else NOT_RUN
            rows.append((row.system.name, words, *[NONE] * (len(columns) - 2)))
    return Grid(
        f"Table {table.number}, what it took" + _of(table.base),
        "A run's own stages together, as the mean over seeds; memory is of the largest stage, "
        "reserved on the GPU, and only measured on one." + of_data(table.data),
        columns,
        frozenset({2, 4, 5, 6, 7, 8, 9, 10}),
        tuple(rows),
        _devices([cost for row in table.rows for cost in row.costs]),
    )


def _devices(costs: Sequence[Any]) -> tuple[str, ...]:
    """Where the times come from, which only compare on one device."""
    devices = list(dict.fromkeys(cost.device for cost in costs if cost.device))
    return (f"Trained on: {'; '.join(devices)}.",) if devices else ()


def _cost_cells(cost: Cost) -> tuple[str, ...]:
    return (
        cost.recipe,
        str(cost.seeds),
        f"{cost.split} {cost.data_sha256[:8]}" if cost.data_sha256 else NONE,
        format_count(cost.samples),
        NONE if cost.probe_samples is None else " / ".join(map(format_count, cost.probe_samples)),
        *_spent_cells(cost),
    )


def _spent_cells(cost: Any) -> tuple[str, ...]:
    return (
        format_count(cost.steps),
        format_size(cost.predicted_bytes),
        NONE if cost.steps is None else _measured_size(cost.measured_bytes),
        format_size(cost.disk_bytes),
        format_time(cost.seconds),
    )


def _measured_size(value: int | None) -> str:
    return NOT_MEASURED if value is None else format_size(value)


def memory_grid(table: MemoryTable) -> Grid:
    """Table 2: published GB beside ours, predicted and measured, and shares of the whole."""
    columns = ("system", "published", "predicted", "measured")
    shares = ("share, published", "share, predicted", "share, measured")
    assert table.whole, "no table is made without"
    whole = table.whole
    return Grid(
        f"Table 2. {MEMORY_TITLE}" + _of(table.base),
        "Reserved GPU memory of the largest stage, the most over the seeds; shares are of Greedy "
        "InfoMax with all modules at once." + of_data(table.data),
        (*columns, *shares),
        frozenset(range(1, 7)),
        tuple(_memory_cells(row, whole, table) for row in table.rows),
        (
            *_unlike(table),
            "Published without batch size and allocator, so compare the shares.",
            "Ours are of the batch size in the recipe; only a GPU's memory is measured.",
            *_devices(table.rows),
        ),
    )


def _memory_cells(row: Memory, whole: Memory, table: MemoryTable) -> tuple[str, ...]:
    published = _published(row.published, table, " GB")
    ours: tuple[str, ...] = (NOT_RUN, NOT_RUN)
    if row.recipe:
        ours = (format_size(row.predicted_bytes), _measured_size(row.measured_bytes))
    return (
        row.system,
        published,
        *ours,
        _share(_gigabytes(row.published), _gigabytes(whole.published)),
        _share(row.predicted_bytes, whole.predicted_bytes),
        _share(row.measured_bytes, whole.measured_bytes),
    )


def _gigabytes(published: Published | None) -> float | None:
    return None if published is None else published.value


def _share(part: float | None, whole: float | None) -> str:
    return f"{part / whole:.2f}" if part and whole else NONE


def module_grids(table: ModuleTable) -> list[Grid]:
    """All stages of a recipe, then all probed inputs of it."""
    grids = []
    if table.stages:
        columns = ("stage", "modules", "last loss", "loss of guessing", *SPENT)
        rows = [
            (
                row.stage,
                row.kind,
                number(row.last_loss, "{:.3f}"),
                NONE if row.chance_loss is None else f"{row.chance_loss:.3f}",
                *_spent_cells(row),
            )
            for row in table.stages
        ]
        title, notes = f"Stages of {table.label}", _devices(table.stages)
        right = frozenset(range(2, len(columns)))
        caption = f"Runs: {', '.join(table.runs)}." + of_data(table.data)
        if any("." in row.stage for row in table.stages):
            caption += " A stage whose modules have losses of their own has a row for each of them."
        grids.append(Grid(title, caption, columns, right, tuple(rows), notes))
    return [*grids, _probe_grid(table)] if table.rows else grids


def _probe_grid(table: ModuleTable) -> Grid:
    """A row per input and task; accuracy, the same before training and the gain per protocol."""
    by_key = {(row.task, row.stage, row.protocol): row for row in table.rows}
    protocols = sorted(dict.fromkeys(row.protocol for row in table.rows), key=protocol_order)
    heads = ["input", "task"]
    for protocol in protocols:
        heads += [protocol, f"{protocol}, random init", f"{protocol}, gain"]
    rows = []
    for task, stage in dict.fromkeys((row.task, row.stage) for row in table.rows):
        probed = [by_key.get((task, stage, protocol)) for protocol in protocols]
        cells = [stage, task]
        for row in probed:
            accuracy, random_init = (row.accuracy, row.random_init) if row else (None, None)
            cells += [percent(accuracy), percent(random_init), _gain(accuracy, random_init)]
        chance = next(row.chance for row in probed if row)
        rows.append((*cells, NONE if chance is None else f"{chance.mean:.1f}"))
    return Grid(
        f"All modules of {table.label}",
        "Per cent, by protocol; gain in points over the same module before training. "
        f"Runs: {', '.join(table.runs)}." + of_data(table.data),
        (*heads, "chance"),
        frozenset(range(2, len(heads) + 1)),
        tuple(rows),
    )


def _gain(accuracy: Measured | None, random_init: Measured | None) -> str:
    if accuracy is None or random_init is None:
        return NONE
    gain = round(accuracy.mean - random_init.mean, 1) + 0.0  # no minus before a zero
    return f"{gain:+.1f}".replace("-", "−")


def _of(base: str | None) -> str:
    return f": {base}" if base else ""


def percent(measured: Measured | None) -> str:
    """Mean ± std (n), one digit behind the point."""
    return number(measured, "{:.1f}")


def number(measured: Measured | None, form: str) -> str:
    """Mean ± std (n) in a form; the std only where there are several seeds."""
    if measured is None:
        return NONE
    std = "" if measured.std is None else " ± " + form.format(measured.std)
    return f"{form.format(measured.mean)}{std} ({len(measured.values)})"


def format_count(value: int | None) -> str:
    """A whole number with its thousands parted."""
    return NONE if value is None else f"{value:,}"


def format_size(value: float | None) -> str:
    """Bytes in the unit that suits them."""
    return NONE if value is None else format_bytes(value)


def format_time(seconds: float | None) -> str:
    """A span of time in seconds, minutes or hours."""
    return NONE if seconds is None else format_duration(seconds)


def terminal_rows(tables: Sequence[SystemTable]) -> list[dict[str, str]]:
    """One row per system of every table for a terminal: table, base, system, data, figures."""
    shown = []
    for table in tables:
        for row in table.rows:
            ours = [
                f"{task} {protocol} {percent(cell)}" for (task, protocol), cell in row.cells.items()
            ]
            published = [f"{task} {_published(f, table)}" for task, f in row.published.items()]
            shown.append(
                {
                    "table": str(table.number),
                    "base": table.base or NONE,
                    "system": row.system.name,
                    "data": table.data or NONE,
                    "published": ", ".join(published) or NONE,
                    "ours": "\n".join(ours) or (NONE if row.run else NOT_RUN),
                }
            )
    return shown
