"""What a person sees: tables and progress rows, built here, printed by the command line."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from gimstage.progress import Progress, Watch
from gimstage.sizes import duration, readable

if TYPE_CHECKING:
    from gimstage.data.check import DataReport
    from gimstage.data.check_speech import SpeechReport
    from gimstage.plan.cost import StagePlan
    from gimstage.plan.memory import Budget
    from gimstage.runs.manifest import Manifest
    from gimstage.work.campaign import CampaignRun

COLOURS = {"done": "green", "partial": "yellow", "stale": "magenta", "damaged": "red"}
COLOURS |= {"part done": "yellow", "failed": "red"}
PLAIN_LINE_EVERY_S = 10.0

plain = escape


@contextmanager
def progress(console: Console, *, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """One row per task with a bar, or now and then a line where stderr is no terminal."""
    if quiet:
        yield lambda update: None
    elif console.is_terminal:
        with _bars(console) as bars:
            yield _rows_on(bars)
    else:
        yield _lines_on(console)


def _bars(console: Console) -> Bars:
    return Bars(
        TextColumn("{task.description:<22}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TextColumn("{task.fields[facts]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=console,
    )


def _rows_on(bars: Bars) -> Callable[[Progress], None]:
    rows: dict[str, Any] = {}

    def report(update: Progress) -> None:
        if update.task not in rows:
            rows[update.task] = bars.add_task(update.task, unit=update.unit, facts="")
            _keep_within_height(bars)
        bars.update(
            rows[update.task], completed=update.done, total=update.total, facts=facts(update)
        )
        if update.done == update.total:  # the next of this name, perhaps of another run, is new
            del rows[update.task]

    return report


def _keep_within_height(bars: Bars) -> None:
    """Hide the oldest rows that the terminal is too low for; rich would hide the newest."""
    shown = [task for task in bars.tasks if task.visible]
    for task in shown[: max(0, len(shown) - max(1, bars.console.height - 4))]:
        bars.update(task.id, visible=False)


def _lines_on(console: Console) -> Callable[[Progress], None]:
    spoken: dict[str, float] = {}

    def report(update: Progress) -> None:
        now = time.monotonic()
        finished = update.done == update.total
        if finished or now - spoken.setdefault(update.task, now) >= PLAIN_LINE_EVERY_S:
            spoken[update.task] = now
            amount = f"{update.done}/{update.total} {update.unit}"
            console.print(f"{update.task}: {amount}  {facts(update)}")

    return report


def facts(update: Progress) -> str:
    """Speed, loss and bytes of a progress report, in a few words."""
    parts = []
    if update.samples_per_s is not None:
        what = "samples" if update.unit == "steps" else update.unit
        parts.append(f"{update.samples_per_s:.0f} {what}/s")
    if update.loss is not None:
        parts.append(f"loss {update.loss:.3f}")
    if update.bytes_per_s is not None:
        parts.append(f"{readable(update.bytes_per_s)}/s")
    return "  ".join(parts)


def stage_line(manifest: Manifest, *, fresh: bool) -> str:
    """One line on a finished stage."""
    training, features = manifest.training, manifest.features
    stored = f"{readable(features.bytes)} of features" if features else "no features stored"
    verb = "done" if fresh else "already done"
    losses = "no record of its losses"
    if training.first and training.last:
        first, last = training.first["loss"], training.last["loss"]
        losses = f"loss {first:.3f} → {last:.3f} in {training.steps} steps"
    return f"stage {manifest.stage} {verb}: {losses}, {stored}"


def _table(title: str, *columns: str, numbers: Sequence[str] = ()) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left")
    return table


def rows_table(recipe: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Probe accuracies, per cent."""
    numbers = ("accuracy", "random init", "chance")
    table = _table(
        f"{recipe}: linear probes", "stage", "task", "protocol", *numbers, numbers=numbers
    )
    for row in rows:
        percents = [
            "–" if row[key] is None else f"{100 * row[key]:.1f} %"
            for key in ("accuracy", "random_init", "chance")
        ]
        table.add_row(row["stage"], row["task"], row["protocol"], *percents)
    return table


def status_table(recipe: str, entries: Sequence[Mapping[str, Any]], *, why: bool) -> Table:
    """States of stages and probes, with the first reason or all of them."""
    table = _table(recipe, "stage", "state", "fingerprint", "GPU memory", "why")
    for entry in entries:
        reasons = entry["why"] if why else entry["why"][:1]
        colour = COLOURS.get(entry["state"], "dim")
        more = len(entry["why"]) - len(reasons)
        text = "\n".join(map(escape, reasons)) + (f"  (+{more} more, see --why)" if more else "")
        state = f"[{colour}]{entry['state']}[/]"
        memory = _memory_cell(entry.get("memory"))
        table.add_row(entry["name"], state, entry["fingerprint"][:12], memory, text)
    return table


def _memory_cell(memory: Mapping[str, Any] | None) -> str:
    if not memory:
        return ""
    predicted = f"{readable(memory['predicted_reserved_bytes'])} predicted"
    measured = memory["measured_reserved_bytes"]
    return predicted if measured is None else f"{readable(measured)} measured, {predicted}"


def plan_tables(
    recipe: str, plans: Sequence[StagePlan], free_bytes: int, budget: Budget | None
) -> Group:
    """What each stage costs: work and disk, then memory and hours."""
    return Group(_disk_table(recipe, plans, free_bytes), "", memory_table(recipe, plans, budget))


def _disk_table(recipe: str, plans: Sequence[StagePlan], free_bytes: int) -> Table:
    numbers = ("parameters", "steps", "GFLOP/step", "disk")
    table = _table(
        f"{recipe}: the plan", "stage", *numbers, "features", "encoding", numbers=numbers
    )
    for plan in plans:
        bound = "" if plan.exact or not plan.cache_bytes else "≤ "
        table.add_row(
            plan.name,
            f"{plan.parameters:,}",
            f"{plan.steps:,}",
            f"{plan.flops_per_step / 1e9:,.1f}",
            bound + readable(plan.cache_bytes) if plan.cache_bytes else "not stored",
            " × ".join(map(str, plan.feature_shape or ())),
            plan.encoding,
        )
    total = sum(plan.cache_bytes or 0 for plan in plans)
    table.caption = f"{readable(total)} ({total:,} bytes) of features, {readable(free_bytes)} free"
    table.caption_justify = "left"
    return table


def memory_table(recipe: str, plans: Sequence[StagePlan], budget: Budget | None) -> Table:
    """How each stage's step is taken, and the GPU memory that takes."""
    numbers = ("micro-batch", "time", "allocated", "reserved", "read/step", "hours")
    table = _table(
        f"{recipe}: GPU memory of a step, predicted",
        "stage",
        *numbers,
        "checkpointing",
        "cache pays above",
        numbers=numbers,
    )
    for plan in plans:
        table.add_row(
            plan.name,
            str(plan.micro_batch),
            f"× {plan.relative_time:.2f}",
            readable(plan.predicted_allocated_bytes),
            readable(plan.predicted_reserved_bytes),
            readable(plan.read_bytes_per_step),
            "–" if plan.hours is None else f"{plan.hours:,.2f}",
            "yes" if plan.checkpointing else "no",
            _cache_above(plan),
        )
    note = "a prediction, not validated on CUDA; batch and negatives never change"
    if budget is not None:
        note = (
            f"{readable(budget.total_bytes)} less {readable(budget.context_bytes)} context, "
            f"{readable(budget.workspace_bytes)} workspace, {readable(budget.margin_bytes)} margin "
            f"leave {readable(budget.for_tensors)} for tensors\n{note}"
        )
    if any(plan.recompute and plan.recompute.faster is None for plan in plans):
        note += "\n* for every TFLOP/s of the device; --calibrate measures this one"
    table.caption, table.caption_justify = note, "left"
    return table


def _cache_above(plan: StagePlan) -> str:
    """The disk speed above which reading stored features is faster than recomputing them."""
    choice = plan.recompute
    if choice is None:
        return "–"
    if choice.faster is None or choice.crossing_bytes_per_s is None:
        return f"{choice.crossing_gb_per_tflop:.3g} GB/s *"
    return f"{readable(choice.crossing_bytes_per_s)}/s: {choice.faster}"


def inspect_table(stage: str, found: Mapping[str, Any]) -> Table:
    """Name and value, one line each."""
    table = _table(f"features of stage {stage}", "", "")
    table.show_header = False
    for key, value in found.items():
        table.add_row(key.replace("_", " "), _shown(key, value))
    return table


def _shown(key: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return "  ".join(f"{name} {_shown(name, inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return (" × " if all(isinstance(v, int) for v in value) else ", ").join(map(str, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    if key.endswith("bytes"):
        return f"{value:,} ({readable(value)})"
    return escape(str(value))


def report_table(page: Path, rows: Sequence[Mapping[str, str]]) -> Table:
    """Published figures beside ours, and where the whole report lies."""
    table = _table("published and ours", "table", "recipes", "system", "published", "ours")
    for row in rows:
        cells = (row["table"], row["base"], row["system"], row["published"], row["ours"])
        table.add_row(*map(escape, cells))
    table.caption, table.caption_justify = f"the report: {page}", "left"
    return table


def campaign_table(runs: Sequence[CampaignRun]) -> Group:
    """What is left to do of every recipe and seed, and the time it is thought to take."""
    numbers = ("seed", "still to do")
    table = _table("the paper's tables", "recipe", "seed", "state", "still to do", numbers=numbers)
    for run in runs:
        colour = COLOURS.get(run.state, "dim")
        time = "–" if run.estimated_s is None else duration(run.estimated_s)
        name, _, seed = run.name.partition("@")
        table.add_row(name, seed, f"[{colour}]{run.state}[/]", time)
    total = duration(sum(run.estimated_s or 0 for run in runs))
    notes = [f"{total} in all, measured on this machine; fitting the classifiers is not in it"]
    if any(run.state == "part done" for run in runs):
        notes.append("a stage or probe that has begun counts whole")
    table.caption, table.caption_justify = "\n".join(notes), "left"
    return Group(table, *_troubles(runs))


def _troubles(runs: Sequence[CampaignRun]) -> list[str]:
    """A line for every run that failed or was left out."""
    troubled = (run for run in runs if run.error is not None)
    return [escape(f"{run.name} {run.state}: {run.error}") for run in troubled]


def campaign_result(
    runs: Sequence[CampaignRun], page: Path | None, rows: Sequence[Mapping[str, str]]
) -> Group:
    """The report of a campaign; then every run that failed or was left out, and why."""
    shown = "no report: nothing has been run" if page is None else report_table(page, rows)
    return Group(shown, *_troubles(runs))


def verify_line(recipe: str, checked: Sequence[Mapping[str, Any]]) -> str:
    """One line on what was verified."""
    names = ", ".join(entry["stage"] for entry in checked) or "none"
    return f"{recipe}: every byte of the finished stages is as its manifest says (stages: {names})"


def data_table(report: DataReport, png: Path | None) -> Table:
    """Counts, sizes and labels of a data folder."""
    numbers = ("images", "size", "gray mean", "gray std")
    table = _table(report.root, "split", *numbers, "labels", numbers=numbers)
    for split in report.splits:
        labels = split.labels or {}
        table.add_row(
            split.name,
            f"{split.images:,}",
            readable(split.bytes),
            f"{split.gray_mean:.4f}",
            f"{split.gray_std:.4f}",
            "  ".join(f"{escape(name)} {count}" for name, count in labels.items()) or "none",
        )
    if png is not None:
        table.caption, table.caption_justify = f"contact sheet: {png}", "left"
    return table


def speech_table(report: SpeechReport, png: Path | None) -> Table:
    """Speakers, utterances, lengths and labels of a speech folder."""
    numbers = ("speakers", "utterances", "minutes", "seconds", "too short", "phone labels")
    table = _table(report.root, "split", *numbers, "sampling rates", numbers=numbers)
    for split in report.splits:
        table.add_row(
            split.name,
            f"{split.speakers:,}",
            f"{split.utterances:,}",
            f"{split.minutes:.2f}",
            f"{split.shortest_s:.2f} – {split.longest_s:.2f}",
            f"{split.too_short:,}",
            f"{split.phone_labelled:,} ({100 * split.label_coverage:.0f} %)",
            "  ".join(f"{rate} Hz: {count:,}" for rate, count in split.rates.items()),
        )
    notes = [
        f"{split.name}, shorter than {report.shortest_frames} frames of 10 ms: "
        + ", ".join(split.too_short_first)
        + (", …" if split.too_short > len(split.too_short_first) else "")
        for split in report.splits
        if split.too_short
    ]
    if not report.listed:
        notes.append("no split lists: a hash of the ids divides each speaker's utterances")
    if report.unlisted:
        notes.append(f"{report.unlisted:,} audio files are in neither split")
    if report.unseen:
        notes.append(f"test speakers that train lacks: {', '.join(report.unseen)}")
    if png is not None:
        notes.append(f"spectrograms: {png}")
    table.caption, table.caption_justify = escape("\n".join(notes)) or None, "left"
    return table


def download_progress(watch: Watch) -> Callable[[int, int | None], None]:
    """A callback for downloads that reports to a watch, and stops when it asks."""
    began = time.perf_counter()
    start: int | None = None

    def report(present: int, total: int | None) -> None:
        nonlocal start
        watch.leave_if_asked()
        start = present if start is None else start
        if watch.due() or present == total:
            speed = (present - start) / max(time.perf_counter() - began, 1e-9)
            watch.report(Progress("download", present, total or 0, "bytes", bytes_per_s=speed))

    return report
