"""gimstage: Greedy InfoMax, one module at a time, through features on disk."""

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gimstage.cache import FeatureReader
    from gimstage.stack import Stack

__version__ = version("gimstage")
__all__ = ["__version__", "load", "open_features"]


def load(stage: Path | str) -> "Stack":
    """The frozen modules from the data up to a finished stage, such as "runs/demo/3".

    `stack(patches)` maps patches (B, G, G, C, P, P) to the top module's features;
    `stack.codes(patches)` gives every module's codes, (B, G, G, C') each.

    Raises:
        GimstageError: the stage, or one below it, is missing, damaged or of a newer format.
    """
    from gimstage.stack import stack_from_manifests

    return stack_from_manifests(Path(stage))


def open_features(stage: Path | str) -> "FeatureReader":
    """A reader of a finished stage's features, every shard's size and index checked.

    Raises:
        GimstageError: the stage stores none, or they are damaged.
    """
    from gimstage.runs.folder import RunFolder

    return RunFolder(Path(stage)).open_features()
