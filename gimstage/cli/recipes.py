"""The command that says which recipes there are."""

from __future__ import annotations

import click

from gimstage.cli.base import JSON, answer, guarded, with_options
from gimstage.recipe.shipped import first_comment, shipped_recipes
from gimstage.session.tables import Table


@click.command()
@with_options([JSON])
@guarded
def recipes(as_json: bool) -> None:
    """List the recipes that come along, for --recipe NAME."""
    lines = {name: first_comment(folder) for name, folder in shipped_recipes().items()}
    note = "each is a folder of TOML files: copy one to change it"
    answer(
        lines,
        Table("recipes", ("name", "what it is"), list(lines.items()), note=note),
        as_json=as_json,
    )
