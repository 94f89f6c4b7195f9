"""Figure 4: the error of linear probes on every module, on a log scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from gimstage.report.collect import Group, Report
from gimstage.report.costs import Measured
from gimstage.report.datasets import of_data
from gimstage.report.drawing import (
    BLUE,
    GREEN,
    GREY,
    UNTRAINED,
    VERMILION,
    Drawing,
    label_outer,
    legend,
    page,
    panels,
    titled,
)
from gimstage.report.modules import ModuleRow, module_table
from gimstage.report.probed import BASELINES, LINEAR, PROTOCOLS, position, protocol_order

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 2
DODGE = 0.08
GIM = "Greedy InfoMax"
NOT_LINEAR = PROTOCOLS.keys() - LINEAR


@dataclass(frozen=True)
class Series:
    """The probes of one system, and how its line looks.

    Args:
        name: the name of the system.
        rows: the rows of linear probes, each with its module's position in the network, ascending.
        length: modules of its network.
        colour: the colour of the line.
        dashes: the pattern of the line.
        marker: at its points.
    """

    name: str
    rows: Sequence[tuple[int, ModuleRow]]
    length: int
    colour: str
    dashes: str
    marker: str

    def under(self, task: str, protocol: str) -> list[tuple[int, ModuleRow]]:
        """Its modules under one task and protocol."""
        return [(at, r) for at, r in self.rows if (r.task, r.protocol) == (task, protocol)]


def draw_errors(report: Report, base: str, folder: Path) -> Drawing | None:
    """Draw figure 4 of a base; None where nothing was probed.

    Args:
        report: the runs.
        base: the recipe trained one module after another.
        folder: to write to.
    """
    series, lacking = _series(report, base)
    probed = dict.fromkeys((row.task, row.protocol) for each in series for _, row in each.rows)
    tasks = [task for task, _ in probed]
    keys = sorted(probed, key=lambda key: (tasks.index(key[0]), protocol_order(key[1])))
    if not keys:
        return None
    name, columns = f"figure4_{base}", min(COLUMNS, len(keys))
    with page(0.8 + 2.1 * math.ceil(len(keys) / columns), folder, name) as figure:
        grid = panels(figure, len(keys), columns, share_y=False)
        for axes, (task, protocol) in zip(grid, keys, strict=True):
            titled(axes, f"{task}, protocol {protocol}")
            _draw(axes, series, task, protocol)
        label_outer(grid, columns, "module", "error in per cent, log scale")
        legend(figure, grid)
    return Drawing(
        name,
        f"Figure 4. Error of linear probes by module: {base}",
        "Means over seeds; bars are one standard deviation of the sample. Grey: the "
        f"modules of Greedy InfoMax before training.{_shifted(series)}"
        + of_data(report.data_title(base))
        + (f" Without probes: {', '.join(lacking)}." if lacking else ""),
        "Charts of the probes' error against the module on a log scale. "
        + " ".join(_in_words(series, *key) for key in keys),
    )


def _series(report: Report, base: str) -> tuple[list[Series], list[str]]:
    """The systems that were probed, and the names of the others."""
    known = {
        GIM: (base, BLUE, "-", "o"),
        f"{GIM}, simultaneous": (f"{base}_simultaneous", VERMILION, "--", "s"),
        "CPC": (f"{base}_cpc", GREEN, "-.", "^"),
    }
    series = []
    for name, (recipe, *style) in known.items():
        for group in report.of(recipe)[:1]:
            rows, length = _placed(report, group)
            series += [Series(name, rows, length, *style)] if rows else []
    return series, [name for name in known if name not in {each.name for each in series}]


def _placed(report: Report, group: Group) -> tuple[list[tuple[int, ModuleRow]], int]:
    """A group's linear probes with their modules' positions, and how many modules it has."""
    stages = {number: s for run in group.runs for number, s in run.stages.items()}
    rows = [
        (position(row.stage, stages), row)
        for row in module_table(report, group).rows
        if row.stage not in BASELINES and row.protocol not in NOT_LINEAR and row.accuracy
    ]
    rows.sort(key=itemgetter(0))
    ends = [at for at, _ in rows] + [stage.positions[-1] for stage in stages.values()]
    return rows, max(ends, default=0)


def _shift(each: Series, series: Sequence[Series]) -> int:
    """How far a shorter network than that of Greedy InfoMax is moved, to end above its end."""
    longest = max(other.length for other in series)
    return 0 if each.name == GIM else longest - each.length


def _shifted(series: Sequence[Series]) -> str:
    names = [each.name for each in series if _shift(each, series)]
    return f" Of fewer modules, and drawn to end above the last: {', '.join(names)}." * bool(names)


def _draw(axes: Axes, series: Sequence[Series], task: str, protocol: str) -> None:
    count, drawn = max(each.length for each in series), []
    for turn, each in enumerate(series):
        placed = each.under(task, protocol)
        rows = [row for _, row in placed]
        aside = DODGE * (turn - (len(series) - 1) / 2)  # so that equal errors are all seen
        at = [number + _shift(each, series) + aside for number, _ in placed]
        errors = [_error(row.accuracy, row) for row in rows]
        bars = [(row.accuracy and row.accuracy.std) or 0.0 for row in rows]
        axes.errorbar(
            at,
            errors,
            bars,
            color=each.colour,
            linestyle=each.dashes,
            marker=each.marker,
            markerfacecolor="white",
            capsize=2.5,
            elinewidth=0.9,
            label=each.name,
        )
        drawn += [e + side * b for e, b in zip(errors, bars, strict=True) for side in (-1, 1)]
        if each.name == GIM and all(row.random_init for row in rows):
            untrained = [_error(row.random_init, row) for row in rows]
            axes.plot(at, untrained, "x:", color=GREY, zorder=3, label=UNTRAINED)
            drawn += untrained
    axes.set_xticks(range(1, count + 1))
    axes.set_xlim(0.6, count + 0.4)
    _log_scale(axes, drawn)


def _error(accuracy: Measured | None, row: ModuleRow) -> float:
    """Per cent wrong; half a test sample where none was, so that it has a logarithm."""
    wrong = 100 - accuracy.mean if accuracy else 100.0
    return max(wrong, 50 / max(row.test_samples, 1))


def _log_scale(axes: Axes, values: Sequence[float]) -> None:
    """A log scale with few, plainly written ticks around the values."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    least = min((value for value in values if value > 0), default=1.0)
    low, high = least / 1.15, min(max(values) * 1.1, 104.0)  # no error is above 100
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(FixedLocator(log_ticks(low, min(high, 100.0))))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between two limits, four or more where steps of a half allow it."""
    decades = [10.0**exponent for exponent in range(-3, 3)]
    inside: list[float] = []
    for digits in ((1, 10), (1, 2, 5), (1, 2, 3, 5, 7)):
        ticks = sorted({digit * decade for decade in decades for digit in digits})
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) >= 4:
            return inside
    for step in (20.0, 10.0, 5.0, 2.0, 1.0, 0.5):
        inside = [step * n for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
        if len(inside) >= 4:
            return inside
    return inside


def _in_words(series: Sequence[Series], task: str, protocol: str) -> str:
    """The errors of one panel, for one who does not see it."""
    words = []
    for each in series:
        errors = [f"{_error(row.accuracy, row):.1f}" for _, row in each.under(task, protocol)]
        words += [f"{each.name} {', '.join(errors)}"] if errors else []
    return f"{task}, protocol {protocol}: {'; '.join(words)}."
