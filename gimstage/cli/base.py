"""What all commands share: options, answers, errors, signals.

Results go to stdout, progress and notices to stderr. Exit 0 done, 1 gimstage refused or failed,
2 usage, 130, 143 or 129 stopped by SIGINT, SIGTERM or SIGHUP with everything saved.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from gimstage.cli.arguments import Companion, Place, Real, Word
from gimstage.cli.streams import as_line, prepare, put, tell
from gimstage.errors import GimstageError
from gimstage.errors.commands import DATA_VARIABLE, DEFAULT_RUNS, Asked, asking, default_recipe
from gimstage.errors.failures import told
from gimstage.progress import Interrupted, Watch
from gimstage.session.display import open_console, shown_progress, stopped_by
from gimstage.session.options import LONGEST_S, MOST_WORKERS, SHORTEST_S, Options
from gimstage.sizes.bounds import MOST_SEED

if TYPE_CHECKING:
    from gimstage.session.session import Session

Command = Callable[..., Any]


def answer(document: Any, picture: Any, *, as_json: bool) -> None:
    """Print a result: one JSON document, or what a person reads."""
    put(as_line(document) if as_json else _drawn(picture, stderr=False), stderr=False)


def notice(picture: Any) -> None:
    """Print what a person should know before the result is there."""
    tell(_drawn(picture, stderr=True), stderr=True)


def _drawn(picture: Any, *, stderr: bool) -> str:
    """What a person reads, as its stream shows it."""
    console = open_console(stderr=stderr)
    with console.capture() as drawn:
        console.print(picture)
    return drawn.get()


def guarded(command: Command) -> Command:
    """Turn gimstage's errors into one message and exit 1, a stop into exit 128 + its signal."""

    @wraps(command)
    def run(**options: Any) -> Any:
        try:
            with _stopped_at_once(), asking(_asked(options)):
                return command(**options)
        except GimstageError as error:
            _fail(type(error).__name__, str(error), as_json=options.get("as_json", False))
        except BrokenPipeError:
            sys.exit(0)
        except OSError as error:
            message = told(error, str(options.get("runs") or "the system"))
            _fail("OSError", message, as_json=options.get("as_json", False))
        except MemoryError as error:
            message = (
                f"out of memory{f': {error}' if str(error) else ''}; expected what is free to "
            )
            message += "be enough; make memory free, or ask for less"
            _fail("MemoryError", message, as_json=options.get("as_json", False))
        except RecursionError:
            message = "something that is read is nested too deep; see that it is what it should be"
            _fail("RecursionError", message, as_json=options.get("as_json", False))
        except (Interrupted, KeyboardInterrupt) as error:
            message = f"stopped; the same command {error if str(error) else GOES_ON}"
            _tell("Interrupted", message, message, as_json=options.get("as_json", False))
            sys.exit(_received[-1] + 128 if _received else 130)

    return run


def _asked(options: Mapping[str, Any]) -> Asked:
    """What the options of a command say of recipe, runs, data and seed."""
    names = ("recipe", "runs", "data", "seed")
    return Asked(**{name: options[name] for name in names if name in options})


def _fail(kind: str, message: str, *, as_json: bool) -> None:
    picture = Text.assemble(("error", "bold red"), f" {message}")
    _tell(kind, message, picture, as_json=as_json)
    sys.exit(1)


def _tell(kind: str, message: str, picture: Any, *, as_json: bool) -> None:
    """Say what went wrong, as a document or to a person, on the stream that can be written."""
    document = {"error": {"type": kind, "message": message}}
    tell(as_line(document) if as_json else _drawn(picture, stderr=True), stderr=not as_json)


class Commands(click.Group):
    """The commands, on streams that bear every character."""

    def main(self, *arguments: Any, **settings: Any) -> Any:
        """Run the command that the arguments name; exits."""
        prepare()
        try:
            return super().main(*arguments, **settings)
        except OSError as error:  # of click, which prints help and wrong usage
            where = "stdout or stderr"
            _fail("OSError", f"{where}: it cannot be written ({error.strerror})", as_json=False)

    def invoke(self, context: click.Context) -> Any:
        """Run the command; Ctrl-C before it listens for signals ends it as it does later on."""
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            message = f"stopped; the same command {BEGINS_ANEW}"
            _tell("Interrupted", message, message, as_json=False)
            sys.exit(130)


GOES_ON, BEGINS_ANEW = "goes on from here", "begins anew"

_received: list[int] = []


def _signals() -> list[int]:
    """Those that ask a command to stop; what `nohup` started outlives its terminal."""
    numbers: list[int] = [signal.SIGINT, signal.SIGTERM]
    outlives = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return numbers if outlives else [*numbers, signal.SIGHUP]


@contextmanager
def _stopped_at_once() -> Iterator[None]:
    """Inside, unless a watch listens, the first signal ends a command that saves nothing.

    Temporary files are removed; the second signal kills.
    """
    watch = Watch()
    listening = stopped_by(watch, _signals(), then=signal.SIG_DFL, heard=_received.append)
    with listening, watch.breaking_off(BEGINS_ANEW):
        try:
            yield
        except Exception as error:
            if watch.stop.is_set():  # others' code took the stop for a failure of its own
                raise Interrupted(BEGINS_ANEW) from error
            raise


@contextmanager
def watching(*, quiet: bool) -> Iterator[Watch]:
    """A watch that shows progress, and asks the work to stop on Ctrl-C, SIGTERM and SIGHUP.

    The first signal lets the step finish and everything be saved; the second one kills.
    """
    watch = Watch()
    with stopped_by(watch, _signals(), then=signal.SIG_DFL, heard=_received.append):
        if quiet:
            yield watch
        else:
            with shown_progress(open_console(stderr=True)) as watch.report:
                yield watch


def option(*names: str, **settings: Any) -> Callable[[Command], Command]:
    """An option of a command, its default shown."""
    return click.option(*names, **{"show_default": True, **settings})


RUNS = option("--runs", type=Place(), default=DEFAULT_RUNS, help="Folder of all runs.")
DATA = option(
    "--data",
    type=Place(),
    default=None,
    envvar=DATA_VARIABLE,
    help="Folder of the data set.",
)
JSON = option("--json", "as_json", is_flag=True, help="Print one JSON document.")
RECIPE = [
    option(
        "--recipe",
        type=Place(),
        default=default_recipe,
        show_default="$GIMSTAGE_RECIPE, else stages/demo",
        help="Folder of the recipe's TOML files, or a name that `gimstage recipes` lists.",
    ),
    RUNS,
    DATA,
    option(
        "--seed",
        type=click.IntRange(0, MOST_SEED),
        default=None,
        help="Replace the recipe's seeds; runs as NAME@SEED.",
    ),
    JSON,
]
DEFAULTS = Options()
DEVICE = option("--device", default=DEFAULTS.device, help="auto, cpu, cuda, cuda:N or mps.")
DISK = option(
    "--max-disk",
    "--disk",
    type=Word(),
    default=DEFAULTS.max_disk,
    help="Most the features may take, such as 200GB.",
)
MEMORY = [
    option(
        "--gpu-mem",
        type=Word(),
        default=DEFAULTS.gpu_mem,
        help="GPU memory to keep within, such as 2GB.",
    ),
    option(
        "--gpu-context",
        cls=Companion,
        needs="gpu_mem",
        type=Word(),
        default=DEFAULTS.gpu_context,
        help="Of it, set aside for the CUDA context.",
    ),
    option(
        "--gpu-workspace",
        cls=Companion,
        needs="gpu_mem",
        type=Word(),
        default=DEFAULTS.gpu_workspace,
        help="Of it, set aside for memory inside kernels.",
    ),
    option(
        "--gpu-margin",
        cls=Companion,
        needs="gpu_mem",
        type=Real(0, 1, max_open=True),
        default=DEFAULTS.gpu_margin,
        help="Share of the rest kept free.",
    ),
]
WORKERS = option(
    "--workers",
    type=click.IntRange(1, MOST_WORKERS),
    default=DEFAULTS.workers,
    help="Reading threads.",
)
COMPUTE = [
    DEVICE,
    WORKERS,
    DISK,
    *MEMORY,
    option(
        "--checkpoint-every",
        type=Real(SHORTEST_S, LONGEST_S),
        default=DEFAULTS.checkpoint_every,
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


def open_session(
    *,
    quiet: bool,
    recipe: Path,
    runs: Path,
    data: Path | None,
    seed: int | None,
    device: str = "cpu",
    **compute: Any,
) -> Session:
    """The session that a command's options ask for; one that only looks needs no other device.

    Args:
        quiet: whether no progress is shown.
        recipe: folder of the recipe.
        runs: folder of all runs.
        data: folder of the data set; None where the recipe writes its own.
        seed: replaces the recipe's seeds.
        device: to compute on.
        **compute: further fields of `Options`, each known.
    """
    from gimstage.session.session import Session

    options = Options(device=device, **compute)
    watch = partial(watching, quiet=quiet)
    return Session(recipe, runs=runs, data=data, seed=seed, options=options, watching=watch)
