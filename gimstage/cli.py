"""The command line: the only file that prints or exits.

Results go to stdout, progress and notices to stderr. Exit 0 done, 1 gimstage refused or failed,
2 usage, 130 or 143 stopped by SIGINT or SIGTERM with everything saved.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from gimstage import __version__, screens
from gimstage.errors import GimstageError
from gimstage.progress import Interrupted, Watch
from gimstage.sizes import parse_bytes

if TYPE_CHECKING:
    from gimstage.pipeline import Pipeline
    from gimstage.recipe import Recipe

WIDTH = 110  # of tables where stdout is not a terminal
SHEET_COLUMNS = 8  # images per class and split on a contact sheet

Command = Callable[..., Any]


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else WIDTH
    return Console(stderr=stderr, width=width, highlight=False, soft_wrap=not stream.isatty())


def answer(document: Any, picture: Any, *, as_json: bool) -> None:
    """Print a result: one JSON document, or what a person reads."""
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False))
    else:
        _console(stderr=False).print(picture)


def guarded(command: Command) -> Command:
    """Turn gimstage's errors into one message and exit 1, a stop into exit 130 or 143."""

    @wraps(command)
    def run(**options: Any) -> Any:
        try:
            return command(**options)
        except GimstageError as error:
            _fail(type(error).__name__, str(error), as_json=options.get("as_json", False))
        except BrokenPipeError:
            sys.exit(0)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            _fail("OSError", f"{where}{error.strerror}", as_json=options.get("as_json", False))
        except Interrupted:
            _console(stderr=True).print("stopped; the same command goes on from here")
            sys.exit(_received[-1] + 128 if _received else 130)

    return run


def _fail(kind: str, message: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"error": {"type": kind, "message": message}}, ensure_ascii=False))
    else:
        _console(stderr=True).print(f"[bold red]error[/] {screens.plain(message)}")
    sys.exit(1)


_received: list[int] = []


@contextmanager
def watching(*, quiet: bool) -> Iterator[Watch]:
    """A watch that shows progress, and asks the work to stop on Ctrl-C and SIGTERM.

    The first signal lets the step finish and everything be saved; the second one kills.
    """
    with screens.progress(_console(stderr=True), quiet=quiet) as report:
        watch = Watch(report)

        def stop(number: int, frame: Any) -> None:
            _received.append(number)
            watch.stop.set()
            signal.signal(number, signal.SIG_DFL)

        before = {n: signal.signal(n, stop) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield watch
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _option(*names: str, **settings: Any) -> Callable[[Command], Command]:
    return click.option(*names, **{"show_default": True, **settings})


RECIPE = [
    _option(
        "--recipe",
        type=click.Path(path_type=Path),
        default=lambda: Path(os.environ.get("GIMSTAGE_RECIPE", "stages/demo")),
        show_default="$GIMSTAGE_RECIPE, else stages/demo",
        help="Folder of the recipe's TOML files.",
    ),
    _option(
        "--runs",
        type=click.Path(path_type=Path),
        default=Path("runs"),
        help="Folder of all runs.",
    ),
    _option(
        "--data",
        type=click.Path(path_type=Path),
        default=None,
        envvar="GIMSTAGE_DATA",
        help="Folder of the data set.",
    ),
    _option(
        "--seed", type=int, default=None, help="Replace the recipe's seeds; runs as NAME@SEED."
    ),
    _option("--json", "as_json", is_flag=True, help="Print one JSON document."),
]
COMPUTE = [
    _option("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps."),
    _option("--workers", type=click.IntRange(1, 64), default=2, help="Reading threads."),
    _option("--max-disk", default=None, help="Most the features may take, such as 200GB."),
    _option(
        "--checkpoint-every",
        type=click.FloatRange(0),
        default=60.0,
        help="Seconds between checkpoints.",
    ),
]


def with_options(*groups: list[Callable[[Command], Command]]) -> Callable[[Command], Command]:
    """Add groups of options to a command, in order."""

    def add(command: Command) -> Command:
        for option in reversed([option for group in groups for option in group]):
            command = option(command)
        return command

    return add


def _pipeline(
    *,
    recipe: Path,
    runs: Path,
    data: Path | None,
    seed: int | None,
    device: str = "cpu",
    workers: int = 1,
    max_disk: str | None = None,
    checkpoint_every: float = 60.0,
    watch: Watch | None = None,
    **_: Any,
) -> Pipeline:
    from gimstage.device import find_device
    from gimstage.inputs import Images
    from gimstage.pipeline import Pipeline, Settings
    from gimstage.recipe import Recipe

    loaded = Recipe.load(recipe, seed)
    settings = Settings(
        device=find_device(device),
        workers=workers,
        max_disk=parse_bytes("--max-disk", max_disk) if max_disk else None,
        checkpoint_every_s=checkpoint_every,
    )
    images = Images.find(loaded.data, data, runs)
    return Pipeline(loaded, images, root=runs, settings=settings, watch=watch or Watch())


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
        pipeline = _pipeline(watch=watch, **options)
        fresh = pipeline.train_stage(number)
    _answer_stage(pipeline, number, fresh, as_json)


@main.command()
@click.argument("number", type=int)
@with_options(RECIPE, COMPUTE)
@guarded
def extract(number: int, as_json: bool, **options: Any) -> None:
    """Store the features of the trained stage NUMBER."""
    with watching(quiet=as_json) as watch:
        pipeline = _pipeline(watch=watch, **options)
        fresh = pipeline.extract_stage(number)
    _answer_stage(pipeline, number, fresh, as_json)


def _answer_stage(pipeline: Pipeline, number: int, fresh: bool, as_json: bool) -> None:
    chain = pipeline.recipe.chain(number)
    manifest = pipeline.runs.require(chain)
    status = asdict(pipeline.runs.status(chain))
    document = {"recipe": pipeline.recipe.name, "stage": status, "training": manifest["training"]}
    answer(document, screens.stage_line(manifest, fresh=fresh), as_json=as_json)


@main.command()
@click.argument("name", required=False)
@with_options(RECIPE, COMPUTE)
@guarded
def probe(name: str | None, as_json: bool, **options: Any) -> None:
    """Fit linear probes on the frozen stack: probe NAME, or every probe of the recipe."""
    with watching(quiet=as_json) as watch:
        pipeline = _pipeline(watch=watch, **options)
        names = [name] if name else list(pipeline.recipe.probes)
        rows = [row for each in names for row in pipeline.probe(each)]
    _answer_rows(pipeline.recipe, rows, as_json)


@main.command()
@with_options(RECIPE, COMPUTE)
@guarded
def run(as_json: bool, **options: Any) -> None:
    """Train every stage that is not done, then fit every probe."""
    with watching(quiet=as_json) as watch:
        pipeline = _pipeline(watch=watch, **options)
        rows = pipeline.run()
    _answer_rows(pipeline.recipe, rows, as_json)


def _answer_rows(recipe: Recipe, rows: list[dict[str, Any]], as_json: bool) -> None:
    answer(
        {"recipe": recipe.name, "rows": rows},
        screens.rows_table(recipe.name, rows),
        as_json=as_json,
    )


@main.command()
@click.option("--why", is_flag=True, help="Name every field that changed, old and new.")
@with_options(RECIPE)
@guarded
def status(why: bool, as_json: bool, **options: Any) -> None:
    """Show which stages are missing, partial, done, stale or damaged."""
    pipeline = _pipeline(**options)
    stages = [asdict(s) | {"why": list(s.why)} for s in pipeline.statuses()]
    probes = [asdict(s) | {"why": list(s.why)} for s in pipeline.probe_statuses()]
    document = {"recipe": pipeline.recipe.name, "stages": stages, "probes": probes}
    picture = screens.status_table(pipeline.recipe.name, stages + probes, why=why)
    answer(document, picture, as_json=as_json)


@main.command()
@with_options(RECIPE)
@_option("--max-disk", default=None, help="Most the features may take, such as 200GB.")
@guarded
def plan(as_json: bool, **options: Any) -> None:
    """Show what every stage will cost: operations, disk, to the byte."""
    pipeline = _pipeline(**options)
    plans = pipeline.plans()
    free = pipeline.free_disk()
    error = None
    try:
        pipeline.require_disk(list(pipeline.recipe.stages))
    except GimstageError as refusal:
        error = refusal
    document = {
        "recipe": pipeline.recipe.name,
        "fits": error is None,
        "free_bytes": free,
        "cache_bytes": sum(p.cache_bytes for p in plans),
        "stages": [p.as_json() for p in plans],
    }
    answer(document, screens.plan_table(pipeline.recipe.name, plans, free), as_json=as_json)
    if error is not None:
        if as_json:
            sys.exit(1)
        raise error


@main.command()
@click.argument("number", type=int)
@_option("--png", type=click.Path(path_type=Path), default=None, help="Draw channels to this file.")
@_option("--sample", type=click.IntRange(0), default=0, help="Which sample to draw.")
@with_options(RECIPE)
@guarded
def inspect(number: int, png: Path | None, sample: int, as_json: bool, **options: Any) -> None:
    """Describe the features of stage NUMBER; draw some of their channels."""
    from gimstage.inspection import describe, draw_channels

    pipeline = _pipeline(**options)
    chain = pipeline.recipe.chain(number)
    manifest = pipeline.runs.require(chain)
    folder = pipeline.runs.stage_folder(chain)
    found = describe(folder.features, manifest)
    if png is not None:
        source = pipeline.images.source(pipeline.split)
        draw_channels(folder.features, source, png, sample=sample, title=f"{chain.last.key}")
        found["png"] = str(png)
    answer(found, screens.inspect_table(chain.last.key, found), as_json=as_json)


@main.command()
@with_options(RECIPE)
@guarded
def verify(as_json: bool, **options: Any) -> None:
    """Read every byte of every finished stage and compare it with its manifest."""
    pipeline = _pipeline(**options)
    checked = pipeline.verify()
    picture = screens.verify_line(pipeline.recipe.name, checked)
    answer({"recipe": pipeline.recipe.name, "verified": checked}, picture, as_json=as_json)


@main.group()
def data() -> None:
    """Fetch, check and synthesise image data in STL-10's binary layout."""


@data.command()
@click.argument("name", type=click.Choice(["stl10"]))
@click.argument("folder", type=click.Path(path_type=Path))
@_option("--url", default=None, help="Fetch the archive from here instead of its home.")
@_option("--md5", default=None, help="Checksum of the archive at --url.")
@_option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@guarded
def download(name: str, folder: Path, url: str | None, md5: str | None, as_json: bool) -> None:
    """Fetch data set NAME into FOLDER; an interrupted download goes on where it stopped."""
    from gimstage.data.download import download_stl10

    with watching(quiet=as_json) as watch:
        download_stl10(folder, url=url, md5=md5, progress=screens.download_progress(watch))
    answer({"folder": str(folder)}, f"{name} is in {folder}", as_json=as_json)


@data.command()
@click.argument("folder", type=click.Path(path_type=Path))
@_option("--png", type=click.Path(path_type=Path), default=None, help="Draw a contact sheet.")
@_option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@guarded
def check(folder: Path, png: Path | None, as_json: bool) -> None:
    """Count and check the images of FOLDER."""
    from gimstage.data.check import check as check_images
    from gimstage.data.check import contact_sheet

    report = check_images(folder)
    if png is not None:
        contact_sheet(folder, png, columns=SHEET_COLUMNS)
    answer(report.to_json(), screens.data_table(report, png), as_json=as_json)


@data.command()
@click.argument("folder", type=click.Path(path_type=Path))
@_option("--unlabeled", type=click.IntRange(1), default=2000, help="Unlabelled images.")
@_option("--train", type=click.IntRange(1), default=500, help="Labelled training images.")
@_option("--test", type=click.IntRange(1), default=500, help="Labelled test images.")
@_option("--seed", type=click.IntRange(0), default=1, help="Seed.")
@_option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@guarded
def demo(folder: Path, as_json: bool, **counts: int) -> None:
    """Write the synthetic images of the demo to FOLDER."""
    from gimstage.data.demo import write_demo

    write_demo(folder, **counts)
    answer({"folder": str(folder), **counts}, f"synthetic images are in {folder}", as_json=as_json)
