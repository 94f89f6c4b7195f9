"""The command that writes out data sets in others' containers."""

from __future__ import annotations

from pathlib import Path

import click

from gimstage.cli.arguments import Companion, Place, Word
from gimstage.cli.base import JSON, answer, guarded, option, watching
from gimstage.errors.commands import pasted


@click.command("import")
@click.argument("source", type=Place())
@click.argument("folder", type=Place())
@option(
    "--torchvision",
    type=Word(),
    default=None,
    help="A class of torchvision.datasets, such as Food101, where the files do not tell.",
)
@option(
    "--column",
    cls=Companion,
    excludes="torchvision",
    type=Word(),
    default=None,
    help="The column or ending of the samples, where there are several.",
)
@JSON
@guarded
def import_(
    source: Path, folder: Path, torchvision: str | None, column: str | None, as_json: bool
) -> None:
    """Write a data set in others' form to FOLDER, as files and a table of labels.

    SOURCE holds a data set of torchvision (CIFAR, MNIST, SVHN, …), parquet or arrow files of
    Hugging Face, or tar archives of WebDataset.
    """
    from gimstage.data.foreign import open_foreign, write_foreign

    with watching(quiet=as_json) as watch:
        foreign = open_foreign(source, name=torchvision, column=column)
        written = write_foreign(foreign, folder, watch)
    following = pasted(["gimstage", "init", "NAME", "--data", str(folder)])
    picture = f"{written}\n{following} writes a recipe for it"
    answer(written.as_json(), picture, as_json=as_json)
