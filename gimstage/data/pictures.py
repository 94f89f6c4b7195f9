"""Image files of any kind as square pixels of one size: decoded, turned upright, cut.

JPEG, PNG, WebP, BMP, GIF and TIFF, as Pillow reads them. What a file holds decides, not its ending;
of an animation it is the first frame. Transparent pixels lie on white, as on a page, unless the
alpha channel is asked for. CMYK becomes RGB without a profile. Gray of 16 bits stays so where one
channel is asked for; Pillow gives colours of 16 bits with 8.

Pillow warns of odd tags and of sizes; whoever decodes many files silences that for all its threads.
Imports `errors` and its neighbours only.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from gimstage.data.files import BadFileError, reading, refuse_no_content, refuse_no_file
from gimstage.data.pixels import edges

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF")
Fit = Literal["crop", "tile"]

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_DAMAGED = "cut short or damaged"
_ORIENTATION = 0x0112  # the tag of EXIF that says how the camera was held
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ON_ITS_SIDE = range(5, 9)
_FINER = 2  # a JPEG is decoded at an eighth, a quarter or a half only if that is so much finer


@dataclass(frozen=True)
class PictureHeader:
    """What a file says of the image in it.

    Args:
        width: in pixels, once it is turned upright.
        height: in pixels, of the same.
        deep: whether it is gray of 16 bits.
    """

    width: int
    height: int
    deep: bool


@dataclass(frozen=True)
class Cut:
    """What is made of every image.

    Args:
        size_px: the side of the squares.
        fit: "crop" resizes the shorter side to `size_px` (bicubic, with antialiasing) and cuts the
            centre; "tile" cuts squares side by side and resizes nothing, the last ones of a row or
            a column moved back to end where the image does.
        channels: 1 for gray, 2 for gray and alpha, 3 for red, green, blue, 4 for these and alpha.
        dtype: uint8, or uint16 for gray of 16 bits; bytes are then spread over 0 … 65,535.
    """

    size_px: int
    fit: Fit
    channels: int
    dtype: np.dtype[Any]

    def count(self, header: PictureHeader) -> int:
        """How many squares an image becomes."""
        if self.fit == "crop":
            return 1
        return len(edges(header.height, self.size_px)) * len(edges(header.width, self.size_px))


def read_header(path: Path, size_px: int) -> PictureHeader:
    """What a file says of its image; nothing is decoded.

    Args:
        path: the file.
        size_px: the side of the squares it is to become.

    Raises:
        BadFileError: it is no image, or cannot become such squares.
        DataError: the file cannot be read at all.
    """
    with reading(path):
        refuse_no_file(path)
        with path.open("rb") as file:
            refuse_no_content(file.read(64))
            file.seek(0)
            return _header(_opened(file), size_px)


def squares(path: Path, cut: Cut) -> Iterator[NDArray[Any]]:
    """The squares of an image in blocks (n, C, size_px, size_px), row by row.

    Raises:
        BadFileError: it is no image, or a damaged one, or cannot become such squares.
        DataError: the file cannot be read at all.
    """
    pixels, s = _upright(path, cut), cut.size_px
    for y in edges(pixels.shape[1], s):
        yield np.stack([pixels[:, y : y + s, x : x + s] for x in edges(pixels.shape[2], s)])


def _upright(path: Path, cut: Cut) -> NDArray[Any]:
    """The pixels (C, y, x) of an image: all of them, or the square of a crop."""
    with reading(path):
        refuse_no_file(path)
        content = path.read_bytes()
    refuse_no_content(content[:64])
    image = _opened(io.BytesIO(content))
    _header(image, cut.size_px)
    image = _loaded(image, cut)
    made = _centre(image, cut) if cut.fit == "crop" else _in_mode(image, cut)
    return _planes(_turned(made, image), cut)


def _opened(file: BinaryIO) -> Image.Image:
    try:
        return Image.open(file, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise BadFileError("no image of a kind that is read") from error
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        why = f'of more than {most:,} pixels: give it as an array, source = "image_array"'
        raise BadFileError(why) from error
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, OverflowError) as error:
        raise BadFileError(_DAMAGED) from error


def _header(image: Image.Image, size_px: int) -> PictureHeader:
    width, height = image.size
    if image.mode in ("I", "F"):
        raise BadFileError('of 32 bits a pixel: give it as an array, source = "image_array"')
    if min(width, height) < size_px:
        raise BadFileError(f"smaller than size_px = {size_px}")
    if image.format != "TIFF" and _orientation(image) in _ON_ITS_SIDE:  # Pillow turns TIFF itself
        width, height = height, width
    return PictureHeader(width, height, image.mode.startswith("I;16"))


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # whatever a camera wrote there: the pixels are whole
        return 1
    return orientation if isinstance(orientation, int) else 1


def _loaded(image: Image.Image, cut: Cut) -> Image.Image:
    """The image, decoded; a JPEG only as finely as is needed."""
    width, height = image.size
    if image.format in ("JPEG", "MPO") and image.mode == "RGB" and cut.channels in (1, 3):
        share = min(1.0, _FINER * cut.size_px / min(width, height)) if cut.fit == "crop" else 1.0
        image.draft(_MODES[cut.channels], (round(width * share), round(height * share)))
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # decoders raise whatever they stumble over
        raise BadFileError(_DAMAGED) from error
    return image


def _turned(made: Image.Image, image: Image.Image) -> Image.Image:
    """What was made of an image, upright."""
    turn = _TURNS.get(_orientation(image))
    return made if turn is None else made.transpose(turn)


def _in_mode(image: Image.Image, cut: Cut) -> Image.Image:
    """The image in the mode of the channels asked for, on white where it is transparent."""
    mode = _MODES[cut.channels]
    if image.mode.startswith("I;16"):
        if cut.dtype == np.uint16:
            return Image.fromarray(np.asarray(image).astype(np.float32))
        image = Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype("u1"))
    if image.has_transparency_data and mode in ("L", "RGB"):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    if image.mode == "P" or (image.mode not in ("1", "L", "LA", "RGB", "RGBA") and mode != "RGB"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return image if image.mode == mode else image.convert(mode)


def _centre(image: Image.Image, cut: Cut) -> Image.Image:
    """The square in the middle, its side that of the shorter one, resized."""
    side = min(image.size)
    left, top = ((length - side) // 2 for length in image.size)
    box = (left, top, left + side, top + side)
    size = (cut.size_px, cut.size_px)
    return _in_mode(image, cut).resize(size, Image.Resampling.BICUBIC, box=box)


def _planes(image: Image.Image, cut: Cut) -> NDArray[Any]:
    """The pixels (C, y, x) of the dtype that is stored."""
    pixels = np.asarray(image)
    if image.mode == "F":  # gray of 16 bits, as it came or resized
        pixels = np.rint(pixels).clip(0, 65535)
    elif cut.dtype == np.uint16:
        pixels = pixels.astype(np.uint16) * 257
    planes: NDArray[Any] = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return planes.astype(cut.dtype, copy=False)
