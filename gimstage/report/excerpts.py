"""What excites a neuron, cut out of raw data and drawn: patches of images, snippets of speech."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gimstage.data.kinds import Kind
from gimstage.data.pixels import normalise
from gimstage.data.spectrogram import spectrogram
from gimstage.inputs import DataSet, Images, Speech
from gimstage.report.drawing import VERMILION
from gimstage.views import Spans, Windows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SNIPPET_FRAMES = 40  # 0.4 s
RANGE_DB = 70
MARK: Any = {"marker": "^", "color": VERMILION, "markersize": 4, "clip_on": False}

Image = NDArray[np.float32]


class Excerpts(ABC):
    """How excerpts of one kind of data are cut out and drawn.

    Attributes:
        neurons: how many of a module are drawn.
        row_inches: how high one row of them is.
        name: what an excerpt is, in the plural.
        source: what no two excerpts of a neuron come from.
        legend: how to read one; empty where that goes without saying.
    """

    neurons: ClassVar[int]
    row_inches: ClassVar[float]
    name: ClassVar[str]
    source: ClassVar[str]
    legend: ClassVar[str]

    @abstractmethod
    def cut(self, place: NDArray[np.int64]) -> Image:
        """The excerpt at a place that `neurons.search` found."""

    @abstractmethod
    def draw(self, axes: Axes, image: Image, loudest: float) -> None:
        """Draw an excerpt.

        Args:
            axes: where.
            image: the excerpt.
            loudest: the highest value in all excerpts of the figure.
        """


class Patches(Excerpts):
    """Patches of images, as the first module saw them.

    Args:
        images: the data set.
    """

    neurons, row_inches = 8, 0.5
    name, source, legend = "patches", "image", ""

    def __init__(self, images: Images) -> None:
        self.spec, self.pixels = images.spec, images.source()

    def cut(self, place: NDArray[np.int64]) -> Image:
        """A patch, (px, px, 3) or (px, px), on the scale 0 to 1; of other channels, their mean.

        Args:
            place: sample, view, row and column.
        """
        sample, view, row, column = place[:, None]
        buffer = self.pixels.buffer(1, 1)
        raw = self.pixels.fill(buffer, Windows(sample, view, row, column, 1))
        channels, depth = self.spec.channels, self.spec.in_channels
        scale = self.pixels.split.scale
        patch = normalise(
            raw, channels=channels, mean=[0.0] * depth, std=[1.0] * depth, scale=scale
        )[0]
        shown = patch.permute(1, 2, 0) if len(patch) == 3 else patch.mean(0)
        return shown.numpy()

    def draw(self, axes: Axes, image: Image, loudest: float) -> None:
        """Draw a patch into the axes."""
        axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")


class Snippets(Excerpts):
    """Spectrograms around frames of speech.

    Args:
        speech: the data set.
    """

    neurons, row_inches = 4, 0.85
    name, source = f"snippets of {SNIPPET_FRAMES / 100:g} s", "utterance"
    legend = " Spectrograms, 0 to 8 kHz; the mark is the frame of 10 ms."

    def __init__(self, speech: Speech) -> None:
        self.samples, self.frame_rows = speech.source(), speech.spec.frame_rows

    def cut(self, place: NDArray[np.int64]) -> Image:
        """The spectrogram around a frame, (bins, time), in dB.

        Args:
            place: entry and frame.
        """
        entry, frame = place
        first = np.array([(frame - SNIPPET_FRAMES // 2) * self.frame_rows])
        span = Spans(np.array([entry]), first, SNIPPET_FRAMES * self.frame_rows)
        wave = self.samples.fill(self.samples.buffer(1, span.count), span)[0, :, 0]
        return spectrogram(wave.numpy(), hop_samples=self.frame_rows // 2)

    def draw(self, axes: Axes, image: Image, loudest: float) -> None:
        """Draw a spectrogram, its frame marked."""
        axes.imshow(
            image,
            cmap="gray_r",
            vmin=loudest - RANGE_DB,
            vmax=loudest,
            origin="lower",
            aspect="auto",
        )
        axes.plot([image.shape[1] / 2], [0], **MARK)


_KINDS: dict[Kind, Callable[..., Excerpts]] = {"images": Patches, "speech": Snippets}


def excerpts_of(data: DataSet) -> Excerpts:
    """How excerpts of a data set are cut out and drawn."""
    return _KINDS[data.spec.kind](data)
