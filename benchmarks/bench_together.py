"""Modules trained side by side, and the search for what excites them: memory, time, bytes read.

Side by side, each module goes backward before the next goes forward. The yardstick is what one
would write first: all modules forward, one backward pass of the sum of their losses.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import bench_cache as cache
import bench_memory as memory
import numpy as np
import torch
from bench_infonce import one_thread
from common import Row, medians
from torch import Tensor, nn

from gimstage.cache import FeatureReader
from gimstage.device import find_device, module_to_device, to_fastest_layout
from gimstage.draws import generator
from gimstage.plan.fit import predicted_peak
from gimstage.plan.memory import Peak, predict_peak
from gimstage.recipe.chain import Chain
from gimstage.stack import Learner, new_learners, whole_module
from gimstage.train.step import Batch, training_step

SIMULTANEOUS, SMALL = "stl10_simultaneous", "stl10_small_simultaneous"
UNIT = (1, 5, 5, 32, 4, 4)  # of a searched store: 25.6 kB a sample
FEW = 1280  # samples, 33 MB: more than the search holds at once

StepOf = Callable[[Sequence[Learner], Batch, torch.optim.Optimizer], object]


def rows() -> Iterator[Row]:
    """Both memories, the time, the search."""
    find_device("cpu")
    yield predicted_row()
    yield recorded_row()
    yield time_row()
    yield from search_rows()


def in_turn(learners: Sequence[Learner], batch: Batch, adam: torch.optim.Optimizer) -> None:
    """Gimstage's plain step in float32."""
    due = [True for _ in learners]
    training_step(
        learners, batch, optimiser=adam, precision="float32", micro_batch=batch.count, due=due
    )


def at_once(
    learners: Sequence[Learner],
    batch: Batch,
    adam: torch.optim.Optimizer,
    precision: str = "float32",
) -> None:
    """A step that runs all modules forward and goes backward once, from the sum of their losses."""
    adam.zero_grad(set_to_none=True)
    inputs, losses = [batch.load(0, batch.count)], []
    for learner, rng in zip(learners, batch.rngs, strict=True):
        objective = learner.objective
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            made = learner.module.outputs(inputs.pop())
            draws = objective.draw(made.codes.shape, rng)
            losses.append(objective(made.codes, made.contexts, draws, batch.labels).loss)
        inputs.append(made.features.detach())
        del made
    inputs.clear()  # as in gimstage's step, maps live as long as autograd needs them
    torch.stack(losses).sum().backward()
    adam.step()


def batch_of(learners: Sequence[Learner], x: Tensor, load: Callable[[Tensor], Tensor]) -> Batch:
    """A batch of module input x, of which `load` puts parts on the device."""
    return Batch(
        load=lambda first, last: load(x[first:last]),
        count=len(x),
        labels=None,
        rngs=[generator(1, "bench", learner.position) for learner in learners],
    )


def predicted_row() -> Row:
    """The paper's widths and batch, predicted."""
    chain = memory.chain_of(SIMULTANEOUS, 1)
    count = chain.last.spec.train.batch_size
    peaks = predicted_peak(chain, count, False), predicted_at_once(chain)
    what = f"{SIMULTANEOUS}, batch {count}: predicted peak / that of one summed-loss backward"
    return memory_row(what, *(peak.allocated_bytes for peak in peaks))


def recorded_row() -> Row:
    """Narrow modules, recorded."""
    chain = memory.chain_of(SMALL, 1)
    peaks = [recorded(chain, step).peak_bytes for step in (in_turn, at_once)]
    count = chain.last.spec.train.batch_size
    what = f"{SMALL}, batch {count}: recorded peak / that of one summed-loss backward"
    return memory_row(what, *peaks)


def memory_row(what: str, own: int, other: int) -> Row:
    """The row of a peak against another."""
    note = f"{own / 1e6:.0f} MB against {other / 1e6:.0f} MB"
    return Row(what, own / other, 0.7, at_most=True, note=note)


def predicted_at_once(chain: Chain) -> Peak:
    """The predicted peak, were the last stage trained with one backward pass for all losses."""
    train, learners = chain.last.spec.train, list[Learner]()

    def build() -> tuple[nn.Module, nn.Module]:
        learners[:] = new_learners(chain)
        return (
            nn.ModuleList(learner.module for learner in learners),
            nn.ModuleList(learner.objective for learner in learners),
        )

    def step(_: nn.Module, __: nn.Module, adam: torch.optim.Optimizer, x: Tensor) -> None:
        batch = batch_of(learners, x, lambda part: part.to(memory.CPU))
        at_once(learners, batch, adam, train.precision)

    shape = memory.input_shape(chain, train.batch_size)
    return predict_peak(build, step, batch_shape=shape, resident=False)


def recorded(chain: Chain, step: StepOf) -> memory.Record:
    """What the profiler records of a real step on a batch as large as the recipe's."""
    learners, x = new_learners(chain), noise(chain)
    module_to_device(whole_module(learners), memory.CPU)
    parts = [part for each in learners for part in (each.module, each.objective)]
    # A clone stands for the move to a device.
    return memory.record_of(
        parts, lambda adam: step(learners, batch_of(learners, x, Tensor.clone), adam)
    )


def noise(chain: Chain) -> Tensor:
    """A batch of the first module's input."""
    shape = memory.input_shape(chain, chain.last.spec.train.batch_size)
    return to_fastest_layout(torch.randn(shape, generator=generator(1, "bench")))


def time_row() -> Row:
    """A step of all modules against the steps of each on features that lie in memory."""
    chain = memory.chain_of(SMALL, 1)
    learners, inputs = new_learners(chain), [noise(chain)]
    module_to_device(whole_module(learners), memory.CPU)
    with torch.no_grad():
        for learner in learners[:-1]:
            inputs.append(learner.module(inputs[-1]))
    alone = [stepping([learner], x) for learner, x in zip(learners, inputs, strict=True)]
    with one_thread():
        together, *each = medians(stepping(learners, inputs[0]), *alone, rounds=9)
    parts = " + ".join(f"{seconds:.3f}" for seconds in each)
    note = f"{together:.3f} s against {parts} s"
    what = "simultaneous GIM step against the sum of its three modules' steps"
    return Row(what, together / sum(each), 1.05, at_most=True, note=note)


def stepping(learners: Sequence[Learner], x: Tensor) -> Callable[[], None]:
    """Steps of these learners on one batch, with an optimiser of their own."""
    weights = [
        weight
        for learner in learners
        for part in (learner.module, learner.objective)
        for weight in part.parameters()
    ]
    adam = torch.optim.Adam(weights, lr=1e-5)
    return lambda: in_turn(learners, batch_of(learners, x, lambda part: part), adam)


SEARCH = """
import sys
from pathlib import Path
from gimstage.cache import FeatureReader
from gimstage.report.neurons import search

def count(file, key):
    lines = Path("/proc/self", file).read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(key)))

read, resident = count("io", "rchar"), count("status", "VmHWM")
search(FeatureReader(sys.argv[1]), 16)
print(count("io", "rchar") - read, resident, count("status", "VmHWM"))
"""


def search_rows() -> Iterator[Row]:
    """What a search reads, and what memory it takes for ten times the samples."""
    (_, _, before, few), (stored, read, after, many) = searched(FEW), searched(10 * FEW)
    note = f"{read / 1e6:.2f} MB of {stored / 1e6:.2f} MB"
    what = "top-k search over features.zarr, bytes read / bytes stored"
    yield Row(what, read / stored, 1.0, at_most=True, note=note)
    little, much = few - before, many - after
    figures = f"{little / 1024:.1f} MiB, {much / 1024:.1f} MiB"
    note = f"{figures}, beside {before / 1024:.0f} MiB resident before the search"
    what = "top-k search, extra memory for ten times the samples"
    yield Row(what, much / little, 1.1, at_most=True, note=note)


def searched(samples: int) -> tuple[int, ...]:
    """Bytes of a store and bytes read by its search; peak resident kB before it and after.

    In a process of its own, whose malloc hands large buffers back once they are freed: what is
    resident is then what the search holds. By default it keeps 20 to 80 MB more, as it happens, but
    no more after 8 GB than after 1 GB.
    """
    with tempfile.TemporaryDirectory(prefix="gimstage-bench-") as folder:
        path = Path(folder) / "features.zarr"
        write_store(path, samples)
        command = [sys.executable, "-c", SEARCH, str(path)]
        settings = os.environ | {"MALLOC_MMAP_THRESHOLD_": "1000000"}
        process = subprocess.run(command, capture_output=True, check=True, env=settings)
        return (FeatureReader(path).nbytes, *map(int, process.stdout.split()))


def write_store(path: Path, samples: int) -> None:
    """Noise in the form of an image stage's features."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((64, *UNIT), np.float32).astype(np.float16)
    cache.write(path, cache.layout((samples, *UNIT), "float16", samples // 2), values)
