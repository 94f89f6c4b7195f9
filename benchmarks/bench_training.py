"""Training and extraction at full width, against the bare module in the same run.

The paper's modules at batch 4 on a few synthetic images, so that one step takes about a second on
two cores. What is measured is gimstage's own share of the step: reading, loss, optimiser, writing.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from common import Row, medians, parts_of, step_with

from gimstage.device import find_device, module_to_device, to_fastest_layout
from gimstage.draws import generator
from gimstage.extract import GridExtraction, extraction
from gimstage.extract.layout import features_layout
from gimstage.inputs import find_data, output_source, prefetched
from gimstage.progress import Watch
from gimstage.recipe.recipe import Recipe
from gimstage.train.loop import load_samples
from gimstage.work.base import Settings
from gimstage.work.pipeline import Pipeline

STAGES = Path(__file__).parents[1] / "stages"
CPU = torch.device("cpu")
BATCH = 4
DEMO = """
[demo]
seed = 1
unlabeled = {count}
train = 1
test = 1
"""


def recipe(home: Path, base: str, *, count: int, batch: int, steps: int) -> Path:
    """A copy of a recipe on `count` synthetic images, with few steps and stored features."""
    folder = home / base
    shutil.copytree(STAGES / base, folder)
    data = (folder / "data.toml").read_text()
    data = data.replace('source = "stl10"', 'source = "demo_images"').partition("[demo]")[0]
    (folder / "data.toml").write_text(data + DEMO.format(count=count))
    for path in folder.glob("[0-9]*.toml"):
        lines = []
        for line in path.read_text().splitlines():
            key = line.partition(" = ")[0]
            new = {"batch_size": batch, "steps": steps, "store": '"features"'}
            new |= {"epochs": None} if key == "epochs" else {}
            lines.append(
                f"steps = {steps}"
                if key == "epochs"
                else f"{key} = {new[key]}"
                if key in new
                else line
            )
        path.write_text("\n".join(lines) + "\n")
    return folder


def pipeline(folder: Path, runs: Path) -> Pipeline:
    """The recipe's pipeline on the CPU."""
    loaded = Recipe.load(folder)
    settings = Settings(device=find_device("cpu"), workers=2, max_disk=None, checkpoint_every_s=1e9)
    data = find_data(loaded.data, None, runs)
    data.make(Watch())
    return Pipeline(loaded, data, root=runs, settings=settings, watch=Watch())


def rows() -> Iterator[Row]:
    """The rows of training and extraction."""
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        folder = recipe(home, "stl10", count=24, batch=BATCH, steps=1)
        pipe = pipeline(folder, home / "runs")
        for number in (1, 2, 3):
            yield from stage_rows(pipe, number)
            pipe.train_stage(number)
    yield resident_memory()


def stage_rows(pipe: Pipeline, number: int) -> Iterator[Row]:
    """A step against the bare module, its wait for data, and extraction against the forward."""
    chain = pipe.recipe.chain(number)
    source = output_source(pipe.runs, pipe.data, chain.upstream, CPU)
    draws = pipe.data.draws(chain)
    module, objective = parts_of(chain)
    adam = torch.optim.Adam([*module.parameters(), *objective.parameters()], lr=1e-5)
    buffers = [source.buffer(BATCH, draws.size) for _ in range(3)]
    batches = prefetched(source, map(draws, range(10**6)), buffers=buffers, workers=2)
    module_to_device(module, CPU)
    raw, where = next(batches)
    held = to_fastest_layout(source.prepare(raw.clone(), where).clone())
    waits: list[float] = []

    def step() -> None:
        began = time.perf_counter()
        raw, where = next(batches)
        waits.append(time.perf_counter() - began)
        step_with(
            module,
            objective,
            adam,
            load=partial(load_samples, source, raw, where, CPU),
            count=BATCH,
            rng=generator(2, "bench"),
        )

    def bare() -> None:
        module.zero_grad(set_to_none=True)
        module(held).mean().backward()

    stepping, plain = medians(step, bare, rounds=7)
    note = f"{stepping:.3f} s, bare {plain:.3f} s"
    yield Row(
        f"stage {number} step against bare forward + backward", stepping / plain, 1.15, True, note
    )
    if number > 1:
        share = sorted(waits[1:])[len(waits) // 2] / stepping
        yield Row(f"stage {number} waiting for cached data, share of the step", share, 0.05, True)
    yield extraction_row(pipe, number)


def extraction_row(pipe: Pipeline, number: int) -> Row:
    """Extraction to disk against the frozen forward pass over the same patches."""
    chain = pipe.recipe.chain(number)
    source = output_source(pipe.runs, pipe.data, chain.upstream, CPU)
    module, _ = parts_of(chain)
    work = extraction(chain, module, pipe.data, source, device=CPU, workers=2)
    assert isinstance(work, GridExtraction)
    layout = features_layout(chain, pipe.data, fingerprint="bench", weights_sha256="")
    path = pipe.root / "bench.zarr"
    where = work.stored.whole(torch.arange(work.batch_samples).numpy())
    raw = source.fill(source.buffer(len(where), where.size), where)
    held = to_fastest_layout(source.prepare(raw, where).clone())

    def extract() -> None:
        shutil.rmtree(path, ignore_errors=True)
        work.write(path, layout, labels=pipe.data.labels, watch=Watch())

    @torch.no_grad()
    def forward() -> None:
        for _ in range(pipe.data.num_samples // work.batch_samples):
            for tile in held.split(work.tile_samples):
                module(tile)

    extracting, plain = medians(extract, forward, rounds=3)
    note = f"{extracting:.2f} s, forward {plain:.2f} s"
    return Row(
        f"stage {number} extraction against the forward pass", extracting / plain, 1.15, True, note
    )


PEAK = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import bench_training
home = Path(sys.argv[2])
folder = bench_training.recipe(home, "demo", count=int(sys.argv[3]), batch=16, steps=30)
bench_training.pipeline(folder, home / "runs").train_stage(1)
bench_training.pipeline(folder, home / "runs").train_stage(2)
status = Path("/proc/self/status").read_text()  # getrusage would count the parent's peak too
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


def resident_memory() -> Row:
    """Peak resident memory of two stages on ten times the images, in processes of their own."""
    peaks = []
    for count in (200, 2000):
        with tempfile.TemporaryDirectory() as home:
            command = [sys.executable, "-c", PEAK, str(Path(__file__).parent), home, str(count)]
            peaks.append(int(subprocess.run(command, capture_output=True, check=True).stdout))
    note = f"{peaks[0] / 1024:.0f} MiB, {peaks[1] / 1024:.0f} MiB"
    return Row("resident memory, tenfold images", peaks[1] / peaks[0], 1.05, True, note)
