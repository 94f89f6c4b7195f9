"""gimstage: Greedy InfoMax, one module at a time, through features on disk."""

from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gimstage.cache import FeatureReader
    from gimstage.modules import EncoderModule, Outputs, SequenceModule
    from gimstage.objectives import Objective, Result
    from gimstage.stack import Stack

__version__ = version("gimstage")
__all__ = [
    "EncoderModule",
    "Objective",
    "Outputs",
    "Result",
    "SequenceModule",
    "__version__",
    "load",
    "open_features",
]

# What parts of one's own are made from; looked up when first asked for, since they bring torch.
_ROOMS = {
    "EncoderModule": "modules",
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

    return stack_from_manifests(Path(stage), trust=trust)


def open_features(stage: Path | str) -> "FeatureReader":
    """A reader of a finished stage's features, every shard's size and index checked.

    Raises:
        GimstageError: the stage stores none, or they are damaged.
    """
    from gimstage.runs.folder import RunFolder

    return RunFolder(Path(stage)).open_features()
