"""The commands that plan, train, probe and look."""

from __future__ import annotations

import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gimstage import __version__
from gimstage.cli import screens
from gimstage.cli.base import (
    COMPUTE,
    DATA,
    DEVICE,
    DISK,
    JSON,
    MEMORY,
    RECIPE,
    RUNS,
    answer,
    guarded,
    open_budget,
    open_pipeline,
    open_recipe,
    option,
    pipeline_of,
    watching,
    with_options,
)
from gimstage.errors import BudgetError

if TYPE_CHECKING:
    from gimstage.plan.cost import StagePlan
    from gimstage.plan.memory import Budget
    from gimstage.recipe.recipe import Recipe
    from gimstage.work.pipeline import Pipeline


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gimstage")
def main() -> None:
    """Train Greedy InfoMax one module at a time, each on the stored features of the one before."""


@main.command("train-stage")
@click.argument("number", type=int)
@with_options(RECIPE, COMPUTE)
@guarded
def train_stage(number: int, as_json: bool, **options: Any) -> None:
    """Train stage NUMBER, freeze it and store its features."""
    with watching(quiet=as_json) as watch:
        pipeline = open_pipeline(watch=watch, **options)
        fresh = pipeline.train_stage(number)
    _answer_stage(pipeline, number, fresh, as_json)


@main.command()
@click.argument("number", type=int)
@with_options(RECIPE, COMPUTE)
@guarded
def extract(number: int, as_json: bool, **options: Any) -> None:
    """Store the features of the trained stage NUMBER."""
    with watching(quiet=as_json) as watch:
        pipeline = open_pipeline(watch=watch, **options)
        fresh = pipeline.extract_stage(number)
    _answer_stage(pipeline, number, fresh, as_json)


def _answer_stage(pipeline: Pipeline, number: int, fresh: bool, as_json: bool) -> None:
    chain = pipeline.recipe.chain(number)
    manifest = pipeline.runs.require(chain)
    status = asdict(pipeline.runs.status(chain))
    document = {
        "recipe": pipeline.recipe.name,
        "stage": status,
        "training": manifest.training.model_dump(),
    }
    answer(document, screens.stage_line(manifest, fresh=fresh), as_json=as_json)


@main.command()
@click.argument("name", required=False)
@with_options(RECIPE, COMPUTE)
@guarded
def probe(name: str | None, as_json: bool, **options: Any) -> None:
    """Fit linear probes on the frozen stack: probe NAME, or every probe of the recipe."""
    with watching(quiet=as_json) as watch:
        pipeline = open_pipeline(watch=watch, **options)
        names = [name] if name else list(pipeline.recipe.probes)
        rows = [row for each in names for row in pipeline.probe(each)]
    _answer_rows(pipeline.recipe, rows, as_json)


@main.command()
@with_options(RECIPE, COMPUTE)
@guarded
def run(as_json: bool, **options: Any) -> None:
    """Train every stage that is not done, then fit every probe."""
    with watching(quiet=as_json) as watch:
        pipeline = open_pipeline(watch=watch, **options)
        rows = pipeline.run()
    _answer_rows(pipeline.recipe, rows, as_json)


def _answer_rows(recipe: Recipe, rows: list[dict[str, Any]], as_json: bool) -> None:
    picture = screens.rows_table(recipe.name, rows) if rows else f"{recipe.name} has no probes"
    answer({"recipe": recipe.name, "rows": rows}, picture, as_json=as_json)


@main.command()
@click.option("--why", is_flag=True, help="Name every field that changed, old and new.")
@with_options(RECIPE)
@guarded
def status(why: bool, as_json: bool, **options: Any) -> None:
    """Show which stages are missing, partial, done, stale or damaged."""
    pipeline = open_pipeline(**options)
    stages = [
        asdict(s) | {"why": list(s.why), "memory": memory and memory.model_dump()}
        for s in pipeline.statuses()
        for memory in [pipeline.memory(s.name)]
    ]
    probes = [asdict(s) | {"why": list(s.why)} for s in pipeline.probe_statuses()]
    document = {"recipe": pipeline.recipe.name, "stages": stages, "probes": probes}
    picture = screens.status_table(pipeline.recipe.name, stages + probes, why=why)
    answer(document, picture, as_json=as_json)


@main.command()
@with_options(RECIPE, [DEVICE, DISK, *MEMORY])
@click.option("--calibrate", is_flag=True, help="Measure this device and disk first.")
@guarded
def plan(calibrate: bool, as_json: bool, **options: Any) -> None:
    """Show what every stage will cost: GPU memory, operations, disk to the byte, hours."""
    recipe = open_recipe(**options)
    if recipe.data.demo is None and options["data"] is None:
        _plan_memory(recipe, open_budget(**options), as_json=as_json)
        return
    pipeline = pipeline_of(recipe, **options)
    if calibrate:
        pipeline.calibrate()
    plans, error = [], None
    try:
        plans = pipeline.plans()
        pipeline.require_disk(list(pipeline.recipe.stages))
    except BudgetError as refusal:
        error = refusal
    free, budget = pipeline.free_disk(), pipeline.settings.budget
    disk = {"free_bytes": free, "cache_bytes": sum(p.cache_bytes or 0 for p in plans)}
    picture = screens.plan_tables(recipe.name, plans, free, budget) if plans else None
    extras = disk | {"budget": budget and asdict(budget)}
    _answer_plan(recipe, plans, extras, picture, error, as_json)


def _plan_memory(recipe: Recipe, budget: Budget | None, *, as_json: bool) -> None:
    """Plan what does not depend on the data: GPU memory and operations."""
    from gimstage.plan.cost import plan_stage, plan_stages

    error, plans = None, []
    cost = partial(plan_stage, data=None, cached_bytes=0, budget=budget, calibration=None)
    try:
        plans = plan_stages(map(recipe.chain, recipe.stages), cost)
    except BudgetError as refusal:
        error = refusal
    picture = screens.memory_table(recipe.name, plans, budget) if plans else None
    if picture:
        picture.caption = f"{picture.caption}\ngive --data DIR for steps, disk and hours"
    _answer_plan(recipe, plans, {"budget": budget and asdict(budget)}, picture, error, as_json)


def _answer_plan(
    recipe: Recipe,
    plans: list[StagePlan],
    extras: dict[str, Any],
    picture: Any,
    error: BudgetError | None,
    as_json: bool,
) -> None:
    document = {"recipe": recipe.name, "fits": error is None, **extras}
    document["stages"] = [plan.as_json() for plan in plans]
    if error is not None:
        document["smallest_bytes"] = error.smallest_bytes
        document["error"] = {"type": type(error).__name__, "message": str(error)}
    if as_json:
        answer(document, "", as_json=True)
    elif picture is not None:
        answer(document, picture, as_json=False)
    if error is not None and as_json:
        sys.exit(1)
    if error is not None:
        raise error
    if not plans and not as_json:
        answer(document, f"{recipe.name} has no stages to plan", as_json=False)


@main.command()
@click.argument("number", type=int)
@option(
    "--png",
    type=click.Path(path_type=Path),
    is_flag=False,
    flag_value=Path(),
    default=None,
    help="Draw channels, to this file or to RECIPE-NUMBER.png.",
)
@option("--sample", type=click.IntRange(0), default=0, help="Which sample to draw.")
@with_options(RECIPE)
@guarded
def inspect(number: int, png: Path | None, sample: int, as_json: bool, **options: Any) -> None:
    """Describe the features of stage NUMBER; draw some of their channels."""
    from gimstage.inspection import describe, draw

    pipeline = open_pipeline(**options)
    chain = pipeline.recipe.chain(number)
    manifest = pipeline.runs.require(chain)
    folder = pipeline.runs.stage_folder(chain)
    found = describe(folder.features, manifest)
    if png is not None:
        png = png if png.name else Path(f"{pipeline.recipe.name}-{number}.png")
        draw(folder.features, pipeline.data, png, sample=sample, title=chain.last.key)
        found["png"] = str(png)
    answer(found, screens.inspect_table(chain.last.key, found), as_json=as_json)


@main.command()
@with_options(RECIPE)
@guarded
def verify(as_json: bool, **options: Any) -> None:
    """Read every byte of every finished stage and compare it with its manifest."""
    pipeline = open_pipeline(**options)
    checked = pipeline.verify()
    picture = screens.verify_line(pipeline.recipe.name, checked)
    answer({"recipe": pipeline.recipe.name, "verified": checked}, picture, as_json=as_json)


@main.command()
@click.argument("names", nargs=-1, metavar="[RUN]...")
@option(
    "--out", type=click.Path(path_type=Path), default=Path("report"), help="Folder to write to."
)
@with_options([RUNS, DATA, JSON])
@guarded
def report(names: tuple[str, ...], out: Path, runs: Path, data: Path | None, as_json: bool) -> None:
    """Set the paper's tables and figures beside those of finished runs: RUNs, or all of them."""
    from gimstage.report import collect, summary, write_report

    with watching(quiet=as_json) as watch:
        page = write_report(runs, names, out=out, data=data, watch=watch)
    rows = summary(collect(runs, names))
    answer({"page": str(page), "rows": rows}, screens.report_table(page, rows), as_json=as_json)
