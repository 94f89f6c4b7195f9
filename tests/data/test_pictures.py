"""Image files of every kind become square pixels, or are refused with a reason."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gimstage.data.files import BadFileError
from gimstage.data.pictures import Cut, Fit, read_header, squares
from gimstage.errors import DataError

RGB = np.random.default_rng(1).integers(0, 256, (20, 20, 3), np.uint8)
U8, U16 = np.dtype(np.uint8), np.dtype(np.uint16)


def saved(path: Path, image: Image.Image, **options: Any) -> Path:
    """A file of an image, of the kind its ending names."""
    image.save(path, **options)
    return path


def cut(path: Path, *, size: int = 20, fit: Fit = "crop", channels: int = 3, dtype=U8):
    """All squares of a file, (n, C, size, size)."""
    return np.concatenate(list(squares(path, Cut(size, fit, channels, dtype))))


def reason(path: Path, size: int = 20) -> str:
    """Why a file is refused."""
    with pytest.raises(BadFileError) as info:
        cut(path, size=size)
    return str(info.value)


@pytest.mark.parametrize("kind", ["png", "bmp", "tiff", "webp"])
def test_a_file_of_any_kind_keeps_its_pixels(tmp_path: Path, kind: str) -> None:
    options = {"lossless": True} if kind == "webp" else {}
    path = saved(tmp_path / f"a.{kind}", Image.fromarray(RGB), **options)
    assert (cut(path)[0] == RGB.transpose(2, 0, 1)).all()


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_any_mode_becomes_the_channels_asked_for(tmp_path: Path, mode: str, channels: int) -> None:
    path = saved(tmp_path / "a.tiff", Image.fromarray(RGB).convert(mode))
    expected = Image.fromarray(RGB).convert(mode).convert("RGBA" if channels in (2, 4) else "RGB")
    expected = expected.convert({1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[channels])
    made = cut(path, channels=channels)[0]
    assert made.shape == (channels, 20, 20)
    assert (made == np.asarray(expected).reshape(20, 20, channels).transpose(2, 0, 1)).all()


def test_transparent_pixels_lie_on_white(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.new("RGBA", (20, 20), (255, 0, 0, 0)))
    assert (cut(path) == 255).all()


def test_a_transparent_colour_of_a_palette_lies_on_white(tmp_path: Path) -> None:
    palette = Image.new("P", (20, 20), 0)
    palette.putpalette([0, 0, 0] * 256)
    path = saved(tmp_path / "a.gif", palette, transparency=0)
    assert (cut(path) == 255).all()


@pytest.mark.parametrize("kind", ["jpg", "png", "tiff", "webp"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_a_picture_taken_on_its_side_stands_upright(tmp_path: Path, kind: str, turn: int) -> None:
    image = Image.new("L", (40, 20))
    image.paste(255, (20, 0, 40, 20))  # white on the right, as the sensor saw it
    exif = Image.Exif()
    exif[0x0112] = turn
    path = saved(tmp_path / f"a.{kind}", image, exif=exif)
    header = read_header(path, 20)
    assert (header.height > header.width) == (turn >= 5)
    white = {1: "right", 2: "left", 3: "left", 4: "right"}
    white |= {5: "bottom", 6: "bottom", 7: "top", 8: "top"}
    first, second = cut(path, fit="tile", channels=1)[:, 0]
    dark_first = first.mean() < second.mean()
    assert dark_first == (white[turn] in ("right", "bottom"))


def test_gray_of_16_bits_stays_so(tmp_path: Path) -> None:
    pixels = np.arange(400, dtype=np.uint16).reshape(20, 20) * 150
    path = saved(tmp_path / "a.png", Image.fromarray(pixels))
    assert read_header(path, 20).deep
    assert (cut(path, channels=1, dtype=U16)[0, 0] == pixels).all()


def test_bytes_are_spread_where_others_have_16_bits(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.new("L", (20, 20), 255))
    assert (cut(path, channels=1, dtype=U16) == 65535).all()


def test_gray_of_16_bits_among_colours_is_rounded_to_8(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(np.full((20, 20), 32767, np.uint16)))
    assert (cut(path) == 127).all()


def test_the_shorter_side_is_resized_and_the_centre_cut(tmp_path: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (40, 60), np.uint8)
    path = saved(tmp_path / "a.png", Image.fromarray(pixels))
    whole = Image.fromarray(pixels).resize((30, 20), Image.Resampling.BICUBIC)
    assert (cut(path, channels=1)[0, 0] == np.asarray(whole)[:, 5:25]).all()


def test_a_large_jpeg_is_decoded_only_as_finely_as_is_needed(tmp_path: Path) -> None:
    pixels = np.tile(np.linspace(0, 255, 640).astype(np.uint8), (640, 1))
    path = saved(tmp_path / "a.jpg", Image.fromarray(pixels).convert("RGB"), quality=95)
    whole = Image.open(path).convert("L").resize((20, 20), Image.Resampling.BICUBIC)
    assert np.abs(cut(path, channels=1)[0, 0].astype(int) - np.asarray(whole)).max() <= 2


def test_tiles_cover_an_image_and_are_not_resized(tmp_path: Path) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (45, 50), np.uint8)
    path = saved(tmp_path / "a.png", Image.fromarray(pixels))
    tiles = cut(path, fit="tile", channels=1)[:, 0]
    edges = [(y, x) for y in (0, 20, 25) for x in (0, 20, 30)]
    assert Cut(20, "tile", 1, U8).count(read_header(path, 20)) == len(tiles) == len(edges)
    for tile, (y, x) in zip(tiles, edges, strict=True):
        assert (tile == pixels[y : y + 20, x : x + 20]).all()


def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("L", (20, 20), value) for value in (255, 0)]
    path = saved(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert (cut(path) == 255).all()


def test_what_a_file_holds_decides_not_its_ending(tmp_path: Path) -> None:
    saved(tmp_path / "a.png", Image.fromarray(RGB)).rename(tmp_path / "a.jpg")
    assert (cut(tmp_path / "a.jpg")[0] == RGB.transpose(2, 0, 1)).all()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "empty"),
        (b"not an image at all", "no image of a kind that is read"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "a pointer of git-lfs, not the file: `git lfs pull` fetches it",
        ),
    ],
)
def test_a_file_that_is_no_image_is_told_by_its_reason(
    tmp_path: Path, content: bytes, why: str
) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    assert reason(tmp_path / "a.jpg") == why


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "bmp", "tiff", "gif"])
def test_a_file_that_was_cut_short_is_damaged(tmp_path: Path, kind: str) -> None:
    path = saved(tmp_path / f"a.{kind}", Image.fromarray(RGB))
    path.write_bytes(path.read_bytes()[:-200])
    assert reason(path) in ("cut short or damaged", "no image of a kind that is read")


def test_an_image_smaller_than_a_square_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(RGB))
    assert reason(path, size=21) == "smaller than size_px = 21"


def test_an_image_too_large_to_decode_is_refused_by_its_header(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.new("1", (30_000, 30_000)))
    assert reason(path) == (
        'of more than 178,956,970 pixels: give it as an array, source = "image_array"'
    )


def test_pixels_of_32_bits_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.tiff", Image.fromarray(RGB[..., 0].astype(np.float32)))
    assert reason(path) == 'of 32 bits a pixel: give it as an array, source = "image_array"'


def test_a_file_that_is_gone_is_no_bad_image_but_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file or folder"):
        cut(tmp_path / "a.png")
