"""Figure 3: the loss of every module, trained one after another and simultaneously."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gimstage.report.collect import Group, Report
from gimstage.report.datasets import of_data
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
            _draw_guessing(axes, arms, module)
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
                f"Means over seeds, the range of the seeds shaded. {runs}."
                + of_data(report.data_title(base)),
                *([] if report.is_own(base) else _beside_paper(lacking)),
                *_without_validation(arms, modules),
            ]
        ),
        f"Line charts of the loss against the training step, one for each of {len(modules)} "
        f"modules. {_last_losses(arms, modules)}",
    )


def _beside_paper(lacking: Sequence[str]) -> list[str]:
    """How the paper trained, and which ways to train were not run here."""
    said = "The paper's tables are of simultaneous runs."
    return [said, *(f"Not run: {arm}." for arm in lacking)]


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
    """The modules of which a group has curves, by position in the network."""
    stages = [stage for run in group.runs for stage in run.stages.values()]
    return sorted({at for stage in stages for at in stage.chances if any(stage.points(at, LOSS))})


def curve(group: Group, module: int, key: str) -> Curve | None:
    """A loss of a module over the seeds of a group; None where none was logged."""
    seeds = [[*run.stages.values()] for run in group.runs]
    every = [dict(point for s in stages for point in s.points(module, key)) for stages in seeds]
    recorded = [points for points in every if points]
    steps = sorted(set.intersection(*map(set, recorded))) if recorded else []
    if not steps:
        return None
    values = [[points[step] for points in recorded] for step in steps]
    means = [sum(each) / len(each) for each in values]
    return Curve(steps, means, [min(each) for each in values], [max(each) for each in values])


def _draw(axes: Axes, arm: Arm, module: int) -> None:
    if line := curve(arm.group, module, LOSS):
        label = f"{arm.name}, training"
        axes.plot(line.steps, line.mean, color=arm.colour, linestyle=arm.dashes[0], label=label)
        if line.least != line.most:
            axes.fill_between(
                line.steps, line.least, line.most, color=arm.colour, alpha=0.18, linewidth=0
            )
    if line := curve(arm.group, module, VALIDATION):
        axes.plot(
            line.steps,
            line.mean,
            color=arm.colour,
            linestyle=arm.dashes[1],
            marker=arm.marker,
            markevery=max(1, len(line.steps) // MARKERS),
            markerfacecolor="white",
            label=f"{arm.name}, validation",
        )


def _draw_guessing(axes: Axes, arms: list[Arm], module: int) -> None:
    stages = [s for arm in arms for run in arm.group.runs for s in run.stages.values()]
    levels = {level for s in stages if (level := s.chances.get(module)) is not None}
    for level in sorted(levels):
        axes.axhline(level, color=GREY, linestyle=(0, (1, 2)), linewidth=1, label=GUESSING)


def _without_validation(arms: list[Arm], modules: list[int]) -> list[str]:
    """A sentence on the arms that logged no validation loss."""
    lacking = [
        arm.name for arm in arms if not any(curve(arm.group, m, VALIDATION) for m in modules)
    ]
    which = "" if len(lacking) == len(arms) else f": {', '.join(lacking)}"
    return [f"No validation loss was logged{which}."] if lacking else []


def _last_losses(arms: list[Arm], modules: list[int]) -> str:
    words = []
    for arm in arms:
        curves = [curve(arm.group, module, LOSS) for module in modules]
        last = ", ".join(f"{each.mean[-1]:.3f}" for each in curves if each)
        words.append(f"Last losses, {arm.name}: {last}.")
    return " ".join(words)
