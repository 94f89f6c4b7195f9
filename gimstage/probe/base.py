"""What all probes share: where they compute, and the form of their rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gimstage.progress import Watch
from gimstage.recipe.names import ModuleKey, RunName
from gimstage.stack import Stack

Floats = NDArray[np.float32]
Row = dict[str, Any]
Stacks = Mapping[str, tuple[Stack, ...]]  # what is probed, and what it is compared with, if any

RANDOM = "random "  # before the name of an input: the same codes before training


class Probe:
    """A probe at work.

    Args:
        device: where to compute codes.
        workers: reading threads.
        watch: hears of progress, asks to stop.
    """

    def __init__(self, *, device: torch.device, workers: int, watch: Watch) -> None:
        self.device, self.workers, self.watch = device, workers, watch


def every_stack(stacks: Stacks) -> list[tuple[str, Stack, set[str]]]:
    """Each stack once: what stands before the names of its codes, it, which codes are asked of it.

    A stack also has codes of the stages below, and two stacks may have the same ones.
    """
    asked: dict[tuple[Stack, ...], set[str]] = {}
    for key, pair in stacks.items():
        asked.setdefault(pair, set()).add(key)
    return [
        (prefix, stack, keys)
        for pair, keys in asked.items()
        for prefix, stack in zip(("", RANDOM), pair, strict=False)
    ]


def input_name(key: str, recipe: str) -> str:
    """What the rows of a probe call one of its inputs.

    Args:
        key: the key of a stage or module, or the name of what no module made, such as "pixels".
        recipe: the name of the probe's recipe, whose own stages are called by their numbers alone.
    """
    made_by_none = "/" not in key
    return key if made_by_none else ModuleKey.parse(key).seen_from(RunName.parse(recipe))
