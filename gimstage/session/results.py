"""What a session answers: plans, states, trained stages and probe rows, with their tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gimstage.errors import BudgetError
from gimstage.session.tables import Answer, Table
from gimstage.sizes import format_bytes

if TYPE_CHECKING:
    from gimstage.plan.cost import StagePlan
    from gimstage.plan.memory import Budget
    from gimstage.probe import Row
    from gimstage.runs.manifest import FeaturesRecord, MemoryRecord, TrainingRecord
    from gimstage.runs.state import Status


NOTHING = "–"  # in a cell


@dataclass(frozen=True)
class TrainedStage:
    """A finished stage.

    Args:
        recipe: name of the recipe.
        status: its state, which is done.
        fresh: whether it was finished just now, and not before.
        training: how its training went.
        features: what lies in features.zarr; None where nothing is stored.
    """

    recipe: str
    status: Status
    fresh: bool
    training: TrainingRecord
    features: FeaturesRecord | None

    def __str__(self) -> str:
        """One line on the stage: its losses, and what it stores."""
        features, training = self.features, self.training
        stored = f"{format_bytes(features.bytes)} of features" if features else "no features stored"
        losses = "no record of its losses"
        if training.first and training.last:
            first, last = training.first["loss"], training.last["loss"]
            losses = f"loss {first:.3f} → {last:.3f} in {training.steps} steps"
        verb = ", ".join(["done" if self.fresh else "already done", *self.status.why])
        return f"stage {self.recipe}/{self.status.name} {verb}: {losses}, {stored}"

    def as_json(self) -> dict[str, Any]:
        """The stage as plain JSON values."""
        status = asdict(self.status)
        training = self.training.model_dump()
        return {"recipe": self.recipe, "stage": status, "training": training}


class States(Answer["Status"]):
    """The states of a recipe's stages, then of its probes.

    Args:
        recipe: name of the recipe.
        stages: the states of the stages, in order.
        probes: the states of the probes.
        memory: predicted and measured GPU memory of stages, by name, where that is known.
        why: whether every reason for a state is shown, or the first.
    """

    def __init__(
        self,
        recipe: str,
        stages: Sequence[Status],
        probes: Sequence[Status],
        *,
        memory: Mapping[str, MemoryRecord | None],
        why: bool,
    ) -> None:
        self.recipe, self.stages, self.probes, self.memory = recipe, stages, probes, memory
        states = [*stages, *probes]
        columns = ("stage", "state", "fingerprint", "GPU memory", "why")
        cells = [
            (
                status.name,
                status.state,
                status.fingerprint[:12],
                _memory_cell(memory.get(status.name)),
                _why_cell(status.why, all_of_it=why),
            )
            for status in states
        ]
        super().__init__(states, Table(recipe, columns, cells))

    def as_json(self) -> dict[str, Any]:
        """The states as plain JSON values."""
        stages = [
            _status_json(status) | {"memory": memory and memory.model_dump()}
            for status in self.stages
            for memory in [self.memory[status.name]]
        ]
        probes = [_status_json(s) for s in self.probes]
        return {"recipe": self.recipe, "stages": stages, "probes": probes}


def _status_json(status: Status) -> dict[str, Any]:
    return asdict(status) | {"why": list(status.why)}


def _why_cell(why: Sequence[str], *, all_of_it: bool) -> str:
    reasons = why if all_of_it else why[:1]
    more = len(why) - len(reasons)
    return "\n".join(reasons) + (f"  (+{more} more, see --why)" if more else "")


def _memory_cell(memory: MemoryRecord | None) -> str:
    if not memory:
        return ""
    predicted = f"{format_bytes(memory.predicted_reserved_bytes)} predicted"
    measured = memory.measured_reserved_bytes
    return predicted if measured is None else f"{format_bytes(measured)} measured, {predicted}"


class ProbeRows(Answer["Row"]):
    """Accuracies of linear probes, a row for each module, task and protocol.

    Args:
        recipe: name of the recipe.
        rows: the rows of all its probes that were asked for.
    """

    def __init__(self, recipe: str, rows: Sequence[Row]) -> None:
        self.recipe = recipe
        numbers = ("accuracy", "random init", "chance")
        columns = ("stage", "task", "protocol", *numbers)
        cells = [
            (
                *(row[key] for key in ("stage", "task", "protocol")),
                *(_percent(row[key]) for key in ("accuracy", "random_init", "chance")),
            )
            for row in rows
        ]
        table = Table(f"{recipe}: linear probes", columns, cells, numbers)
        super().__init__(rows, table if rows else f"{recipe} has no probes")

    def as_json(self) -> dict[str, Any]:
        """The rows as plain JSON values."""
        return {"recipe": self.recipe, "rows": list(self)}


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


class Plan(Answer["StagePlan"]):
    """What every stage of a recipe will cost, and whether that fits.

    Args:
        recipe: name of the recipe.
        stages: the costs; none where no setting fits the GPU memory.
        free_bytes: free on the disk of the runs; None where there was no data to plan disk with.
        budget: the GPU memory to keep within; None for as much as a step takes.
        refusal: why it does not fit; None where it does.
    """

    def __init__(
        self,
        recipe: str,
        stages: Sequence[StagePlan],
        *,
        free_bytes: int | None,
        budget: Budget | None,
        refusal: BudgetError | None,
    ) -> None:
        self.recipe, self.free_bytes, self.budget = recipe, free_bytes, budget
        self.refusal = refusal
        shown: list[Table | str] = []
        if stages and free_bytes is not None:
            shown += [disk_table(recipe, stages, free_bytes), ""]
        if stages:
            shown.append(memory_table(recipe, stages, budget, sized=free_bytes is not None))
        elif refusal is None:
            shown.append(f"{recipe} has no stages to plan")
        self.tables = tuple(shown)
        super().__init__(stages, *shown, *([f"does not fit: {refusal}"] if refusal else []))

    @property
    def fits(self) -> bool:
        """Whether disk and GPU memory are enough."""
        return self.refusal is None

    def as_json(self) -> dict[str, Any]:
        """The plan as plain JSON values."""
        document: dict[str, Any] = {"recipe": self.recipe, "fits": self.fits}
        if self.free_bytes is not None:
            cache_bytes = sum(plan.cache_bytes or 0 for plan in self)
            document |= {"free_bytes": self.free_bytes, "cache_bytes": cache_bytes}
        document["budget"] = self.budget and asdict(self.budget)
        document["stages"] = [plan.as_json() for plan in self]
        if self.refusal is not None:
            document["smallest_bytes"] = self.refusal.smallest_bytes
            message = {"type": type(self.refusal).__name__, "message": str(self.refusal)}
            document["error"] = message
        return document


def disk_table(recipe: str, plans: Sequence[StagePlan], free_bytes: int) -> Table:
    """The work of every stage, and the disk that its features take."""
    numbers = ("parameters", "steps", "GFLOP/step", "disk")
    rows = [
        (
            plan.name,
            f"{plan.parameters:,}",
            f"{plan.steps:,}",
            f"{plan.flops_per_step / 1e9:,.1f}",
            _disk_cell(plan),
            " × ".join(map(str, plan.feature_shape or ())),
            plan.encoding,
        )
        for plan in plans
    ]
    total = sum(plan.cache_bytes or 0 for plan in plans)
    note = f"{format_bytes(total)} ({total:,} bytes) of features, {format_bytes(free_bytes)} free"
    columns = ("stage", *numbers, "features", "encoding")
    return Table(f"{recipe}: the plan", columns, rows, numbers, note)


def _disk_cell(plan: StagePlan) -> str:
    if not plan.cache_bytes:
        return "not stored"
    return ("" if plan.exact else "≤ ") + format_bytes(plan.cache_bytes)


def memory_table(
    recipe: str, plans: Sequence[StagePlan], budget: Budget | None, *, sized: bool
) -> Table:
    """How each stage's step is taken, and the GPU memory that takes.

    Args:
        recipe: name of the recipe.
        plans: the costs of its stages.
        budget: the GPU memory to keep within; None for as much as a step takes.
        sized: whether there was data to plan steps, disk and hours with.
    """
    numbers = ("micro-batch", "time", "allocated", "reserved", "read/step", "hours")
    rows = [
        (
            plan.name,
            str(plan.micro_batch),
            f"× {plan.relative_time:.2f}",
            format_bytes(plan.predicted_allocated_bytes),
            format_bytes(plan.predicted_reserved_bytes),
            format_bytes(plan.read_bytes_per_step),
            "–" if plan.hours is None else f"{plan.hours:,.2f}",
            "yes" if plan.checkpointing else "no",
            _cache_above(plan),
        )
        for plan in plans
    ]
    columns = ("stage", *numbers, "checkpointing", "cache pays above")
    note = "\n".join(_memory_notes(plans, budget, sized=sized))
    return Table(f"{recipe}: GPU memory of a step, predicted", columns, rows, numbers, note)


def _memory_notes(plans: Sequence[StagePlan], budget: Budget | None, *, sized: bool) -> list[str]:
    notes = ["a prediction, not validated on CUDA; batch and negatives never change"]
    if budget is not None:
        aside = {
            "context": budget.context_bytes,
            "workspace": budget.workspace_bytes,
            "margin": budget.margin_bytes,
        }
        less = ", ".join(f"{format_bytes(count)} {what}" for what, count in aside.items())
        total, left_bytes = format_bytes(budget.total_bytes), format_bytes(budget.for_tensors)
        left = f"{total} less {less} leave {left_bytes} for tensors"
        notes.insert(0, left)
    if any(plan.recompute and plan.recompute.faster is None for plan in plans):
        notes.append("* for every TFLOP/s of the device; --calibrate measures this one")
    if not sized:
        notes.append("give --data DIR for steps, disk and hours")
    return notes


def _cache_above(plan: StagePlan) -> str:
    """The disk speed above which reading stored features is faster than recomputing them."""
    choice = plan.recompute
    if choice is None:
        return "–"
    if choice.faster is None or choice.crossing_bytes_per_s is None:
        return f"{choice.crossing_gb_per_tflop:.3g} GB/s *"
    return f"{format_bytes(choice.crossing_bytes_per_s)}/s: {choice.faster}"


class ReportPage(Answer[dict[str, str]]):
    """Published figures beside those of finished runs, and where the whole report lies.

    Args:
        page: path of index.html.
        rows: a row for each system of tables 1, 3 and 4; none for data of somebody's own that
            the paper's tasks say nothing of.
    """

    def __init__(self, page: Path, rows: Sequence[dict[str, str]]) -> None:
        self.page = page
        columns = ("table", "recipes", "system", "published", "ours")
        keys = ("table", "base", "system", "published", "ours")
        cells = [[row[key] for key in keys] for row in rows]
        run = {row["base"]: row["data"] for row in rows if row["data"] != NOTHING}
        notes = [f"data of {base}: {data}" for base, data in run.items()]
        if any("(" in row["published"] for row in rows):
            notes.append("in brackets: published on other data, no measure of these runs")
        note = "\n".join([*notes, f"the report: {page}"])
        table = Table("published and ours", columns, cells, note=note)
        super().__init__(rows, table if rows else note)

    def as_json(self) -> dict[str, Any]:
        """The page's path and the rows as plain JSON values."""
        return {"page": str(self.page), "rows": list(self)}
