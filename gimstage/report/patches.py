"""Figure 2: what excites neurons most, as patches of images or as snippets of spectrograms.

The channels of a stage are its neurons. Drawn are those whose pooled activation varies most, each
with its k best places, of three stages: the first, the last and one between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from gimstage.errors import GimstageError
from gimstage.progress import Progress, Watch
from gimstage.report.collect import Report
from gimstage.report.datasets import joined, of_data, title_of
from gimstage.report.drawing import GREY, Drawing, page
from gimstage.report.excerpts import Excerpts, excerpts_of
from gimstage.report.folders import Notes, RecipeRun
from gimstage.report.neurons import search
from gimstage.report.raw import find_raw
from gimstage.report.stageruns import StageRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STAGES, KEPT = 3, 4


@dataclass(frozen=True)
class Searched:
    """What excites one module's chosen neurons.

    Args:
        module: its position in the network.
        shown: by channel, the images to draw, strongest first.
    """

    module: int
    shown: dict[int, list[NDArray[np.float32]]]


def draw_patches(
    report: Report, base: str, folder: Path, *, data: Path | None, notes: Notes, watch: Watch
) -> Drawing | None:
    """Draw figure 2 of a base; None where its features or its data are not there.

    Args:
        report: the runs.
        base: the recipe trained one module after another.
        folder: to write to.
        data: where its raw data lies, if it is neither a demo's nor remembered below the runs.
        notes: takes up why there is no figure.
        watch: hears of progress, asks to stop.
    """
    run = next((r for group in report.of(base)[:1] for r in group.runs if _stored(r)), None)
    if run is None:
        notes.append(f"figure 2 of {base}: no stage of it stores features; not drawn")
        return None
    stored = _stored(run)
    spread = np.linspace(0, len(stored) - 1, min(STAGES, len(stored)))
    stages = [stored[int(at)] for at in spread]
    try:
        raw = find_raw(stages[0].manifest, report.root, data)
        if raw is None:
            sha = stages[0].manifest.data_sha256[:8]
            notes.append(f"figure 2 of {base}: data {sha} not found; not drawn; add --data DIR")
            return None
        excerpts = excerpts_of(raw)
        searched = [_search(stage, excerpts, watch) for stage in stages]
    except GimstageError as error:
        notes.append(f"figure 2 of {base}: {error}; not drawn")
        return None
    name, rows = f"figure2_{base}", max(1, *(len(each.shown) for each in searched))
    with page(0.35 + rows * excerpts.row_inches, folder, name) as figure:
        _draw(figure, searched, rows, excerpts)
    return _described(name, base, run, searched=searched, excerpts=excerpts)


def _described(
    name: str, base: str, run: RecipeRun, *, searched: list[Searched], excerpts: Excerpts
) -> Drawing:
    neurons = "; ".join(
        f"module {each.module}, channels {', '.join(map(str, each.shown)) or 'none'}"
        for each in searched
    )
    title = joined(title_of(stage.manifest) for stage in run.stages.values())
    return Drawing(
        name,
        f"Figure 2. What excites neurons most: {base}",
        f"Run {run.name}. A row is one channel, its number at the left; its {KEPT} "
        f"{excerpts.name} have the highest pooled activation, strongest first, no "
        f"{excerpts.source} twice. Shown are the channels whose pooled activation varies most."
        f"{_unstored(run)}{excerpts.legend}{of_data(title)}",
        f"The {excerpts.name} that excite single channels most: {neurons}.",
        inline="png",
    )


def _stored(run: RecipeRun) -> list[StageRun]:
    """The stages that store features."""
    return [stage for stage in run.stages.values() if stage.folder.features.exists()]


def _unstored(run: RecipeRun) -> str:
    """Which modules cannot be shown."""
    modules = {at for stage in run.stages.values() for at in stage.positions}
    lacking = sorted(modules - {stage.positions[-1] for stage in _stored(run)})
    return f" Without stored features: module {', '.join(map(str, lacking))}." * bool(lacking)


def _search(stage: StageRun, excerpts: Excerpts, watch: Watch) -> Searched:
    task = f"{stage.folder.path.parent.name}/{stage.number} neurons"

    def read(done: int, total: int) -> None:
        watch.leave_if_asked()
        if watch.due() or done == total:
            watch.report(Progress(task, done, total, "rows"))

    with stage.folder.reading(watch.pause, leave=False):
        # Read twice, but then no neuron is shown by values that are damaged.
        reader = stage.folder.open_features(full=True, read=lambda _: watch.leave_if_asked())
        best = search(reader, KEPT, read)
    shown = {
        neuron: [
            excerpts.cut(place)
            for place, value in zip(best.places[:, neuron], best.values[:, neuron], strict=True)
            if torch.isfinite(value)  # else there are fewer samples than are drawn
        ]
        for neuron in best.varied(excerpts.neurons)
    }
    return Searched(stage.positions[-1], shown)  # of several modules, the last one's are stored


def _draw(figure: Figure, searched: list[Searched], rows: int, excerpts: Excerpts) -> None:
    """A subfigure of each stage, their rows level with one another."""
    engine: Any = figure.get_layout_engine()
    engine.set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    images = [image for each in searched for shown in each.shown.values() for image in shown]
    loudest = float(max((image.max() for image in images), default=0))
    panels = figure.subfigures(1, len(searched), squeeze=False, wspace=0.04).flat
    for panel, each in zip(panels, searched, strict=True):
        panel.suptitle(f"module {each.module}", fontsize=9)
        grid: Any = panel.subplots(rows, KEPT, squeeze=False)
        for axis in grid.flat:
            _bare(axis)
        neurons = [*each.shown.items(), *[("", [])] * (rows - len(each.shown))]
        for line, (neuron, best) in zip(grid, neurons, strict=True):
            line[0].set_ylabel(str(neuron), rotation=0, ha="right", va="center", fontsize=8)
            for axis, image in zip(line, best, strict=False):
                excerpts.draw(axis, image, loudest)
            for axis in line[len(best) :]:
                axis.set_visible(False)


def _bare(axis: Any) -> None:
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():  # or white patches would not be seen on white paper
        spine.set(visible=True, linewidth=0.4, color=GREY)
