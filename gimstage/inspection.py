"""A look into features.zarr: what it is, what its values are like, what its channels show.

Shape letters: G patches per side of the stored grid, C channels, y x map inside a patch.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gimstage.cache import FeatureReader
from gimstage.errors import CacheError
from gimstage.inputs import PixelSource
from gimstage.views import Windows

LOOKED_AT = 32  # samples behind the value statistics
DRAWN = 15  # channels


def describe(path: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Form, size and value statistics of a stage's features, as plain JSON values.

    Raises:
        CacheError: the stage stores none.
    """
    features = _require(path, manifest)
    reader = FeatureReader(path)
    layout = reader.array("features")
    spread = np.unique(np.linspace(0, layout.shape[0] - 1, LOOKED_AT).astype(np.int64))
    return {
        "path": str(path),
        "dimensions": list(layout.dims),
        "shape": list(layout.shape),
        "dtype": str(layout.dtype),
        "encoding": layout.encoding,
        "chunk": list(layout.chunk),
        "shards": layout.shards,
        "samples_per_shard": layout.shard_rows,
        "codecs": [c["name"] for c in layout.metadata()["codecs"][0]["configuration"]["codecs"]],
        "bytes": features["bytes"],
        "values": _statistics(_sample(reader, int(row)) for row in spread),
        "loss_of_encoding": features["fidelity"],
        "attributes": dict(reader.attributes),
    }


def _statistics(samples: Iterable[torch.Tensor]) -> dict[str, float]:
    """Minimum, maximum, mean, standard deviation and share of zeros, one sample at a time."""
    low, high, count, total, squares, zeros = math.inf, -math.inf, 0, 0.0, 0.0, 0
    for values in samples:
        low, high = min(low, values.min().item()), max(high, values.max().item())
        count += values.numel()
        total += values.sum(dtype=torch.float64).item()
        squares += values.square().sum(dtype=torch.float64).item()
        zeros += int((values == 0).sum())
    mean = total / count
    std = math.sqrt(max(0.0, squares / count - mean * mean))
    return {"min": low, "max": high, "mean": mean, "std": std, "zeros": zeros / count}


def _require(path: Path, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    if manifest["features"] is None or not path.exists():
        raise CacheError(
            f"stage {manifest['stage']}",
            "stores no features",
            "a features.zarr",
            'set store = "features" in its [output] and run `gimstage extract`',
        )
    features: Mapping[str, Any] = manifest["features"]
    return features


def _sample(reader: FeatureReader, row: int) -> torch.Tensor:
    """The first stored view of a sample, (G, G, C, y, x) float32."""
    layout = reader.array("features")
    raw = torch.empty((1, 1, 1, *layout.shape[2:]), dtype=layout.torch_dtype)
    reader.read("features", raw, np.array([[row, 0, 0, 0]]))
    return reader.decode("features", raw)[0, 0, 0]


def draw_channels(path: Path, source: PixelSource, png: Path, *, sample: int, title: str) -> None:
    """Draw a sample's stored view and its most varied channels, patch beside patch.

    Args:
        path: of features.zarr.
        source: the pixels it was made of.
        png: the file to write.
        sample: which sample.
        title: of the figure.

    Raises:
        CacheError: there is no such sample.
    """
    from matplotlib.figure import Figure

    reader = FeatureReader(path)
    count = reader.array("features").shape[0]
    if sample >= count:
        raise CacheError(str(path), f"no sample {sample}", f"0 to {count - 1}")
    maps = _mosaic(_sample(reader, sample))
    channels = np.argsort(-maps.std((1, 2)), kind="stable")[:DRAWN]
    figure = Figure(figsize=(11, 11.6), layout="constrained")
    figure.suptitle(
        f"{title}, sample {sample}: the input and its {len(channels)} most varied channels"
    )
    axes = figure.subplots(4, 4).flat
    axes[0].imshow(_pixels(source, sample), cmap="gray")
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


def _pixels(source: PixelSource, sample: int) -> NDArray[np.float32]:
    """The pixels the sample's first stored view covers, (px, px) gray."""
    zero = np.zeros(1, np.int64)
    patches = source.stored.patches
    raw = source.buffer(1, patches)
    source.fill(raw, Windows(zero + sample, zero, zero, zero, patches))
    return source.normalised(raw)[0].mean(0).numpy()
