"""The command that writes a recipe for somebody's data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gimstage.cli.arguments import Place
from gimstage.cli.base import (
    DATA,
    DEFAULTS,
    JSON,
    RUNS,
    answer,
    guarded,
    open_session,
    option,
    with_options,
)
from gimstage.errors.commands import Asked, asking, on_recipe, pasted
from gimstage.session.tables import Answer


@click.command()
@click.argument("name", type=Place())
@option("--from", "base", type=Place(), default=None, help="A recipe whose stages are taken.")
@with_options([DATA, RUNS, JSON])
@guarded
def init(name: Path, base: Path | None, data: Path | None, runs: Path, as_json: bool) -> None:
    """Look at the data, and write a recipe that fits it into a new folder NAME.

    Every number has its reason beside it, and may be changed. The plan is shown, nothing is run.
    """
    from gimstage.drafts import write_draft

    files = write_draft(name, data, runs, base=base, settings=DEFAULTS.settings())
    costs = open_session(quiet=True, recipe=name, runs=runs, data=data, seed=None).plan()
    with asking(Asked(name, runs, data)):
        going_on = f"{pasted(on_recipe('run'))} trains and probes it"
    document: dict[str, Any] = {"recipe": str(name), "files": files, "plan": costs.as_json()}
    parts = (f"{name}: {', '.join(files)}", *costs.tables, going_on)
    answer(document, Answer(files, *parts), as_json=as_json)
