"""What all commands share: options, answers, errors, signals.

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
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from gimstage.cli import screens
from gimstage.errors import GimstageError
from gimstage.progress import Interrupted, Watch
from gimstage.sizes import parse_bytes

if TYPE_CHECKING:
    from gimstage.plan.memory import Budget
    from gimstage.recipe.recipe import Recipe
    from gimstage.work.pipeline import Pipeline
    from gimstage.work.stage import Settings

WIDTH = 110  # of tables where stdout is not a terminal

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


def notice(picture: Any) -> None:
    """Print what a person should know before the result is there."""
    _console(stderr=True).print(picture)


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
            where = error.filename or options.get("runs") or "the system"
            message = f"{where}: {error.strerror or error}; nothing written is lost: make room, or "
            message += "see who may write there, then run the same command again"
            _fail("OSError", message, as_json=options.get("as_json", False))
        except (Interrupted, KeyboardInterrupt):
            message = "stopped; the same command goes on from here"
            if options.get("as_json"):
                _print_error("Interrupted", message)
            else:
                _console(stderr=True).print(message)
            sys.exit(_received[-1] + 128 if _received else 130)

    return run


def _fail(kind: str, message: str, *, as_json: bool) -> None:
    if as_json:
        _print_error(kind, message)
    else:
        _console(stderr=True).print(f"[bold red]error[/] {screens.plain(message)}")
    sys.exit(1)


def _print_error(kind: str, message: str) -> None:
    click.echo(json.dumps({"error": {"type": kind, "message": message}}, ensure_ascii=False))


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


def option(*names: str, **settings: Any) -> Callable[[Command], Command]:
    """An option of a command, its default shown."""
    return click.option(*names, **{"show_default": True, **settings})


RUNS = option(
    "--runs", type=click.Path(path_type=Path), default=Path("runs"), help="Folder of all runs."
)
DATA = option(
    "--data",
    type=click.Path(path_type=Path),
    default=None,
    envvar="GIMSTAGE_DATA",
    help="Folder of the data set.",
)
JSON = option("--json", "as_json", is_flag=True, help="Print one JSON document.")
RECIPE = [
    option(
        "--recipe",
        type=click.Path(path_type=Path),
        default=lambda: Path(os.environ.get("GIMSTAGE_RECIPE") or "stages/demo"),
        show_default="$GIMSTAGE_RECIPE, else stages/demo",
        help="Folder of the recipe's TOML files.",
    ),
    RUNS,
    DATA,
    option("--seed", type=int, default=None, help="Replace the recipe's seeds; runs as NAME@SEED."),
    JSON,
]
DEVICE = option("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps.")
DISK = option(
    "--max-disk", "--disk", default=None, help="Most the features may take, such as 200GB."
)
MEMORY = [
    option("--gpu-mem", default=None, help="GPU memory to keep within, such as 2GB."),
    option("--gpu-context", default="500MB", help="Of it, set aside for the CUDA context."),
    option("--gpu-workspace", default="128MB", help="Of it, set aside for memory inside kernels."),
    option(
        "--gpu-margin",
        type=click.FloatRange(0, 1, max_open=True),
        default=0.1,
        help="Share of the rest kept free.",
    ),
]
COMPUTE = [
    DEVICE,
    option("--workers", type=click.IntRange(1, 64), default=2, help="Reading threads."),
    DISK,
    *MEMORY,
    option(
        "--checkpoint-every",
        type=click.FloatRange(0),
        default=60.0,
        help="Seconds between checkpoints.",
    ),
]


def with_options(*groups: list[Callable[[Command], Command]]) -> Callable[[Command], Command]:
    """Add groups of options to a command, in order."""

    def add(command: Command) -> Command:
        for decorate in reversed([each for group in groups for each in group]):
            command = decorate(command)
        return command

    return add


def open_pipeline(**options: Any) -> Pipeline:
    """The pipeline that a command's options ask for."""
    return pipeline_of(open_recipe(**options), **options)


def pipeline_of(
    loaded: Recipe, *, runs: Path, data: Path | None, watch: Watch | None = None, **options: Any
) -> Pipeline:
    """A loaded recipe on the data and with the settings that a command's options ask for."""
    from gimstage.inputs import find_data
    from gimstage.work.pipeline import Pipeline

    settings = open_settings(**options)
    data_set = find_data(loaded.data, data, runs)
    return Pipeline(loaded, data_set, root=runs, settings=settings, watch=watch or Watch())


def open_settings(
    *,
    device: str = "cpu",
    workers: int = 1,
    max_disk: str | None = None,
    checkpoint_every: float = 60.0,
    **options: Any,
) -> Settings:
    """How to compute, as a command's options ask for."""
    from gimstage.device import find_device
    from gimstage.work.stage import Settings

    return Settings(
        device=find_device(device),
        workers=workers,
        max_disk=parse_bytes("--max-disk", max_disk) if max_disk else None,
        checkpoint_every_s=checkpoint_every,
        budget=open_budget(**options),
    )


def open_recipe(*, recipe: Path, seed: int | None, **_: Any) -> Recipe:
    """The recipe that a command's options ask for."""
    from gimstage.recipe.recipe import Recipe

    return Recipe.load(recipe, seed)


def open_budget(
    *,
    gpu_mem: str | None = None,
    gpu_context: str = "0",
    gpu_workspace: str = "0",
    gpu_margin: float = 0.0,
    **_: Any,
) -> Budget | None:
    """The budget of GPU memory that a command's options ask for, if any."""
    from gimstage.plan.memory import Budget

    def aside(name: str, text: str) -> int:
        return 0 if text.strip() == "0" else parse_bytes(name, text)

    if not gpu_mem:
        return None
    return Budget(
        total_bytes=parse_bytes("--gpu-mem", gpu_mem),
        context_bytes=aside("--gpu-context", gpu_context),
        workspace_bytes=aside("--gpu-workspace", gpu_workspace),
        margin_share=gpu_margin,
    )
