"""What the arrays in a place are most likely: images or sequences, told from shapes and dtypes.

Only shapes are read. Imports `errors` and its neighbours only.
"""

import math
from pathlib import Path

from gimstage.data.arrays import OpenArray, arrays_below, open_array
from gimstage.errors import DataError

MOST_COLOURS = 4  # an axis of as many at most may be the channels of an image
LEAST_PX = 16  # of a side of an image
LEAST_DEEP_PX = 128  # where its numbers have 16 bits, as those of many recorders
# By the number of axes: with channels before the pixels, behind them, and without.
_BEFORE = {3: "channel y x", 4: "sample channel y x", 5: "t channel z y x"}
_BEHIND = {3: "y x channel", 4: "sample y x channel"}
_WITHOUT = {2: "y x", 3: "sample y x"}


def numbers_in(place: Path) -> dict[str, OpenArray]:
    """The arrays of real numbers in a place, by where they lie in it."""
    found = {}
    for inside in arrays_below(place):
        try:
            found[inside] = open_array(place, inside).require_numbers()
        except DataError:
            continue
    return found


def largest_of(found: dict[str, OpenArray], place: Path) -> str:
    """Where the array with the most numbers lies, of those found in a place.

    Raises:
        DataError: there is none; of arrays that cannot be read, why the first cannot.
    """
    if not found:
        for inside in arrays_below(place):
            open_array(place, inside).require_numbers()
        cure = "save numbers with numpy.save, or with zarr"
        raise DataError(str(place), "no array of numbers", "one at least", cure)
    return max(found, key=lambda name: math.prod(found[name].shape))


def image_axes(array: OpenArray) -> str | None:
    """The names of the axes of an array of images; None where it looks like one of sequences.

    Of four axes or more an array is of images; of two or three where its numbers are bytes, or 16
    bits without a sign and the sides longer than series as a rule have channels.
    """
    shape, name = array.shape, array.dtype.name
    count, low = len(shape), LEAST_PX
    if count < 2 or count > 5 or (count < 4 and name not in ("uint8", "uint16")):
        return None
    if count < 4 and name == "uint16":
        low = LEAST_DEEP_PX
    elif count in _BEHIND and shape[-1] <= MOST_COLOURS and min(shape[-3:-1]) >= low:
        return _BEHIND[count]
    if min(shape[-2:]) < low:
        return None
    if count in _WITHOUT and not (count == 3 and shape[0] <= MOST_COLOURS):
        return _WITHOUT[count]
    return _BEFORE[count]
