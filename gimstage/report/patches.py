"""Figure 2: what excites neurons most, as patches of images or as snippets of spectrograms.

The channels of a stage are its neurons. Drawn are those whose pooled activation varies most, each
with its k best places, of three stages: the first, the last and one between them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from gimstage.data.kinds import Kind
from gimstage.data.stl10 import normalise
from gimstage.errors import GimstageError
from gimstage.inputs import DataSet, Images, Speech
from gimstage.progress import Progress, Watch
from gimstage.report.collect import Report
from gimstage.report.drawing import GREY, VERMILION, Drawing, page
from gimstage.report.folders import Notes, Run
from gimstage.report.neurons import search
from gimstage.report.raw import find_raw
from gimstage.report.stageruns import StageRun
from gimstage.views import FRAME_SAMPLES, Spans, Windows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STAGES, KEPT = 3, 4
NEURONS = {"images": 8, "speech": 4}
SNIPPET_FRAMES = 40  # 0.4 s
WINDOW, BINS, RANGE_DB = 400, 512, 70
MARK: Any = {"marker": "^", "color": VERMILION, "markersize": 4, "clip_on": False}

Cut = Callable[[NDArray[np.int64]], NDArray[np.float32]]  # a place ─► an image


@dataclass(frozen=True)
class Found:
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
        raw = find_raw(stages[0].identity, report.root, data)
        if raw is None:
            sha = stages[0].identity["data_sha256"][:8]
            notes.append(f"figure 2 of {base}: data {sha} not found; not drawn; add --data DIR")
            return None
        found = [_search(stage, raw, watch) for stage in stages]
    except GimstageError as error:
        notes.append(f"figure 2 of {base}: {error}; not drawn")
        return None
    speech, name = raw.spec.kind == "speech", f"figure2_{base}"
    rows = max(1, *(len(each.shown) for each in found))
    with page(0.35 + rows * (0.85 if speech else 0.5), folder, name) as figure:
        _draw(figure, found, rows, speech=speech)
    return _described(name, base, run, found, speech=speech)


def _described(name: str, base: str, run: Run, found: list[Found], *, speech: bool) -> Drawing:
    what = f"snippets of {SNIPPET_FRAMES / 100:g} s" if speech else "patches"
    source = "utterance" if speech else "image"
    neurons = "; ".join(
        f"module {each.module}, channels {', '.join(map(str, each.shown)) or 'none'}"
        for each in found
    )
    return Drawing(
        name,
        f"Figure 2. What excites neurons most: {base}",
        f"Run {run.name}. A row is one channel, its number at the left; its {KEPT} {what} have the "
        f"highest pooled activation, strongest first, no {source} twice. Shown are the channels "
        f"whose pooled activation varies most.{_unstored(run)}"
        + (" Spectrograms, 0 to 8 kHz; the mark is the frame of 10 ms." if speech else ""),
        f"The {what} that excite single channels most: {neurons}.",
        inline="png",
    )


def _stored(run: Run) -> list[StageRun]:
    """The stages that store features."""
    return [stage for stage in run.stages.values() if stage.folder.features.exists()]


def _unstored(run: Run) -> str:
    """Which modules cannot be shown."""
    modules = {at for stage in run.stages.values() for at in stage.positions}
    lacking = sorted(modules - {stage.positions[-1] for stage in _stored(run)})
    return f" Without stored features: module {', '.join(map(str, lacking))}." * bool(lacking)


def _search(stage: StageRun, raw: DataSet, watch: Watch) -> Found:
    task = f"{stage.folder.path.parent.name}/{stage.number} neurons"

    def read(done: int, total: int) -> None:
        watch.leave_if_asked()
        if watch.due() or done == total:
            watch.report(Progress(task, done, total, "rows"))

    with stage.folder.reading():
        best = search(stage.folder.open_features(), KEPT, read)
    speech = raw.spec.kind == "speech"
    cut = CUTS[raw.spec.kind](raw)
    shown = {
        neuron: [
            cut(place)
            for place, value in zip(best.places[:, neuron], best.values[:, neuron], strict=True)
            if torch.isfinite(value)  # else there are fewer samples than are drawn
        ]
        for neuron in best.varied(NEURONS["speech" if speech else "images"])
    }
    return Found(stage.positions[-1], shown)  # of several modules, the last one's are stored


def _patches(images: Images) -> Cut:
    """Cuts a patch, (px, px, 3) or (px, px) on the scale 0 to 1, as the module saw it."""
    source = images.source()

    def cut(place: NDArray[np.int64]) -> NDArray[np.float32]:
        sample, view, row, column = place[:, None]
        raw = source.fill(source.buffer(1, 1), Windows(sample, view, row, column, 1))
        channels, depth = images.spec.channels, images.spec.in_channels
        pixels = normalise(raw, channels=channels, mean=[0.0] * depth, std=[1.0] * depth)[0]
        return (pixels[0] if depth == 1 else pixels.permute(1, 2, 0)).numpy()

    return cut


def _snippets(speech: Speech) -> Cut:
    """Cuts the spectrogram around a frame, (bins, time) in dB."""
    source, half = speech.source(), SNIPPET_FRAMES // 2

    def cut(place: NDArray[np.int64]) -> NDArray[np.float32]:
        entry, frame = place
        first = np.array([(frame - half) * FRAME_SAMPLES])
        span = Spans(np.array([entry]), first, SNIPPET_FRAMES * FRAME_SAMPLES)
        wave = source.fill(source.buffer(1, span.count), span)[0, :, 0]
        window = torch.hann_window(WINDOW)
        spectrum = torch.stft(wave, BINS, FRAME_SAMPLES // 2, WINDOW, window, return_complex=True)
        level: NDArray[np.float32] = (20 * torch.log10(spectrum.abs() + 1e-4)).numpy()
        return level

    return cut


CUTS: dict[Kind, Callable[..., Cut]] = {"images": _patches, "speech": _snippets}


def _draw(figure: Figure, found: list[Found], rows: int, *, speech: bool) -> None:
    """A subfigure of each stage, their rows level with one another."""
    engine: Any = figure.get_layout_engine()
    engine.set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    images = [image for each in found for shown in each.shown.values() for image in shown]
    loudest = float(max((image.max() for image in images), default=0))
    look: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 1, "interpolation": "nearest"}
    if speech:
        look = {"cmap": "gray_r", "vmin": loudest - RANGE_DB, "vmax": loudest}
        look |= {"origin": "lower", "aspect": "auto"}
    parts = figure.subfigures(1, len(found), squeeze=False, wspace=0.04).flat
    for part, each in zip(parts, found, strict=True):
        part.suptitle(f"module {each.module}", fontsize=9)
        grid: Any = part.subplots(rows, KEPT, squeeze=False)
        for axis in grid.flat:
            _bare(axis)
        neurons = [*each.shown.items(), *[("", [])] * (rows - len(each.shown))]
        for line, (neuron, best) in zip(grid, neurons, strict=True):
            line[0].set_ylabel(str(neuron), rotation=0, ha="right", va="center", fontsize=8)
            for axis, image in zip(line, best, strict=False):
                axis.imshow(image, **look)
                if speech:
                    axis.plot([image.shape[1] / 2], [0], **MARK)
            for axis in line[len(best) :]:
                axis.set_visible(False)


def _bare(axis: Any) -> None:
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():  # or white patches would not be seen on white paper
        spine.set(visible=True, linewidth=0.4, color=GREY)
