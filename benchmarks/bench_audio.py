"""What the cache is worth on speech, and what speech costs: steps, seeks, tiles, windows.

The paper's widths (512, GRU 256) at batch 8 on a few minutes of synthetic speech. The recording of
two hours is encoded by a narrow encoder: its memory is what is looked at.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch
from bench_training import CPU, pipeline
from common import Row, medians, parts_of, step_with

from gimstage.cache import ArrayLayout, FeatureReader, FeatureWriter, StoreLayout
from gimstage.device import module_to_device
from gimstage.draws import generator
from gimstage.inputs import HandOff, Source, output_source, prefetched
from gimstage.train.loop import load_samples
from gimstage.work.pipeline import Pipeline

STAGES = Path(__file__).parents[1] / "stages"
DEMO = """
[demo]
seed = 1
speakers = 4
train = 6
test = 1
"""


def rows() -> Iterator[Row]:
    """The rows of speech."""
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        pipe = pipeline(recipe(home, steps=1), home / "runs")
        for number in range(1, 6):
            pipe.train_stage(number)
        yield stage_row(pipe, home, number=5, reach=2.5)
        yield stage_row(pipe, home, number=6, reach=3.0)
        yield windows(home / "windows.zarr")
        yield seeking(home)
    yield resident_memory()


def recipe(home: Path, *, steps: int) -> Path:
    """A copy of stages/librispeech on synthetic speech, every stage stored, of few steps."""
    folder = home / "librispeech"
    folder.mkdir(parents=True)
    for path in (STAGES / "librispeech").glob("[0-9d]*.toml"):
        text = path.read_text().replace('"librispeech"', '"demo_speech"')
        text = text.replace("epochs = 1000", f"steps = {steps}")
        text = text.replace('store = "none"', 'store = "features"')
        (folder / path.name).write_text(text + (DEMO if path.stem == "data" else ""))
    return folder


def stage_row(pipe: Pipeline, home: Path, *, number: int, reach: float) -> Row:
    """A step from the cache against one that runs all modules below again."""
    chain = pipe.recipe.chain(number)
    cached = output_source(pipe.runs, pipe.data, chain.upstream, CPU)
    recomputed: Source = pipe.data.source()
    for below in range(1, number):
        part = pipe.recipe.chain(below)
        module = module_to_device(parts_of(part)[0].eval(), CPU)
        handoff = HandOff.of(part.last.spec.output, module)
        recomputed = pipe.data.recomputed_source(recomputed, module, handoff)
    fast, slow = medians(
        stepping(pipe, number, cached), stepping(pipe, number, recomputed), rounds=5
    )
    note = f"{fast * 1e3:.0f} ms against {slow * 1e3:.0f} ms"
    what = f"speech stage {number}, steps/s from the cache / recomputing below"
    return Row(what, slow / fast, reach, at_most=False, note=note)


def stepping(pipe: Pipeline, number: int, source: Source) -> Callable[[], None]:
    """One training step of a stage on batches of a source."""
    chain = pipe.recipe.chain(number)
    draws = pipe.data.draws(chain)
    module, objective = parts_of(chain)
    module_to_device(module, CPU)
    adam = torch.optim.Adam([*module.parameters(), *objective.parameters()], lr=1e-5)
    buffers = [source.buffer(draws.batch_size, draws.size) for _ in range(3)]
    batches = prefetched(source, map(draws, range(10**6)), buffers=buffers, workers=2)

    def step() -> None:
        raw, where = next(batches)
        step_with(
            module,
            objective,
            adam,
            load=partial(load_samples, source, raw, where, CPU),
            count=len(where),
            rng=generator(2, "bench"),
        )

    return step


def windows(path: Path) -> Row:
    """Random windows of 128 rows out of ragged features, against copying them out of memory."""
    count, channels = 200_000, 512
    array = ArrayLayout(
        name="features",
        shape=(count, channels),
        dims=("frame", "channel"),
        encoding="float16",
        chunk=(128, channels),
        shard_rows=-(-count // 128) * 128,
    )
    rng = np.random.default_rng(0)
    values = torch.from_numpy(rng.standard_normal((count, channels), np.float32)).half()
    writer = FeatureWriter(path, StoreLayout(arrays=(array,)))
    with writer.shard(0) as file:
        file.append({"features": values})
    reader, turns = FeatureReader(path), 300
    starts = iter(rng.integers(0, count - 128, (4 * turns, 32, 1)))
    read, copied = (torch.empty(32, 128, channels, dtype=torch.float16) for _ in range(2))

    def copy() -> None:
        for window, [start] in zip(copied, next(starts).tolist(), strict=True):
            window.copy_(values[start : start + 128])

    reading, copying = medians(
        lambda: reader.read("features", read, next(starts)), copy, rounds=turns, warmup=50
    )
    note = f"{read.nbytes / reading / 1e9:.1f} GB/s, memory {read.nbytes / copying / 1e9:.1f} GB/s"
    return Row("reader, windows of 128 rows / memcpy", copying / reading, 0.5, False, note)


def seeking(home: Path) -> Row:
    """A crop of 1.28 s out of 15 s by seeking against decoding the whole file."""
    from gimstage.data.librispeech import open_split

    rng = np.random.default_rng(1)
    for name in ("1-1-0000", "1-1-0001"):
        path = home / "long/1/1" / f"{name}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.convolve(rng.standard_normal(15 * 16_000), np.ones(16) / 40, "same")
        soundfile.write(path, noise.clip(-1, 1), 16_000, subtype="PCM_16")
    split = open_split(home / "long", "train")
    whole, crop = np.empty((15 * 16_000, 1), np.float32), np.empty((20_480, 1), np.float32)
    places = iter(np.resize(rng.integers(0, 15 * 16_000 - 20_480, 997), 10**5).tolist())
    seek, decode = medians(
        lambda: split.read(0, next(places), crop), lambda: split.read(0, 0, whole), rounds=50
    )
    note = f"{seek * 1e3:.2f} ms against {decode * 1e3:.2f} ms"
    return Row("a crop of 1.28 s by seeking / the whole file", seek / decode, 0.4, True, note)


NARROW = """
import sys
from pathlib import Path
import numpy as np
import soundfile
sys.path.insert(0, sys.argv[1])
import bench_audio
bench_audio.encode_recording(Path(sys.argv[2]), minutes=int(sys.argv[3]))
status = Path("/proc/self/status").read_text()  # getrusage would count the parent's peak too
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


def encode_recording(home: Path, *, minutes: int) -> None:
    """Write a recording of noise, and take it through five narrow convolutions."""
    from gimstage.inputs import find_data
    from gimstage.progress import Watch
    from gimstage.recipe.recipe import Recipe
    from gimstage.work.base import Settings

    rng = np.random.default_rng(0)
    for name, seconds in (("1-1-0000", 60 * minutes), ("1-1-0001", 2)):
        path = home / "data/1/1" / f"{name}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        with soundfile.SoundFile(path, "w", 16_000, 1, subtype="PCM_16") as file:
            for _ in range(seconds):
                file.write(0.05 * rng.standard_normal(16_000))
    lists = home / "data"
    (lists / "train_split.txt").write_text("1-1-0000\n")
    (lists / "test_split.txt").write_text("1-1-0001\n")
    folder = home / "narrow"
    folder.mkdir()
    for path in (STAGES / "librispeech_small").glob("[1-5d]*.toml"):
        text = path.read_text().replace("steps = 1000", "steps = 1")
        text = text.replace("channels = 64", "channels = 8")
        (folder / path.name).write_text(text.replace("batch_size = 8", "batch_size = 1"))
    loaded = Recipe.load(folder)
    settings = Settings(device=CPU, workers=2, max_disk=None, checkpoint_every_s=1e9)
    data = find_data(loaded.data, home / "data", home / "runs")
    Pipeline(loaded, data, root=home / "runs", settings=settings, watch=Watch()).run()


def resident_memory() -> Row:
    """Peak resident memory of encoding two minutes and two hours, in processes of their own."""
    peaks, seconds = [], []
    for minutes in (2, 120):
        with tempfile.TemporaryDirectory() as home:
            command = [sys.executable, "-c", NARROW, str(Path(__file__).parent), home, str(minutes)]
            began = time.perf_counter()
            peaks.append(int(subprocess.run(command, capture_output=True, check=True).stdout))
            seconds.append(time.perf_counter() - began)
    note = f"{peaks[0] / 1024:.0f} MiB, {peaks[1] / 1024:.0f} MiB ({seconds[1]:.0f} s)"
    return Row("resident memory, 2 h / 2 min of audio", peaks[1] / peaks[0], 1.05, True, note)
