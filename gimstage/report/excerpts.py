"""What excites a neuron, cut out of raw data and drawn: patches, or snippets of sequences."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gimstage.data.pixels import normalise
from gimstage.data.spectrogram import spectrogram
from gimstage.inputs import DataSet, Images, Sequences
from gimstage.report.drawing import VERMILION
from gimstage.views import Ints, Spans, Squares, StoredMaps, Windows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SURROUNDINGS_PX = 64
SNIPPET_FRAMES = 40  # 0.4 s
RANGE_DB = 70
TRACE_STEP = 4  # standard deviations from one channel to the next
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
    source: str
    legend: str

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
        seen = self._seen(*place[:, None])
        raw = self.pixels.fill(self.pixels.buffer(1, seen.size), seen)
        channels, depth = self.spec.channels, self.spec.in_channels
        scale = self.pixels.split.scale
        patch = normalise(
            raw, channels=channels, mean=[0.0] * depth, std=[1.0] * depth, scale=scale
        )[0]
        shown = patch.permute(1, 2, 0) if len(patch) == 3 else patch.mean(0)
        return shown.numpy()

    def _seen(self, sample: Ints, view: Ints, row: Ints, column: Ints) -> Windows | Squares:
        """One patch of a stored grid."""
        return Windows(sample, view, row, column, 1)

    def draw(self, axes: Axes, image: Image, loudest: float) -> None:
        """Draw a patch into the axes."""
        axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")


class Surroundings(Patches):
    """Squares of images around positions of whole maps."""

    name, legend = f"squares of {SURROUNDINGS_PX} px", " A position stands for the middle."

    def _seen(self, sample: Ints, view: Ints, row: Ints, column: Ints) -> Squares:
        """The square around a pixel, moved inwards at the edges of the image."""
        size = min(SURROUNDINGS_PX, self.spec.image_px)
        y, x = ((at - size // 2).clip(0, self.spec.image_px - size) for at in (row, column))
        return Squares(sample, view, y, x, size)


class Traces(Excerpts):
    """Channels in time around frames of sequences, one above another.

    Args:
        sequences: the data set.
    """

    neurons, row_inches = 4, 0.85
    name = f"snippets of {SNIPPET_FRAMES} frames"
    legend = " Channels in standard deviations, one above another; the mark is the frame."

    def __init__(self, sequences: Sequences[Any]) -> None:
        self.rows, self.frame_rows = sequences.source(), sequences.spec.frame_rows
        self.source = sequences.spec.sample_name

    def cut(self, place: NDArray[np.int64]) -> Image:
        """The normalised channels around a frame, (C, time).

        Args:
            place: entry and frame.
        """
        entry, frame = place
        first = np.array([(frame - SNIPPET_FRAMES // 2) * self.frame_rows])
        span = Spans(np.array([entry]), first, SNIPPET_FRAMES * self.frame_rows)
        rows = self.rows.fill(self.rows.buffer(1, span.count), span)[0]
        return rows.numpy().T

    def draw(self, axes: Axes, image: Image, loudest: float) -> None:
        """Draw a line a channel, the frame marked below them."""
        steps = TRACE_STEP * np.arange(len(image))[::-1, None]
        axes.plot((image + steps).T, color="black", linewidth=0.5)
        axes.set_ylim(-TRACE_STEP, TRACE_STEP * len(image))
        axes.plot([image.shape[1] / 2], [-TRACE_STEP], **MARK)


class Snippets(Traces):
    """Spectrograms around frames of sound.

    Args:
        sound: the data set.
    """

    name = f"snippets of {SNIPPET_FRAMES / 100:g} s"

    def __init__(self, sound: Sequences[Any]) -> None:
        super().__init__(sound)
        khz = (sound.spec.rate_hz or 0) / 2000
        self.legend = f" Spectrograms, 0 to {khz:g} kHz; the mark is the frame of 10 ms."

    def cut(self, place: NDArray[np.int64]) -> Image:
        """The spectrogram around a frame of the first channel, (bins, time), in dB.

        Args:
            place: entry and frame.
        """
        return spectrogram(super().cut(place)[0].copy(), hop_samples=self.frame_rows // 2)

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


def excerpts_of(data: DataSet) -> Excerpts:
    """How excerpts of a data set are cut out and drawn."""
    if isinstance(data, Sequences):
        return Snippets(data) if data.spec.is_sound else Traces(data)
    assert isinstance(data, Images), "a data set is of images or of sequences"
    return Surroundings(data) if isinstance(data.stored, StoredMaps) else Patches(data)
