"""A look into features.zarr: what it is, what its values are like, what its channels show.

Shape letters: G patches per side of the stored grid, C channels, y x map inside a patch, T rows in
time.
"""

import math
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gimstage.cache import FeatureReader
from gimstage.data.kinds import Kind
from gimstage.data.spectrogram import spectrogram
from gimstage.errors import CacheError
from gimstage.errors.commands import on_recipe, pasted
from gimstage.inputs import DataSet, Images, Pixels, Sequences
from gimstage.runs.manifest import FeaturesRecord, Manifest
from gimstage.views import MapViews, Spans, Squares, Windows

LOOKED_AT = 32  # samples, or chunks of rows, behind the value statistics
DRAWN = 15  # channels of images
TRACED = 6  # channels of sequences
SHOWN_FRAMES = 400  # of a sequence
SHOWN_POSITIONS, SHOWN_PX = 256, 2048  # of a map
MAPS = ("sample", "view", "y", "x", "channel")


def describe(path: Path, manifest: Manifest) -> dict[str, Any]:
    """Form, size and value statistics of a stage's features, as plain JSON values.

    Raises:
        CacheError: the stage stores none.
    """
    features = _require(path, manifest)
    reader = FeatureReader(path)
    layout = reader.array("features")
    rows = 1 if len(layout.shape) > 2 else min(layout.chunk[0], layout.shape[0])
    look = _middle if layout.dims == MAPS else partial(_rows, count=rows)
    spread = np.unique(np.linspace(0, layout.shape[0] - rows, LOOKED_AT).astype(np.int64))
    return {
        "path": str(path),
        "dimensions": list(layout.dims),
        "shape": list(layout.shape),
        "dtype": str(layout.dtype),
        "encoding": layout.encoding,
        "chunk": list(layout.chunk),
        "shards": layout.shards,
        f"{layout.dims[0]}s_per_shard": layout.shard_rows,
        "codecs": [c["name"] for c in layout.metadata()["codecs"][0]["configuration"]["codecs"]],
        "bytes": features.bytes,
        "values": _statistics(look(reader, int(row)) for row in spread),
        "loss_of_encoding": features.fidelity.model_dump(),
        "attributes": dict(reader.attributes),
    }


def _statistics(samples: Iterable[torch.Tensor]) -> dict[str, float]:
    """Minimum, maximum, mean, standard deviation and share of zeros, one sample at a time."""
    low, high, count, total, squares, zeros = math.inf, -math.inf, 0, 0.0, 0.0, 0
    for values in samples:
        low, high = min(low, values.min().item()), max(high, values.max().item())
        count += values.numel()
        total += values.sum(dtype=torch.float64).item()
        squares += values.double().square().sum().item()
        zeros += int((values == 0).sum())
    mean = total / count
    std = math.sqrt(max(0.0, squares / count - mean * mean))
    return {"min": low, "max": high, "mean": mean, "std": std, "zeros": zeros / count}


def _require(path: Path, manifest: Manifest) -> FeaturesRecord:
    if manifest.features is None or not path.exists():
        run, _, number = manifest.stage.rpartition("/")
        extracting = on_recipe("extract", number, run=run)
        raise CacheError(
            f"stage {manifest.stage}",
            "stores no features",
            "a features.zarr",
            f'set store = "features" in its [output], then run {pasted(extracting)}',
        )
    return manifest.features


def _rows(reader: FeatureReader, first: int, count: int) -> torch.Tensor:
    """Some rows of the features, whole, float32."""
    layout = reader.array("features")
    raw = torch.empty((1, count, *layout.shape[1:]), dtype=layout.torch_dtype)
    reader.read("features", raw, np.array([[first]]))
    return reader.decode("features", raw)[0]


def _middle(reader: FeatureReader, sample: int) -> torch.Tensor:
    """The middle of a sample's map (n, n, C), whole where it is small, float32."""
    layout = reader.array("features")
    square = _middle_square(reader, sample)
    raw = torch.empty(
        (1, 1, 1, square.size, square.size, layout.shape[4]), dtype=layout.torch_dtype
    )
    reader.read("features", raw, square.starts)
    return reader.decode("features", raw)[0, 0, 0]


def _middle_square(reader: FeatureReader, sample: int) -> Squares:
    """Where that lies: at most so many positions, of at most so many pixels."""
    side, stride = reader.array("features").shape[2], int(reader.attributes["px_per_position"])
    size = min(side, SHOWN_POSITIONS, max(1, SHOWN_PX // stride))
    return MapViews(side=side, size=size, flip=False).centre(np.array([sample]))


def draw(path: Path, data: DataSet, png: Path, *, sample: int, title: str) -> None:
    """Draw what a stage stores of a sample beside what it was made of.

    Args:
        path: the path of features.zarr.
        data: the data set.
        png: the file to write.
        sample: which sample, or which entry of sequences.
        title: the title of the figure.

    Raises:
        CacheError: there is no such sample.
    """
    DRAWINGS[data.spec.kind](path, data, png, sample=sample, title=title)


def _require_sample(path: Path, sample: int, count: int) -> None:
    if sample >= count:
        raise CacheError(str(path), f"no sample {sample}", f"0 to {count - 1}")


def draw_sequence(
    path: Path, speech: Sequences[Any], png: Path, *, sample: int, title: str
) -> None:
    """Draw the beginning of a stored entry: its spectrogram, all channels, the most varied ones.

    Args:
        path: the path of features.zarr.
        speech: the data set.
        png: the file to write.
        sample: which entry.
        title: the title of the figure.

    Raises:
        CacheError: there is no such entry.
    """
    from matplotlib.figure import Figure

    reader = FeatureReader(path)
    offsets = reader.small("offsets")
    _require_sample(path, sample, len(offsets) - 1)
    per_frame = reader.rows_per_frame
    count = min(int(offsets[sample + 1] - offsets[sample]), SHOWN_FRAMES * per_frame)
    rows = _rows(reader, int(offsets[sample]), count).numpy()
    raw_rows = count * speech.spec.frame_rows // per_frame
    rate_hz = speech.spec.rate_hz or 1.0  # without a rate the axis counts rows
    seconds = raw_rows / rate_hz
    order = np.argsort(-rows.std(0), kind="stable")
    figure = Figure(figsize=(11, 8.5), layout="constrained")
    noun, id_ = speech.spec.sample_name, speech.train.ids[speech.kept[speech.stored.source[sample]]]
    figure.suptitle(f"{title}, entry {sample}, {noun} {id_}", parse_math=False)
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=(2, 3, 2))
    raw = _raw(speech, sample, raw_rows)
    if speech.spec.is_sound:
        _draw_spectrogram(top, raw[:, 0].copy(), rate_hz, hop_samples=speech.spec.frame_rows)
    else:
        top.plot(np.arange(len(raw)) / rate_hz, raw, linewidth=0.6)
        top.set_ylabel("channels")
    high = float(np.quantile(np.abs(rows), 0.995)) or 1.0
    low = -high if rows.min() < 0 else 0.0
    shown = middle.imshow(
        rows[:, order].T,
        aspect="auto",
        origin="upper",
        extent=(0, seconds, rows.shape[1], 0),
        vmin=low,
        vmax=high,
        cmap="RdBu_r" if low else "viridis",
        interpolation="nearest",
    )
    figure.colorbar(shown, ax=middle, pad=0.01)
    middle.set_ylabel("channel, most varied first")
    time = (np.arange(count) + 0.5) * seconds / count
    for channel in order[:TRACED]:
        bottom.plot(time, rows[:, channel], linewidth=0.8, label=f"channel {channel}")
    bottom.legend(fontsize=7, ncols=TRACED, loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
    bottom.set(xlabel="seconds" if speech.spec.rate_hz else "rows", ylabel="value")
    figure.savefig(png, dpi=100, format="png")


def _raw(speech: Sequences[Any], entry: int, rows: int) -> NDArray[np.float32]:
    """The first normalised rows of an entry, (n, C)."""
    source = speech.source()
    count = min(int(source.lengths[entry]), rows)
    zero = np.zeros(1, np.int64)
    filled = source.fill(source.buffer(1, count), Spans(zero + entry, zero, count))
    return filled[0].numpy()


def _draw_spectrogram(
    axes: Any, wave: NDArray[np.float32], rate_hz: float, *, hop_samples: int
) -> None:
    level = spectrogram(wave, hop_samples=hop_samples)
    top = float(level.max())
    axes.imshow(
        level,
        aspect="auto",
        origin="lower",
        extent=(0, len(wave) / rate_hz, 0, rate_hz / 2000),
        vmin=top - 70,
        vmax=top,
        cmap="magma",
    )
    axes.set_ylabel("kHz")


def draw_channels(path: Path, images: Images, png: Path, *, sample: int, title: str) -> None:
    """Draw a sample's stored view and its most varied channels, patch beside patch.

    Of whole maps the middle is drawn, if they are large.

    Args:
        path: the path of features.zarr.
        images: the data set.
        png: the file to write.
        sample: which sample.
        title: the title of the figure.

    Raises:
        CacheError: there is no such sample.
    """
    from matplotlib.figure import Figure

    reader = FeatureReader(path)
    _require_sample(path, sample, reader.array("features").shape[0])
    if reader.array("features").dims == MAPS:
        square, stride = _middle_square(reader, sample), int(reader.attributes["px_per_position"])
        maps = _middle(reader, sample).permute(2, 0, 1).numpy()
        seen: Windows | Squares = Squares(
            square.sample, square.view, square.y * stride, square.x * stride, square.size * stride
        )
    else:
        maps = _mosaic(_rows(reader, sample, 1)[0, 0])
        zero = np.zeros(1, np.int64)
        seen = Windows(zero + sample, zero, zero, zero, reader.array("features").shape[2])
    channels = np.argsort(-maps.std((1, 2)), kind="stable")[:DRAWN]
    figure = Figure(figsize=(11, 11.6), layout="constrained")
    figure.suptitle(
        f"{title}, sample {sample}: the input and its {len(channels)} most varied channels"
    )
    axes = figure.subplots(4, 4).flat
    axes[0].imshow(_pixels(images.source(), seen), cmap="gray")
    axes[0].set_title("input", fontsize=9)
    for axis, channel in zip(axes[1:], channels, strict=False):
        shown = axis.imshow(maps[channel], cmap="viridis")
        axis.set_title(f"channel {channel}", fontsize=9)
        figure.colorbar(shown, ax=axis, shrink=0.8)
    for axis in axes:
        axis.set_axis_off()
    figure.savefig(png, dpi=100, format="png")


def _mosaic(features: torch.Tensor) -> NDArray[np.float32]:
    """Each channel's maps laid out as their patches lie, (C, G·y, G·x)."""
    rows, columns, channels, height, width = features.shape
    laid = features.permute(2, 0, 3, 1, 4)
    return laid.reshape(channels, rows * height, columns * width).numpy()


def _pixels(source: Pixels, seen: Windows | Squares) -> NDArray[np.float32]:
    """The pixels at a place, (px, px) gray."""
    raw = source.fill(source.buffer(1, seen.size), seen)
    return source.normalised(raw)[0].mean(0).numpy()


DRAWINGS: dict[Kind, Callable[..., None]] = {"images": draw_channels, "speech": draw_sequence}
