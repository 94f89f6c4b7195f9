"""What the memory contract costs, and whether the prediction it rests on is true here.

A step in two passes and a checkpointed step are timed against the plain one, at the paper's widths
and a batch that a CPU can take. The prediction of gimstage.plan.memory is held against the
profiler's record of everything the CPU allocates in real steps; what oneDNN takes inside its
kernels, which no trace can see, is told apart. Predicted bytes are compared with what the design
promises.

`benchmarks/memory_table.py` makes its tables from the functions here.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from bench_infonce import one_thread
from common import Row, parts_of, step_with
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function

from gimstage.device import find_device, module_to_device, to_fastest_layout
from gimstage.draws import generator
from gimstage.plan import fit, predictions
from gimstage.plan.memory import Budget, Peak, Step, predict_peak
from gimstage.recipe.chain import Chain
from gimstage.recipe.recipe import Recipe

STAGES = Path(__file__).parents[1] / "stages"
CPU = torch.device("cpu")
IMAGES, SPEECH = "stl10", "librispeech"
NUMBERS = {IMAGES: (1, 2, 3), SPEECH: (1, 2, 3, 4, 5, 6)}
TIMED_BATCH, RECORDED_BATCH = 4, 8
# Ways of the timed batch: micro-batch, checkpointing.
PLAIN, WAYS = (4, False), ((2, False), (1, False), (4, True), (1, True))
# Inside these oneDNN allocates by itself; what they return is made by another operation.
ONEDNN = ("aten::mkldnn_convolution", "aten::convolution_backward")
GIGABYTE = Budget(10**9, context_bytes=500 * 10**6, workspace_bytes=128 * 10**6, margin_share=0.1)


def rows() -> Iterator[Row]:
    """Time of the exact ways, the search, the prediction against the record, the promised bytes."""
    find_device("cpu")
    for number in NUMBERS[IMAGES]:
        yield from timing_rows(number)
    yield search_row()
    for recipe, numbers in NUMBERS.items():
        for number in numbers:
            yield recorded_row(recipe, number)
    yield from promised_rows()


def timing_rows(number: int) -> Iterator[Row]:
    """Every way of a step of a vision stage against the plain step."""
    for (micro_batch, checkpointing), (ratio, note) in timings(number).items():
        if micro_batch < TIMED_BATCH and checkpointing:
            continue  # two measures at once: for the page alone
        way = "checkpointing" if checkpointing else f"two passes of {micro_batch}"
        yield Row(f"stage {number}, batch {TIMED_BATCH}: {way}, time", ratio, 1.4, True, note)


def timings(number: int) -> dict[tuple[int, bool], tuple[float, str]]:
    """By micro-batch and checkpointing: time of a step as a share of the plain one's, seconds."""
    chain = chain_of(IMAGES, number)
    module, objective = parts_of(chain)
    module_to_device(module, CPU)
    adam = torch.optim.Adam([*module.parameters(), *objective.parameters()], lr=1e-5)
    rng = generator(1, "bench")
    batch = to_fastest_layout(torch.randn(input_shape(chain, TIMED_BATCH), generator=rng))

    def way(micro_batch: int, checkpointing: bool) -> Callable[[], None]:
        step = step_on(lambda part: part, chain, TIMED_BATCH, micro_batch=micro_batch)

        def run() -> None:
            module.checkpointing = checkpointing
            step(module, objective, adam, batch)

        return run

    with one_thread():
        plain, *others = processor_medians([way(*how) for how in (PLAIN, *WAYS)], rounds=3)
    notes = [f"{seconds:.2f} s against {plain:.2f} s" for seconds in others]
    return dict(zip(WAYS, zip([s / plain for s in others], notes, strict=True), strict=True))


def processor_medians(subjects: list[Callable[[], object]], rounds: int) -> list[float]:
    """As `common.medians`, but processor time: a step takes long enough for others to interrupt."""
    times: list[list[float]] = [[] for _ in subjects]
    for _ in range(1 + rounds):
        for subject, seconds in zip(subjects, times, strict=True):
            start = time.process_time()
            subject()
            seconds.append(time.process_time() - start)
    return [statistics.median(seconds[1:]) for seconds in times]


def search_row() -> Row:
    """Processor seconds to find the setting of every stage of a recipe, nothing known yet."""
    predictions._known.clear()
    began, worked = time.perf_counter(), time.process_time()
    settings = [fit.choose(chain_of(IMAGES, number), GIGABYTE) for number in NUMBERS[IMAGES]]
    worked, waited = time.process_time() - worked, time.perf_counter() - began
    found = ", ".join(str(setting.micro_batch) for setting in settings)
    note = f"{waited:.1f} s by the clock; micro-batches {found}"
    return Row("plan's search for stl10 under 1 GB, processor seconds", worked, 20, True, note)


def recorded_row(recipe: str, number: int) -> Row:
    """How far the predicted peak is from the recorded one."""
    predicted, record = compared(recipe, number)
    ratio = predicted.allocated_bytes / record.peak_bytes
    beside = predicted.allocated_bytes / record.without_onednn_bytes
    figures = f"{predicted.allocated_bytes / 1e6:.1f} MB predicted, {record.peak_bytes / 1e6:.1f}"
    note = f"{figures} recorded; ratio {ratio:.3f}, {beside:.3f} without oneDNN's copies"
    what = f"{recipe}/{number}, batch {RECORDED_BATCH}: prediction off the profiler's record by"
    return Row(what, abs(ratio - 1), 0.12, True, note)


def promised_rows() -> Iterator[Row]:
    """Predicted reserved bytes of every stage, as `gimstage plan` shows them."""
    for number in NUMBERS[IMAGES]:
        chain = chain_of(IMAGES, number)
        for precision, micro_batch, reach in [
            ("float32", 32, 2800),
            ("float32", 4, 512),
            ("bfloat16", 4, 400),
        ]:
            at_precision = trained_with(chain, precision=precision)
            peak = fit.predicted_peak(at_precision, micro_batch, False)
            yield promised(f"stl10/{number}, micro-batch {micro_batch}, {precision}", peak, reach)
    for number in NUMBERS[SPEECH]:
        peak = fit.predicted_peak(chain_of(SPEECH, number), 8, False)
        yield promised(f"librispeech/{number}, plain, float32", peak, 512)


def promised(what: str, peak: Peak, reach: float) -> Row:
    """The row of one prediction, in MiB."""
    measured, allocated = peak.reserved_bytes / 2**20, peak.allocated_bytes / 2**20
    note = f"{measured:.1f}, of which allocated {allocated:.1f}"
    return Row(f"{what}: predicted reserved MiB", measured, reach, True, note)


@dataclass(frozen=True)
class Record:
    """The peak of a real step on the CPU.

    Args:
        peak_bytes: of everything allocated, weights included.
        without_onednn_bytes: the same, less what kernels of oneDNN hold while they run.
    """

    peak_bytes: int
    without_onednn_bytes: int


def compared(recipe: str, number: int) -> tuple[Peak, Record]:
    """The predicted and the recorded second step of a stage that reads stored input."""
    chain = chain_of(recipe, number)
    return predicted(chain, RECORDED_BATCH), recorded(chain, RECORDED_BATCH)


def predicted(
    chain: Chain,
    count: int,
    *,
    micro_batch: int | None = None,
    checkpointing: bool = False,
    precision: str = "float32",
) -> Peak:
    """The predicted peak of a step that reads stored input, moved to the device part by part."""

    def build() -> tuple[torch.nn.Module, torch.nn.Module]:
        module, objective = parts_of(chain)
        module.checkpointing = checkpointing
        return module, objective

    step = step_on(
        lambda part: part.to(CPU), chain, count, micro_batch=micro_batch, precision=precision
    )
    return predict_peak(build, step, batch_shape=input_shape(chain, count), resident=False)


def recorded(chain: Chain, count: int) -> Record:
    """The same step run for real."""
    module, objective = parts_of(chain)
    module_to_device(module, CPU)
    rng = generator(1, "bench")
    batch = to_fastest_layout(torch.randn(input_shape(chain, count), generator=rng))
    step = step_on(Tensor.clone, chain, count)  # in place of the move to a device
    return record_of([module, objective], lambda adam: step(module, objective, adam, batch))


def record_of(
    parts: Sequence[torch.nn.Module], step: Callable[[torch.optim.Optimizer], object]
) -> Record:
    """The record of a step that trains these parts; of the second, which finds Adam's states."""
    weights = [weight for part in parts for weight in part.parameters()]
    adam = torch.optim.Adam(weights, foreach=True)
    cpu = [ProfilerActivity.CPU]
    with profile(activities=cpu, profile_memory=True, acc_events=True) as profiler:
        step(adam)
        with record_function("second step"):
            step(adam)
    events = sorted(profiler.profiler.kineto_results.events(), key=lambda e: e.start_ns())
    return peaks(events, "second step", sum(weight.nbytes for weight in weights))


def peaks(events: list, first: str, live: int) -> Record:
    """Peaks from the event `first` on, where `live` bytes were there before all events."""
    most = without = inside = 0
    began, calls = False, []  # open operations: when they end, their names
    for event in events:
        calls = [call for call in calls if call[0] > event.start_ns()]
        if not calls or calls[-1][1] not in ONEDNN:
            # Anything a kernel leaves is a result.
            inside = inside if any(name in ONEDNN for _, name in calls) else 0
        if event.name() != "[memory]":
            calls.append((event.start_ns() + event.duration_ns(), event.name()))
            began = began or event.name() == first
            continue
        live += event.nbytes()
        inside += event.nbytes() if calls and calls[-1][1] in ONEDNN else 0
        if began:
            most, without = max(most, live), max(without, live - inside)
    return Record(most, without)


def step_on(
    load: Callable[[Tensor], Tensor],
    chain: Chain,
    count: int,
    *,
    micro_batch: int | None = None,
    precision: str = "float32",
) -> Step:
    """A training step of the chain's last stage on a batch, plain without a micro-batch.

    Args:
        load: what is done to a part of the batch to have it on the device.
        chain: the stage, last of its chain.
        count: samples of the batch.
        micro_batch: samples whose graph is kept at once.
        precision: as in a recipe.
    """

    def step(module, objective, optimiser, batch) -> None:
        step_with(
            module,
            objective,
            optimiser,
            load=lambda first, last: load(batch[first:last]),
            count=count,
            rng=generator(1, "bench"),
            precision=precision,
            micro_batch=micro_batch,
        )

    return step


def chain_of(recipe: str, number: int) -> Chain:
    """The chain of a published stage."""
    return Recipe.load(STAGES / recipe).chain(number)


def trained_with(chain: Chain, **changes: object) -> Chain:
    """The chain, its last stage trained with another precision or batch size."""
    last = chain.last
    train = last.spec.train.model_copy(update=changes)
    spec = last.spec.model_copy(update={"train": train})
    return replace(chain, stages=(*chain.stages[:-1], replace(last, spec=spec)))


def input_shape(chain: Chain, count: int) -> tuple[int, ...]:
    """The shape of a batch of the last module's input."""
    return (count, *chain.modality.crop_shape(chain.shapes()[-2]))
