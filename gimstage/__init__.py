"""gimstage: Greedy InfoMax, one module at a time, through features on disk."""

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gimstage.cache import FeatureReader
    from gimstage.modules import EncoderModule, MapModule, Outputs, SequenceModule
    from gimstage.objectives import Objective, Result
    from gimstage.progress import Progress
    from gimstage.session.session import Session
    from gimstage.stack import Stack

if find_spec("fcntl") is None:  # which has the locks that keep two processes from one stage
    raise ImportError(
        "gimstage: this system has no fcntl; expected Linux or macOS; on Windows, use WSL 2"
    )

__version__ = version("gimstage")
__all__ = [
    "EncoderModule",
    "MapModule",
    "Objective",
    "Outputs",
    "Result",
    "SequenceModule",
    "__version__",
    "load",
    "open",
    "open_features",
]

# What parts of one's own are made from; looked up when first asked for, since they bring torch.
_ROOMS = {
    "EncoderModule": "modules",
    "MapModule": "modules",
    "Objective": "objectives",
    "Outputs": "modules",
    "Result": "objectives",
    "SequenceModule": "modules",
}


def __getattr__(name: str) -> Any:
    """A public class of another room, by its name here."""
    if name not in _ROOMS:
        raise AttributeError(f"module 'gimstage' has no attribute '{name}'")
    return getattr(import_module(f"gimstage.{_ROOMS[name]}"), name)


def load(stage: Path | str, *, trust: bool = False) -> "Stack":
    """The frozen modules from the data up to a finished stage, such as "runs/demo/3".

    `stack(patches)` maps patches (B, G, G, C, P, P) to the top module's features;
    `stack.codes(patches)` gives every module's codes, (B, G, G, C') each.

    Args:
        stage: folder of the stage.
        trust: whether modules that a recipe brought along may be imported, which runs what is
            written in them; without it, such a stage is refused, with the file it would import.

    Raises:
        GimstageError: the stage, or one below it, is missing, damaged or of a newer format.
    """
    from gimstage.stack import stack_from_manifests

    return stack_from_manifests(_local("stage", stage), trust=trust)


def open(
    recipe: Path | str,
    *,
    runs: Path | str = "runs",
    data: Path | str | None = None,
    seed: int | None = None,
    progress: "bool | Callable[[Progress], None]" = True,
    **compute: Any,
) -> "Session":
    """A recipe to plan, train, probe and look at: every command as a method.

        demo = gimstage.open("stages/demo")
        demo.plan()
        demo.train(1)

    What the methods give is a sequence of plain records that shows itself as a table, in a terminal
    and in a notebook.

    Args:
        recipe: folder of the recipe's TOML files.
        runs: folder of all runs.
        data: folder of the data set; None where the recipe writes its own.
        seed: replaces the recipe's seeds; runs as NAME@SEED.
        progress: True shows it on stderr, or in the cell of a notebook; False does not; a function
            is called with it instead.
        **compute: what of `device="auto"`, `workers=2`, `max_disk=None`, `checkpoint_every=60.0`,
            `gpu_mem=None`, `gpu_context="500MB"`, `gpu_workspace="128MB"` and `gpu_margin=0.1` is
            to be otherwise; they mean what the options of the commands mean.

    Raises:
        GimstageError: the recipe cannot mean what it says, there is no such device, or a value is
            out of its range.
        TypeError: an option is unknown.
    """
    from gimstage.session.options import Options
    from gimstage.session.session import Session, watching_in_python

    session = Session(
        _local("recipe", recipe),
        runs=_local("runs", runs),
        data=None if data is None else _local("data", data),
        seed=seed,
        options=Options(**compute),
        watching=watching_in_python(progress),
    )
    session.settings  # noqa: B018, a device that does not exist is refused here
    return session


def open_features(stage: Path | str) -> "FeatureReader":
    """A reader of a finished stage's features, every shard's size and index checked.

    Raises:
        GimstageError: the stage stores none, or they are damaged.
    """
    from gimstage.runs.folder import RunFolder

    return RunFolder(_local("stage", stage)).open_features()


def _local(name: str, place: Path | str) -> Path:
    """The folder that an argument names.

    Raises:
        GimstageError: it is a URL, which a path would be made of without a word.
    """
    from gimstage.errors import GimstageError
    from gimstage.files import is_url

    if is_url(place):
        raise GimstageError(name, f"{place} is a URL", "a folder on this machine")
    return Path(place)
