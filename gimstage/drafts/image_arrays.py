"""What a data.toml must say of arrays of images: which one it is, what its axes are, which squares.

Axes have no names in most files: they are told from their lengths, and the reason says so.
"""

from pathlib import Path

from gimstage.data.arraykinds import image_axes, largest_of, numbers_in
from gimstage.drafts.facts import Choice, Keys
from gimstage.drafts.page import Table
from gimstage.errors import DataError

WHOLE_PX = 128  # images of at most this side stay whole
SQUARE_PX = 96  # of squares that others are cut into, as STL-10's
_NAMES = {1: "gray", 3: "rgb"}


def choose_image_array(folder: Path, base: Table) -> Choice:
    """The largest array of numbers in a place, taken for images.

    Raises:
        DataError: it does not look like images.
    """
    found = numbers_in(folder)
    inside = largest_of(found, folder)
    array, axes = found[inside], image_axes(found[inside])
    shape = " × ".join(f"{each:,}" for each in array.shape)
    if axes is None:
        cure = "name its axes in a data.toml of your own"
        raise DataError(array.where, f"an array of {shape}", "images", cure)
    size = dict(zip(axes.split(), array.shape, strict=True))
    channels, side = size.get("channel", 1), min(size["y"], size["x"])
    whole = size["y"] == size["x"] <= WHOLE_PX
    keys: Keys = {
        "array": (inside, f"{array.dtype} of {shape}, the largest there is"),
        "axes": (axes, "told from their lengths"),
        "size_px": (
            side if whole else min(side, SQUARE_PX),
            "the images, whole" if whole else "squares of this side; nothing is resized",
        ),
        "channels": (_NAMES.get(channels, channels), "as they are stored"),
    }
    return Choice(channels, f"an array of {shape}", keys)
