"""What all figures share: for print, for the colour-blind, and for one who does not see them.

Colours are those of Okabe and Ito; each line also has its own dashes or marker, so that none rests
on colour alone. Widths are inches on a page of 7 inches, letters are at least 8 points.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gimstage.files import appearing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAGE_INCHES = 7.0
GUESSING, UNTRAINED = REFERENCES = ("guessing", "before training")
BLUE, VERMILION, GREEN, BLACK, GREY = "#0072B2", "#D55E00", "#009E73", "#000000", "#808080"
STYLE: Any = {
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.labelsize": 8.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "lines.linewidth": 1.4,
    "lines.markersize": 5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "text.parse_math": False,  # a name with two dollars is no formula
    "svg.hashsalt": "gimstage",  # the same runs give the same file
}


@dataclass(frozen=True)
class Drawing:
    """A figure on disk, as `NAME.png` and `NAME.svg` in the figures folder.

    Args:
        name: the name of its files, without suffix.
        title: the title of the figure.
        caption: what it shows and of which runs.
        alt: the same for one who does not see it.
        inline: which of its files the page carries.
    """

    name: str
    title: str
    caption: str
    alt: str
    inline: Literal["svg", "png"] = "svg"


@contextmanager
def page(height: float, folder: Path, name: str) -> Iterator[Figure]:
    """An empty figure of page width; what was drawn is saved as PNG and SVG on leaving.

    Args:
        height: inches.
        folder: where to.
        name: the name of the files.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(PAGE_INCHES, height), layout="constrained")
        yield figure
        _save(figure, folder, name)


def _save(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure as PNG at 200 dots per inch and as SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    dateless: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "png": {"Software": None}}
    for form, metadata in dateless.items():
        with appearing(folder / f"{name}.{form}") as unfinished:
            figure.savefig(unfinished, format=form, dpi=200, metadata=metadata)


def panels(
    figure: Figure, count: int, columns: int, *, share_y: bool | Literal["row"]
) -> list[Axes]:
    """As many axes as asked for, row by row."""
    rows = math.ceil(count / columns)
    grid = list(figure.subplots(rows, columns, sharey=share_y, squeeze=False).flat)
    for axes in grid[count:]:
        axes.set_axis_off()
    return grid[:count]


def titled(axes: Axes, title: str) -> None:
    """Give a panel its title and small ticks."""
    axes.set_title(title)
    axes.tick_params(length=3, width=0.7)


def label_outer(grid: Sequence[Axes], columns: int, x: str, y: str) -> None:
    """Write what the axes mean at the left and below the lowest panel of each column."""
    for number, axes in enumerate(grid):
        if number + columns >= len(grid):
            axes.set_xlabel(x)
        if number % columns == 0:
            axes.set_ylabel(y)


def legend(figure: Figure, grid: Sequence[Axes]) -> None:
    """One legend for all panels, above them, what is only there to compare with at its end."""
    entries: dict[str, Any] = {}
    for axes in grid:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    labels = sorted(entries, key=REFERENCES.__contains__)
    figure.legend(
        [entries[label] for label in labels],
        labels,
        loc="outside upper center",
        ncols=min(3, len(labels)),
        frameon=False,
        handlelength=3.2,
    )
