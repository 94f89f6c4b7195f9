"""The commands that plan, train and probe."""

from __future__ import annotations

import sys
from typing import Any

import click

from gimstage import __version__
from gimstage.cli.base import (
    COMPUTE,
    DEVICE,
    DISK,
    MEMORY,
    RECIPE,
    WORKERS,
    Commands,
    answer,
    guarded,
    open_session,
    with_options,
)
from gimstage.session.tables import Answer


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gimstage")
def main() -> None:
    """Train Greedy InfoMax one module at a time, each on the stored features of the one before."""


@main.command("train-stage")
@click.argument("number", type=int)
@with_options(RECIPE, COMPUTE)
@guarded
def train_stage(number: int, as_json: bool, **options: Any) -> None:
    """Train stage NUMBER, freeze it and store its features."""
    (stage,) = open_session(quiet=as_json, **options).train(number)
    answer(stage.as_json(), str(stage), as_json=as_json)


@main.command()
@click.argument("number", type=int)
@with_options(RECIPE, [DEVICE, WORKERS, DISK])
@guarded
def extract(number: int, as_json: bool, **options: Any) -> None:
    """Store the features of the trained stage NUMBER."""
    (stage,) = open_session(quiet=as_json, **options).extract(number)
    answer(stage.as_json(), str(stage), as_json=as_json)


@main.command()
@click.argument("name", required=False)
@with_options(RECIPE, [DEVICE, WORKERS])
@guarded
def probe(name: str | None, as_json: bool, **options: Any) -> None:
    """Fit linear probes on the frozen stack: probe NAME, or every probe of the recipe."""
    rows = open_session(quiet=as_json, **options).probe(name)
    answer(rows.as_json(), rows, as_json=as_json)


@main.command()
@with_options(RECIPE, COMPUTE)
@guarded
def run(as_json: bool, **options: Any) -> None:
    """Train every stage that is not done, then fit every probe."""
    rows = open_session(quiet=as_json, **options).run()
    answer(rows.as_json(), rows, as_json=as_json)


@main.command()
@click.option("--why", is_flag=True, help="Name every field that changed, old and new.")
@with_options(RECIPE)
@guarded
def status(why: bool, as_json: bool, **options: Any) -> None:
    """Show which stages are missing, partial, done, stale or damaged."""
    states = open_session(quiet=True, **options).status(why=why)
    answer(states.as_json(), states, as_json=as_json)


@main.command()
@with_options(RECIPE, [DEVICE, DISK, *MEMORY])
@click.option("--calibrate", is_flag=True, help="Measure first, into RUNS/calibration.json.")
@guarded
def plan(calibrate: bool, as_json: bool, **options: Any) -> None:
    """Show what every stage will cost: GPU memory, operations, disk to the byte, hours."""
    costs = open_session(quiet=True, **options).plan(calibrate=calibrate)
    if as_json:
        answer(costs.as_json(), "", as_json=True)
        sys.exit(1 if costs.refusal else 0)
    if costs.tables:
        answer({}, Answer(costs, *costs.tables), as_json=False)
    if costs.refusal:
        raise costs.refusal
