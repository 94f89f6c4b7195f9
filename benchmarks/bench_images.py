"""Image files of somebody's own: imported, and cut from, against what Pillow and memcpy take.

Crops are held against two things: the same crops, mirrored alike, out of an array in memory, which
tells what the store costs; and one copy of as many bytes in a row, which no crop is.

Takes about a minute and 300 MB of the temporary folder's disk.
"""

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from common import Row, medians
from PIL import Image

from gimstage.data.splits import ImageSplit
from gimstage.draws import generator
from gimstage.inputs import OwnImages
from gimstage.inputs.ahead import cores
from gimstage.progress import Watch
from gimstage.specs import OwnImagesSpec

SIZE_PX, CROP_PX, BATCH = 256, 224, 64
BATCHES = 4  # a round
PHOTOGRAPHS = {(1200, 900): 60, (400, 300): 240}  # of so many pixels, how many
SPEC = OwnImagesSpec.model_validate(
    {
        "source": "images",
        "train_split": "train",
        "size_px": SIZE_PX,
        "fit": "crop",
        "channels": "rgb",
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
        "views": {"crop_px": CROP_PX, "flip": True, "patch_px": 64, "stride_px": 32},
        "stored_views": {"kind": "crops", "count": 1, "seed": 1},
    }
)


def rows() -> Iterator[Row]:
    """What an import takes, and what a batch of random crops of it takes."""
    with TemporaryDirectory(prefix="gimstage-bench-") as place:
        folder, runs = Path(place, "photographs"), Path(place, "runs")
        photographs(folder)
        yield importing(folder, runs)
        data = OwnImages.find(SPEC, folder, runs)
        data.make(Watch())
        yield from reading(folder, data)


def photographs(folder: Path) -> None:
    """Smooth noise as JPEG files, which decode as slowly as photographs do."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for (width, height), count in PHOTOGRAPHS.items():
        for number in range(count):
            coarse = rng.integers(0, 256, (height // 8, width // 8, 3), np.uint8)
            image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
            image.save(folder / f"{width}-{number}.jpg", quality=90)


def decoded(path: Path) -> np.ndarray:
    """A file as plain Pillow decodes and resizes it."""
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    scale = SIZE_PX / min(rgb.size)
    size = (max(SIZE_PX, round(rgb.width * scale)), max(SIZE_PX, round(rgb.height * scale)))
    return np.asarray(rgb.resize(size, Image.Resampling.BICUBIC))


def importing(folder: Path, runs: Path) -> Row:
    """The whole import, with checksums and the disk, against decoding alone on as many cores."""
    paths = sorted(folder.iterdir())

    def own() -> None:
        shutil.rmtree(runs, ignore_errors=True)
        OwnImages.find(SPEC, folder, runs).make(Watch())

    def pillow() -> None:
        with ThreadPoolExecutor(cores()) as pool:
            for image in pool.map(decoded, paths):
                del image

    ours, theirs = medians(own, pillow, rounds=3)
    note = f"{len(paths) / ours:.0f} and {len(paths) / theirs:.0f} files/s, {cores()} cores"
    return Row("import of JPEG files / Pillow's decode and resize", ours / theirs, 1.15, True, note)


class Held(ImageSplit):
    """The images of a split, in memory."""

    ids = ()

    def __init__(self, split: ImageSplit) -> None:
        self.root, self.name, self.scale = split.root, split.name, split.scale
        self.size_px, self.channels, self.dtype = split.size_px, split.channels, split.dtype
        self.images = np.stack([split.image(index) for index in range(len(split))])

    def __len__(self) -> int:
        """The number of images."""
        return len(self.images)

    def image(self, index: int) -> np.ndarray:
        """One image, (C, size_px, size_px)."""
        return self.images[index]


def reading(folder: Path, data: OwnImages) -> Iterator[Row]:
    """Random crops of the store, half of them mirrored, against memory and against the files."""
    live, source = data.spec.live_views(), data.source()
    held = data.pixels(Held(data.train))
    rng, every = np.random.default_rng(1), sorted(folder.iterdir())
    drawn = [rng.integers(0, len(data.train), BATCH) for _ in range(BATCHES)]
    places = [live.draw(generator(1, "bench", at), each) for at, each in enumerate(drawn)]
    buffer = source.buffer(BATCH, live.crop_patches)
    copied = rng.integers(0, 256, (BATCHES, *buffer.shape), np.uint8)

    def cut() -> None:
        for each in places:
            source.fill(buffer, each)

    def cut_held() -> None:
        for each in places:
            held.fill(buffer, each)

    def copy() -> None:
        for each in copied:
            buffer.numpy()[...] = each

    def decode() -> None:
        for number in drawn[0][:8]:
            decoded(every[number])

    ours, memory, memcpy, files = medians(cut, cut_held, copy, decode, rounds=15)
    per_s = BATCHES * BATCH / ours
    note = f"{per_s:,.0f} crops of {CROP_PX} px a second, {per_s * buffer[0].nbytes / 1e9:.1f} GB/s"
    yield Row(
        "random crops of imported images, warm / of an array in memory", memory / ours, 0.5, False
    )
    yield Row("random crops of imported images, warm / memcpy", memcpy / ours, 0.5, False, note)
    yield Row("the same / decoding the files", files / 8 * per_s, 20, False, "on one core")
