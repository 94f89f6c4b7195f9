"""The commands that look at what is finished: its features, its bytes, its figures."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from gimstage.cli.arguments import Companion, Place
from gimstage.cli.base import (
    DATA,
    JSON,
    RECIPE,
    RUNS,
    answer,
    guarded,
    notice,
    open_session,
    option,
    watching,
    with_options,
)
from gimstage.session.tables import Table
from gimstage.sizes import format_bytes


@click.command()
@click.argument("number", type=int)
@option(
    "--png",
    type=Place(),
    is_flag=False,
    flag_value=Path(),
    default=None,
    help="Draw channels, to this file or to RECIPE-NUMBER.png.",
)
@option(
    "--sample",
    cls=Companion,
    needs="png",
    type=click.IntRange(0),
    default=0,
    help="Which sample to draw.",
)
@with_options(RECIPE)
@guarded
def inspect(number: int, png: Path | None, sample: int, as_json: bool, **options: Any) -> None:
    """Describe the features of stage NUMBER, draw some of their channels; 0 is the data itself."""
    from gimstage.inspection import describe, describe_data, draw, draw_data

    pipeline = open_session(quiet=True, **options).look()
    if png is not None and not png.name:
        png = Path(f"{pipeline.recipe.name}-{number}.png")
    if number == 0:
        recipe, data = pipeline.recipe, pipeline.data
        facts = describe_data(data, recipe.splits)
        if png is not None:
            draw_data(data, recipe.splits[0], png, sample=sample, title=data.title)
            facts["png"] = str(png)
        answer(facts, inspect_table(f"data of {recipe.name}", facts), as_json=as_json)
        return
    chain = pipeline.recipe.chain(number)
    manifest = pipeline.runs.require(chain)
    folder = pipeline.runs.stage_folder(chain)
    facts = describe(folder.features, manifest)
    if png is not None:
        draw(folder.features, pipeline.data, png, sample=sample, title=chain.last.key)
        facts["png"] = str(png)
    answer(facts, inspect_table(f"features of stage {chain.last.key}", facts), as_json=as_json)


def inspect_table(title: str, facts: Mapping[str, Any]) -> Table:
    """Name and value of every fact that is known, one line each."""
    rows = [(name.replace("_", " "), _shown(name, value)) for name, value in facts.items()]
    return Table(title, ("", ""), rows)


def _shown(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return "  ".join(f"{key} {_shown(key, inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return (" × " if all(isinstance(v, int) for v in value) else ", ").join(map(str, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    if name.endswith("bytes"):
        return f"{value:,} ({format_bytes(value)})"
    return str(value)


@click.command()
@with_options(RECIPE)
@guarded
def verify(as_json: bool, **options: Any) -> None:
    """Read every byte of every finished stage and probe, and of the data they came from."""
    from gimstage.work.verify import damage_in

    pipeline = open_session(quiet=True, **options).look()
    verified, name = pipeline.verify(), pipeline.recipe.name
    damage = list(damage_in(verified))
    document: dict[str, Any] = {"recipe": name, "verified": [each.as_json() for each in verified]}
    if damage:
        message = "\n".join(map(str, damage))
        document["error"] = {"type": type(damage[0]).__name__, "message": message}
    answer(document, verified_table(name, document["verified"]), as_json=as_json)
    if damage and not as_json:
        for error in damage:
            notice(f"error {error}")
    sys.exit(1 if damage else 0)


def verified_table(recipe: str, verified: Sequence[Mapping[str, Any]]) -> Table:
    """What was read of every stage and probe of a recipe, and what was found."""
    rows = []
    for each in verified:
        damaged = len(each["damage"])
        found = [f"{damaged} damaged" if damaged else "as its manifest says"]
        found += [f"set aside earlier: {path}" for path in each["set_aside"]]
        name = str(each.get("stage", each.get("probe")))
        rows.append((name, ", ".join(each["read"]) or "nothing", "\n".join(found)))
    return Table(f"{recipe}: every byte read", ("stage or probe", "read", "found"), rows)


@click.command()
@click.argument("names", nargs=-1, metavar="[RUN]...")
@option("--out", type=Place(), default=Path("report"), help="Folder to write to.")
@with_options([RUNS, DATA, JSON])
@guarded
def report(names: tuple[str, ...], out: Path, runs: Path, data: Path | None, as_json: bool) -> None:
    """Set the paper's tables and figures beside those of finished runs: RUNs, or all of them."""
    from gimstage.session.session import report_on

    with watching(quiet=as_json) as watch:
        page = report_on(runs, list(names), out, data, watch)
    answer(page.as_json(), page, as_json=as_json)
