"""What importing sound of one's own is worth, and what it costs in memory.

Crops of 1.28 s at random places of many recordings, out of the store that they were imported to:
against the same out of an array in memory, and against decoding the recordings.
"""

import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from common import Row, medians

from gimstage.inputs import Sound
from gimstage.progress import Watch
from gimstage.specs.own_sound import SoundDataSpec

RATE_HZ, CROP, BATCH = 16_000, 20_480, 32
KEYS = {
    "source": "sound",
    "train_split": "train",
    "rate_hz": RATE_HZ,
    "channels": 1,
    "mean": 0.0,
    "std": 0.1,
    "views": {"crop_frames": 128},
    "stored_views": {"kind": "utterances"},
}


def rows() -> Iterator[Row]:
    """The rows of sound of one's own."""
    with tempfile.TemporaryDirectory() as home:
        yield from reading(Path(home))
    yield resident_memory()


def write(path: Path, seconds: int) -> None:
    """Noise at 44.1 kHz in two channels, which has to be mixed down and resampled."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = 0.05 * np.random.default_rng(seconds).standard_normal((44_100, 2))
    with soundfile.SoundFile(path, "w", 44_100, 2, subtype="PCM_16") as file:
        for _ in range(seconds):
            file.write(noise)


def imported(home: Path) -> Sound:
    """The sound in home/own, imported."""
    data = Sound.find(SoundDataSpec.model_validate(KEYS), home / "own", home / "runs")
    data.make(Watch())
    return data


def reading(home: Path) -> Iterator[Row]:
    """Batches of crops out of a store, out of memory, and out of the files themselves."""
    for name in [*map(str, range(40)), "../test/0"]:
        write(home / "own/train" / f"{name}.flac", 20)
    data = imported(home)
    split, paths = data.train, list(data.originals.values())
    rng = np.random.default_rng(1)
    stored = np.empty((data.store.rows, 1), data.layout.dtype)
    data.store.read(0, stored)
    crops = np.empty((BATCH, CROP, 1), np.float32)
    copies = np.empty_like(crops)

    shortest = int(split.samples.min()) - CROP

    def read() -> None:
        indices, firsts = rng.integers(0, len(split), BATCH), rng.integers(0, shortest, BATCH)
        for crop, index, first in zip(crops, indices.tolist(), firsts.tolist(), strict=True):
            split.read(index, first, crop)

    def copy() -> None:
        firsts = rng.integers(0, len(stored) - CROP, BATCH).tolist()
        for crop, first in zip(copies, firsts, strict=True):
            crop[...] = stored[first : first + CROP]
            crop *= np.float32(2**-15)

    def decode() -> None:
        for index in rng.integers(0, len(split), 4):
            for blocks in data.decoded([paths[index]]):
                deque(blocks, maxlen=0)

    seconds, of_memory, of_files = medians(read, copy, decode, rounds=40, warmup=5)
    note = f"{crops.nbytes / seconds / 1e9:.2f} GB/s, memory {crops.nbytes / of_memory / 1e9:.2f}"
    yield Row("own sound, crops of 1.28 s / out of memory", of_memory / seconds, 0.5, False, note)
    per_crop, per_file = seconds / BATCH, of_files / 4
    note = f"{per_crop * 1e6:.0f} µs, a file of 20 s {per_file * 1e3:.0f} ms"
    yield Row("own sound, a crop / decoding its file", per_file / per_crop, 20, False, note)


ALONE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import bench_own_sound
print(bench_own_sound.peak(Path(sys.argv[2])))
"""


def peak(home: Path) -> int:
    """Peak resident memory in KiB of importing the sound of a home and reading all of it."""
    split, out = imported(home).train, np.empty((CROP, 1), np.float32)
    for start in range(0, int(split.samples[0]) - CROP, CROP):
        split.read(0, start, out)
    status = Path("/proc/self/status").read_text()  # getrusage would count the parent's peak too
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def resident_memory() -> Row:
    """Peak resident memory of importing two minutes and three hours, in processes of their own."""
    peaks = []
    for minutes in (2, 180):
        with tempfile.TemporaryDirectory() as home:
            write(Path(home) / "own/train/a.flac", 60 * minutes)
            write(Path(home) / "own/test/b.flac", 2)
            command = [sys.executable, "-c", ALONE, str(Path(__file__).parent), home]
            peaks.append(int(subprocess.run(command, capture_output=True, check=True).stdout))
    note = f"{peaks[0] / 1024:.0f} MiB, {peaks[1] / 1024:.0f} MiB"
    return Row("resident memory, 3 h / 2 min of own sound", peaks[1] / peaks[0], 1.05, True, note)
