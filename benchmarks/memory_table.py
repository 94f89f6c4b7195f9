"""`make bench-memory`: the tables of docs/memory.md, made anew and written into the page.

Table 2 of the paper with predicted peaks, each module head to head with what one would do without
gimstage, the prediction against the profiler's record, and the rounding of bfloat16. A further
system, or a further way to save memory, is one entry of SYSTEMS or WAYS.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench_memory as bench
import torch
from bench_together import SIMULTANEOUS, predicted_at_once
from common import parts_of
from torch import Tensor, nn

from gimstage.device import find_device, module_to_device, to_fastest_layout
from gimstage.draws import generator
from gimstage.plan.fit import predicted_peak
from gimstage.plan.memory import Peak, Step, predict_peak

PAGE = Path(__file__).parents[1] / "docs/memory.md"
BEGIN, END = "<!-- made by `make bench-memory`: -->\n", "<!-- up to here -->\n"
CHAINS = [bench.chain_of(bench.IMAGES, number) for number in (1, 2, 3)]
BATCH, SIDE = 32, 7
COLUMNS = [("float32", 16), ("float32", 32), ("bfloat16", 16), ("bfloat16", 32)]


def loss_of(objective: nn.Module, codes: Tensor) -> Tensor:
    """The loss on codes that are contexts too."""
    draws = objective.draw(codes.shape, generator(1, "bench"))
    loss: Tensor = objective(codes, codes, draws).loss
    return loss


def of_recipe(recipe: str) -> Callable[[int, str], Peak]:
    """The prediction for a recipe that trains the whole encoder in one stage."""

    def predict(count: int, precision: str) -> Peak:
        chain = bench.chain_of(recipe, 1)
        chain = bench.trained_with(chain, batch_size=count, precision=precision)
        return predicted_peak(chain, count, False)

    return predict


def at_once(count: int, precision: str) -> Peak:
    """The prediction for all modules side by side, were there one backward pass for all losses."""
    chain = bench.chain_of(SIMULTANEOUS, 1)
    return predicted_at_once(bench.trained_with(chain, batch_size=count, precision=precision))


def alone(number: int) -> Callable[[int, str], Peak]:
    """The prediction for one stage that reads stored features."""
    return lambda count, precision: bench.predicted(CHAINS[number - 1], count, precision=precision)


@dataclass(frozen=True)
class System:
    """A row of table 2.

    Args:
        name: as the table says it.
        paper_gb: the paper's figure, if it has one.
        predict: its peak, by batch size and precision.
    """

    name: str
    paper_gb: float | None
    predict: Callable[[int, str], Peak]


SYSTEMS = (
    System("supervised", 6.3, of_recipe("stl10_supervised")),
    System("CPC", 7.7, of_recipe("stl10_cpc")),
    System("GIM, all modules, one backward pass", 7.0, at_once),
    System("GIM, all modules, backward module by module", None, of_recipe(SIMULTANEOUS)),
    System("GIM, module 1", 2.5, alone(1)),
    System("GIM, module 2", None, alone(2)),
    System("GIM, module 3", None, alone(3)),
)
ALL_AT_ONCE = 2  # the system whose memory the ratios are of


@dataclass(frozen=True)
class Way:
    """A way to take a module's step.

    Args:
        name: as the table says it.
        theory: time of a step in forward passes, the plain one's three being 1.
        objective: what becomes of it.
        how: keywords of the prediction.
        accumulated: whether each micro-batch has a loss of its own.
    """

    name: str
    theory: float
    objective: str
    how: dict[str, Any]
    accumulated: bool = False

    def predict(self, number: int) -> Peak:
        """The peak of the module's step this way."""
        chain = CHAINS[number - 1]
        if not self.accumulated:
            return bench.predicted(chain, BATCH, **self.how)
        step = accumulating(self.how["micro_batch"])
        shape = bench.input_shape(chain, BATCH)
        return predict_peak(lambda: parts_of(chain), step, batch_shape=shape, resident=False)

    def measured(self, times: dict[tuple[int, bool], tuple[float, str]]) -> float | None:
        """Its time where the benchmark cut a smaller batch into as many parts."""
        if self.accumulated or "precision" in self.how:
            return None
        parts = BATCH // self.how.get("micro_batch", BATCH)
        key = bench.TIMED_BATCH / parts, self.how.get("checkpointing", False)
        return 1.0 if key == bench.PLAIN else times[key][0] if key in times else None


def accumulating(micro_batch: int) -> Step:
    """Gradient accumulation: the losses of micro-batches, each with negatives from its own."""

    def step(module: Any, objective: Any, optimiser: Any, batch: Tensor) -> None:
        optimiser.zero_grad()
        parts = batch.split(micro_batch)
        for part in parts:
            codes, _ = module.codes_and_contexts(part.to(bench.CPU))
            loss = loss_of(objective, codes) / len(parts)
            del codes
            loss.backward()
        optimiser.step()

    return step


def target_rows(images: int) -> str:
    """How many rows the negatives of the first … last prediction step are drawn from."""
    spec = CHAINS[0].last.spec.objective
    first = SIDE - 1 - spec.prediction_gap
    last = first - spec.prediction_steps + 1
    return f"{first * SIDE * images} … {last * SIDE * images}"


SAME, ROUNDED = "unchanged", "unchanged but for rounding"
HALF = {"precision": "bfloat16"}
CHECKPOINTS = {"checkpointing": True}
WAYS = (
    Way("plain", 1, SAME, {}),
    Way("checkpointing", 4 / 3, SAME, CHECKPOINTS),
    Way("bf16", 1, ROUNDED, HALF),
    Way("bf16, checkpointing", 4 / 3, ROUNDED, HALF | CHECKPOINTS),
    Way(
        "accumulation over 4",
        1,
        f"another one: negatives from 4 images, {target_rows(4)} rows instead of "
        f"{target_rows(BATCH)}",
        {"micro_batch": 4},
        accumulated=True,
    ),
    *(Way(f"two passes of {n}", 4 / 3, SAME, {"micro_batch": n}) for n in (16, 8, 4, 2, 1)),
    *(
        Way(f"two passes of {n}, checkpointing", 5 / 3, SAME, {"micro_batch": n} | CHECKPOINTS)
        for n in (16, 8, 4, 2, 1)
    ),
    Way("bf16, two passes of 4", 4 / 3, ROUNDED, HALF | {"micro_batch": 4}),
)


def table_2() -> Iterator[str]:
    """The paper's systems, allocated / reserved MB, and as shares of all modules at once."""
    peaks = [[system.predict(b, p) for p, b in COLUMNS] for system in SYSTEMS]
    yield "### Table 2 of the paper: predicted allocated / reserved MB\n\n"
    heads = [f"{precision}, batch {batch}" for precision, batch in COLUMNS]
    yield from table(
        ["", *heads, "paper, GB"],
        [
            [system.name, *map(both, row), f"{system.paper_gb or '–'}"]
            for system, row in zip(SYSTEMS, peaks, strict=True)
        ],
    )
    yield "\nAllocated, as shares of all modules in one backward pass:\n\n"
    ones = [peak.allocated_bytes for peak in peaks[ALL_AT_ONCE]]
    yield from table(
        ["", *heads, "paper"],
        [
            [
                system.name,
                *(f"{p.allocated_bytes / one:.2f}" for p, one in zip(row, ones, strict=True)),
                f"{system.paper_gb / SYSTEMS[ALL_AT_ONCE].paper_gb:.2f}"
                if system.paper_gb
                else "–",
            ]
            for system, row in zip(SYSTEMS, peaks, strict=True)
        ],
    )


def head_to_head(number: int) -> Iterator[str]:
    """One module at batch 32, each way."""
    times = bench.timings(number)
    yield f"\n### Module {number} head to head, batch {BATCH}\n\n"
    lines = []
    for way in WAYS:
        measured = way.measured(times)
        seen = f"{measured:.2f}" if measured else "–"
        lines.append([way.name, both(way.predict(number)), f"{way.theory:.2f}", seen])
        lines[-1].append(way.objective)
    heads = ["", "allocated / reserved MB", "time, theory", "time, measured", "objective"]
    yield from table(heads, lines)


def honesty() -> Iterator[str]:
    """The prediction against the profiler's record."""
    yield f"\n### Predicted and recorded on a CPU, batch {bench.RECORDED_BATCH}, MB\n\n"
    lines = []
    for recipe, numbers in bench.NUMBERS.items():
        for number in numbers:
            peak, record = bench.compared(recipe, number)
            found = [record.peak_bytes, record.without_onednn_bytes]
            ratios = [f"{peak.allocated_bytes / count:.3f}" for count in found]
            figures = [f"{count / 1e6:.1f}" for count in (peak.allocated_bytes, *found)]
            lines.append([f"{recipe}/{number}", *figures, *ratios])
    heads = ["stage", "predicted", "recorded", "without oneDNN's copies", "ratio", "without them"]
    yield from table(heads, lines)


def rounding() -> Iterator[str]:
    """How far apart whole gradients are, in bfloat16 and in float32."""
    yield f"\n### Gradients compared, batch {bench.TIMED_BATCH}\n\n"
    lines = []
    for number in (1, 2, 3):
        exact, cut = (gradient(number, n, "float32") for n in (bench.TIMED_BATCH, 1))
        rough, rough_cut = (gradient(number, n, "bfloat16") for n in (bench.TIMED_BATCH, 1))
        pairs = [(cut, exact), (rough, exact), (rough_cut, exact), (rough_cut, rough)]
        far = [float((a - b).norm() / b.norm()) for a, b in pairs]
        lines.append([f"{number}", f"{far[0]:.1e}", *(f"{share:.2%}" for share in far[1:])])
    yield from table(
        [
            "stage",
            "float32: two passes of 1, plain",
            "plain: bf16, float32",
            "bf16 in two passes of 1, float32 plain",
            "bf16: two passes of 1, plain",
        ],
        lines,
    )


def gradient(number: int, micro_batch: int, precision: str) -> Tensor:
    """Of all weights of a stage, end to end, after one step."""
    chain, count = CHAINS[number - 1], bench.TIMED_BATCH
    module, objective = parts_of(chain)
    module_to_device(module, bench.CPU)
    weights = [*module.parameters(), *objective.parameters()]
    still = torch.optim.SGD(weights, lr=0.0)
    shape = bench.input_shape(chain, count)
    batch = to_fastest_layout(torch.randn(shape, generator=generator(1, "bench")))
    step = bench.step_on(
        lambda part: part, chain, count, micro_batch=micro_batch, precision=precision
    )
    step(module, objective, still, batch)
    return torch.cat([weight.grad.flatten().double() for weight in weights])


def both(peak: Peak) -> str:
    """Allocated and reserved megabytes."""
    return f"{peak.allocated_bytes / 1e6:.0f} / {peak.reserved_bytes / 1e6:.0f}"


def table(heads: list[str], lines: list[list[str]]) -> Iterator[str]:
    """A table in Markdown."""
    for cells in (heads, ["---"] * len(heads), *lines):
        yield f"| {' | '.join(cells)} |\n"


def main() -> None:
    """Write the tables into the page, and print them as they come."""
    find_device("cpu")
    parts = [f"Made with torch {torch.__version__}; MB are 10⁶ bytes.\n\n"]
    for section in (table_2(), *map(head_to_head, (1, 2, 3)), honesty(), rounding()):
        for line in section:
            sys.stdout.write(line)
            sys.stdout.flush()
            parts.append(line)
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(before + BEGIN + "".join(parts) + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
