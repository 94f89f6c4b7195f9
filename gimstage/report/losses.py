"""Figure 3: the loss of every module, trained one after another and simultaneously."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gimstage.report.collect import Group, Report
from gimstage.report.drawing import (
    BLUE,
    GREY,
    GUESSING,
    VERMILION,
    Drawing,
    label_outer,
    legend,
    page,
    panels,
    titled,
)
from gimstage.report.folders import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOSS, VALIDATION = "loss", "validation_loss"
COLUMNS, MARKERS = 3, 6


@dataclass(frozen=True)
class Curve:
    """A loss at the steps that all seeds logged: their mean, and the lowest and highest of them."""

    steps: list[int]
    mean: list[float]
    least: list[float]
    most: list[float]


@dataclass(frozen=True)
class Arm:
    """One way to train, and how its lines look: training, validation."""

    name: str
    group: Group
    colour: str
    dashes: tuple[str, str]
    marker: str


def draw_losses(report: Report, base: str, folder: Path) -> Drawing | None:
    """Draw figure 3 of a base; None where no loss was logged.

    Args:
        report: the runs.
        base: the recipe trained one module after another.
        folder: to write to.
    """
    from matplotlib.ticker import MaxNLocator

    arms, lacking = _arms(report, base)
    modules = sorted({number for arm in arms for number in modules_of(arm.group)})
    if not modules:
        return None
    name, columns = f"figure3_{base}", min(COLUMNS, len(modules))
    with page(0.8 + 1.8 * math.ceil(len(modules) / columns), folder, name) as figure:
        grid = panels(figure, len(modules), columns, share_y=True)
        for axes, module in zip(grid, modules, strict=True):
            titled(axes, f"module {module}")
            for arm in arms:
                _draw(axes, arm, module)
            _draw_guessing(axes, arms)
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        label_outer(grid, columns, "training step", "loss")
        legend(figure, grid)
    runs = "; ".join(f"{arm.name}: {', '.join(arm.group.names)}" for arm in arms)
    runs = runs[:1].upper() + runs[1:]
    return Drawing(
        name,
        f"Figure 3. Loss of every module: {base}",
        " ".join(
            [
                f"Means over seeds, the range of the seeds shaded. {runs}.",
                *(f"Not run: {arm}." for arm in lacking),
                *([] if _validated(arms, modules) else ["No validation loss was logged."]),
            ]
        ),
        f"Line charts of the loss against the training step, one for each of {len(modules)} "
        f"modules. {_last_losses(arms, modules)}",
    )


def _arms(report: Report, base: str) -> tuple[list[Arm], list[str]]:
    """The ways to train that were run, and the names of the others."""
    known = (
        ("one module after another", base, BLUE, ("-", "--"), "o"),
        ("simultaneous", f"{base}_simultaneous", VERMILION, ("-.", ":"), "s"),
    )
    arms = [
        Arm(name, groups[0], colour, dashes, marker)
        for name, recipe, colour, dashes, marker in known
        if (groups := report.of(recipe)) and modules_of(groups[0])
    ]
    return arms, [name for name, *_ in known if name not in {arm.name for arm in arms}]


def modules_of(group: Group) -> list[int]:
    """The modules of which a group has curves."""
    found: set[int] = set()
    for run in group.runs:
        for number, stage in run.stages.items():
            together = max((len(_together(line)) for line in stage.lines), default=0)
            found |= set(range(1, together + 1)) if together else set()
            found |= {number} if stage.lines and not together else set()
    return sorted(found)


def _together(line: dict[str, object]) -> list[object]:
    """What a line says of each module, where one stage trains several."""
    several = line.get("modules")
    return several if isinstance(several, list) else []


def curve(group: Group, module: int, key: str) -> Curve | None:
    """A loss of a module over the seeds of a group; None where none was logged."""
    found = [points for run in group.runs if (points := dict(_points(run, module, key)))]
    steps = sorted(set.intersection(*map(set, found))) if found else []
    if not steps:
        return None
    values = [[points[step] for points in found] for step in steps]
    means = [sum(seeds) / len(seeds) for seeds in values]
    return Curve(steps, means, [min(seeds) for seeds in values], [max(seeds) for seeds in values])


def _points(run: Run, module: int, key: str) -> Iterator[tuple[int, float]]:
    """Step and loss of a module, from its own stage or from one that trains several at once."""
    for number, stage in run.stages.items():
        for line in stage.lines:
            together = _together(line)
            entry: object = line if number == module and not together else None
            if len(together) >= module:
                entry = together[module - 1]
            value = entry.get(key) if isinstance(entry, dict) else None
            if isinstance(value, int | float) and math.isfinite(value):
                yield line["step"], value


def _draw(axes: Axes, arm: Arm, module: int) -> None:
    if found := curve(arm.group, module, LOSS):
        label = f"{arm.name}, training"
        axes.plot(found.steps, found.mean, color=arm.colour, linestyle=arm.dashes[0], label=label)
        if found.least != found.most:
            axes.fill_between(
                found.steps, found.least, found.most, color=arm.colour, alpha=0.18, linewidth=0
            )
    if found := curve(arm.group, module, VALIDATION):
        axes.plot(
            found.steps,
            found.mean,
            color=arm.colour,
            linestyle=arm.dashes[1],
            marker=arm.marker,
            markevery=max(1, len(found.steps) // MARKERS),
            markerfacecolor="white",
            label=f"{arm.name}, validation",
        )


def _draw_guessing(axes: Axes, arms: list[Arm]) -> None:
    stages = [s for arm in arms for run in arm.group.runs for s in run.stages.values()]
    for level in sorted({s.chance_loss for s in stages if s.chance_loss is not None}):
        axes.axhline(level, color=GREY, linestyle=(0, (1, 2)), linewidth=1, label=GUESSING)


def _validated(arms: list[Arm], modules: list[int]) -> bool:
    return any(curve(arm.group, module, VALIDATION) for arm in arms for module in modules)


def _last_losses(arms: list[Arm], modules: list[int]) -> str:
    words = []
    for arm in arms:
        curves = [curve(arm.group, module, LOSS) for module in modules]
        last = ", ".join(f"{found.mean[-1]:.3f}" for found in curves if found)
        words.append(f"Last losses, {arm.name}: {last}.")
    return " ".join(words)
