"""What a data.toml must say of a folder before its source can be asked: sizes, channels, rates.

Headers are read, nothing is decoded.
"""

import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gimstage.data import pictures, soundfiles
from gimstage.data.files import BadFileError
from gimstage.data.kinds import PICTURES
from gimstage.data.listing import listing
from gimstage.drafts.arrays import choose_array
from gimstage.drafts.facts import Choice, Keys
from gimstage.drafts.image_arrays import choose_image_array
from gimstage.drafts.page import Table

LOOKED_AT = 1_000  # files, at most
PHOTO_PX = 96  # side of the photographs of STL-10, for which the encoders of images were made
HUGE_PX, FEW = 1_024, 64  # so few images of at least this side are pictures of many things
RATES_HZ = (16_000, 8_000, 4_000, 2_000, 1_000, 500)  # of which strides make rows of 10 ms
MAP_PX = 2_048  # side of an image that is read as a whole map, at most
SMALL_SHARE = 0.05  # of the images, at most, that may be smaller than the side that is chosen


def choose_stl10(folder: Path, base: Table) -> Choice:
    """Gray or in colour, as the base has it."""
    channels, why = _colours(base)
    return Choice(channels, "STL-10's binary layout", {"channels": why})


def choose_librispeech(folder: Path, base: Table) -> Choice:
    """Nothing is left to choose."""
    return Choice(1, "SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE.flac", listed=False)


def choose_images(folder: Path, base: Table) -> Choice:
    """Side, way of cutting and channels that suit image files."""
    files = list(listing(folder, PICTURES).files.values())
    sides, bad = _sides(_some(files))
    channels, colours = _colours(base)
    keys: Keys = {
        **_cut(len(files), sides, base),
        "channels": colours,
        "on_bad": _on_bad(bad, len(files)),
    }
    return Choice(channels, f"{len(files):,} image files", keys)


def _sides(files: list[Path]) -> tuple[list[int], Counter[str]]:
    """The shorter side of images, and why others have none."""
    sides, bad = [], Counter[str]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd tags
        for path in files:
            try:
                header = pictures.read_header(path, 1)
                sides.append(min(header.width, header.height))
            except BadFileError as error:
                bad[str(error)] += 1
    return sides, bad


def _cut(count: int, sides: list[int], base: Table) -> Keys:
    """Windows out of a few huge images; else every image made as small as an encoder expects."""
    if sides and "patch_px" not in base.get("views", {"patch_px": 0}):
        side = min(MAP_PX, min(sides))
        reason = f"windows of this side, of images of {min(sides):,} px or more, read as whole maps"
        return {"size_px": (side, reason), "fit": ("tile", "nothing is resized")}
    if not sides:
        return {"size_px": (PHOTO_PX, "the side of STL-10's"), "fit": ("crop", "")}
    low, high = min(sides), max(sides)
    if count <= FEW and low >= HUGE_PX:
        return {
            "size_px": (
                PHOTO_PX,
                f"windows of this side, of images of {low:,} px or more",
            ),
            "fit": ("tile", 'nothing is resized; "crop" makes each image one small one'),
        }
    enough = int(np.quantile(sides, SMALL_SHARE, method="lower"))
    size = min(PHOTO_PX, enough // 4 * 4 or enough)
    return {
        "size_px": (size, f"the shorter sides are {low:,} to {high:,} px; more shows more, slower"),
        "fit": ("crop", 'the shorter side is resized; "tile" cuts windows, and resizes nothing'),
    }


def _colours(base: Table) -> tuple[int, tuple[str, str]]:
    """Channels as the base has them, and why."""
    if base.get("channels") == "rgb":
        return 3, ("rgb", "as the recipe reads that this is made after")
    return 1, ("gray", "as in the paper: colour lets neighbours be told without a look at shapes")


def choose_sound(folder: Path, base: Table) -> Choice:
    """A rate that suits files of sound, and one channel."""
    files = list(listing(folder, soundfiles.ENDINGS).files.values())
    rates, bad = Counter[int](), Counter[str]()
    for path in _some(files):
        try:
            header = soundfiles.read_header(path, rate_hz=RATES_HZ[0], channels=1)
            rates[header.rate_hz] += 1
        except BadFileError as error:
            bad[str(error)] += 1
    usual = int(np.median(list(rates.elements()))) if rates else RATES_HZ[0]
    rate = next((each for each in RATES_HZ if each <= usual), RATES_HZ[-1])
    many = ", ".join(f"{count:,} of {hz:,} Hz" for hz, count in rates.most_common(3))
    keys: Keys = {
        "rate_hz": (rate, f"{many}; nothing above {rate // 2:,} Hz is heard"),
        "channels": (1, "all mixed down; another number keeps so many"),
        "on_bad": _on_bad(bad, len(files)),
    }
    return Choice(1, f"{len(files):,} files of sound", keys, listed=False)


def _on_bad(bad: Counter[str], count: int) -> tuple[str, str]:
    """Leave files out where some of those looked at are bad; else stop if one turns up."""
    if not bad:
        return "refuse", 'a file that cannot be read stops the import; "skip" leaves it out'
    reasons = ", ".join(f"{number:,} {reason}" for reason, number in bad.most_common(2))
    return "skip", f'{reasons}: left out of {count:,} files; "refuse" stops instead'


def _some(files: list[Path]) -> list[Path]:
    """At most `LOOKED_AT` of the files, evenly spaced."""
    return files[:: -(-len(files) // LOOKED_AT) or 1]


CHOICES: dict[str, Callable[[Path, Table], Choice]] = {
    "stl10": choose_stl10,
    "librispeech": choose_librispeech,
    "images": choose_images,
    "sound": choose_sound,
    "array": choose_array,
    "image_array": choose_image_array,
}
