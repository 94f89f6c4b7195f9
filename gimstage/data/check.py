"""Looking at a folder in STL-10's layout before training on it: counts, brightness, a sheet.

Reads through `stl10`, so everything that would stop training stops the check. Imports `errors`
and its neighbours only; matplotlib when a sheet is drawn.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gimstage.data.kinds import by_folder, left_notes
from gimstage.data.pixels import normalise
from gimstage.data.stl10 import (
    IMAGE_PX,
    LABELLED,
    Stl10Split,
    open_split,
    pictures_left,
    present_splits,
)
from gimstage.errors import DataError

SAMPLED = 1000  # images that gray mean and std are taken from, spread over the split

_CELL_PX = IMAGE_PX + 2
_MIDDLE_PX = 24
_HEAD_PX = 24
_DPI = 100


@dataclass(frozen=True)
class SplitReport:
    """What one split holds.

    Args:
        name: "train", "test" or "unlabeled".
        images: how many.
        bytes: the size of the image file.
        labels: images per class name; None for "unlabeled".
        gray_mean: brightness on the scale 0 to 1, over the pixels of `sampled` images.
        gray_std: standard deviation of the same.
        sampled: how many images those were.
        blank: those of them that are of one colour all over.
    """

    name: str
    images: int
    bytes: int
    labels: dict[str, int] | None
    gray_mean: float
    gray_std: float
    sampled: int
    blank: int


@dataclass(frozen=True)
class DataReport:
    """What a folder in STL-10's layout holds.

    Args:
        root: the folder.
        splits: those that are there.
        absent: the names of those that are not.
        left: files of pictures that are not read, per folder and reason.
        notes: what is remarkable of the files, a line each.
    """

    root: str
    splits: tuple[SplitReport, ...]
    absent: tuple[str, ...]
    left: dict[str, dict[str, int]]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The report as a dictionary that `json.dumps` takes."""
        return asdict(self)


def check(root: Path) -> DataReport:
    """Open every split that is there and count what is in it.

    Raises:
        DataError: whatever `open_split` raises, for the first split concerned; there is none.
    """
    present, left = present_splits(root), pictures_left(root)
    return DataReport(
        root=str(root),
        splits=tuple(_report(open_split(root, name)) for name in present),
        absent=tuple(name for name in LABELLED if name not in present),
        left=by_folder(left),
        notes=tuple(left_notes(left)),
    )


def contact_sheet(root: Path, png_path: Path, *, columns: int) -> None:
    """Draw a labelled sheet of images as a PNG, at one screen pixel per image pixel.

    One row per class, train on the left and test on the right of a gap, named; one row of
    unlabeled images below.

    Args:
        root: a folder in STL-10's layout.
        png_path: the file to write; an existing one is replaced.
        columns: images per row in each half, at least 1.

    Raises:
        DataError: a split cannot be opened, or the picture cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sheet, names = _mosaic(root, columns)
    margin = 16 + 8 * max(map(len, names))
    height, width = sheet.shape[0] + _HEAD_PX, sheet.shape[1] + margin
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    FigureCanvasAgg(figure)
    place = (margin / width, 0, sheet.shape[1] / width, sheet.shape[0] / height)
    axes = figure.add_axes(place, frame_on=False)
    axes.imshow(sheet, interpolation="nearest")
    axes.set_yticks([(row + 0.5) * _CELL_PX for row in range(len(names))], names)
    axes.set_xticks([0, columns * _CELL_PX + _MIDDLE_PX], ["train", "test"], ha="left")
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    try:
        figure.savefig(png_path, format="png")
    except OSError as error:
        found = f"it cannot be written ({error.strerror})"
        raise DataError(str(png_path), found, cure="choose another place") from error


def _mosaic(root: Path, columns: int) -> tuple[NDArray[np.uint8], list[str]]:
    """The images of the sheet on white, (height, width, 3) uint8, and the name of every row."""
    splits = {name: open_split(root, name) for name in present_splits(root)}
    labelled = [splits[name] for name in ("train", "test") if name in splits]
    unlabeled = splits.get("unlabeled")
    names = [*(labelled[0].class_names if labelled else ()), *(["unlabeled"] if unlabeled else [])]
    shape = (len(names) * _CELL_PX, 2 * columns * _CELL_PX + _MIDDLE_PX, 3)
    sheet = np.full(shape, 255, np.uint8)

    def put(row: int, first: int, images: NDArray[np.uint8]) -> None:
        for column, image in enumerate(images, first):
            top, left = row * _CELL_PX, column * _CELL_PX + (column >= columns) * _MIDDLE_PX
            sheet[top : top + IMAGE_PX, left : left + IMAGE_PX] = image.transpose(1, 2, 0)

    for split in labelled:
        for label in range(split.num_classes):
            chosen = np.flatnonzero(split.require_labels() == label)[:columns]
            put(label, columns * (split.name == "test"), split.images[chosen])
    if unlabeled:
        put(len(names) - 1, 0, unlabeled.images[_spread(len(unlabeled), 2 * columns)])
    return sheet, names


def _report(split: Stl10Split) -> SplitReport:
    chosen = _spread(len(split), SAMPLED)
    mean, std = _gray_moments(split, chosen)
    counts = None
    if split.labels is not None:
        per_class = np.bincount(split.labels, minlength=split.num_classes).tolist()
        counts = dict(zip(split.class_names, per_class, strict=True))
    return SplitReport(
        name=split.name,
        images=len(split),
        bytes=split.images.nbytes,
        labels=counts,
        gray_mean=mean,
        gray_std=std,
        sampled=len(chosen),
        blank=sum(split.blank(index) for index in chosen.tolist()),
    )


def _spread(count: int, wanted: int) -> NDArray[np.int64]:
    """At most `wanted` indices below `count`, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(np.int64))


def _gray_moments(split: Stl10Split, chosen: NDArray[np.int64]) -> tuple[float, float]:
    total = square = 0.0
    for start in range(0, len(chosen), 100):
        samples = chosen[start : start + 100]
        zero = np.zeros_like(samples)
        whole = split.crops(samples, zero, zero, zero, IMAGE_PX)
        gray = normalise(whole, channels="gray", mean=[0], std=[1]).double()
        total, square = total + gray.sum().item(), square + gray.square().sum().item()
    pixels = len(chosen) * IMAGE_PX**2
    mean = total / pixels
    return mean, max(0.0, square / pixels - mean**2) ** 0.5
