"""What all probes share: where they compute, and the form of their rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gimstage.progress import Watch
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


def every_stack(stacks: Stacks) -> list[tuple[str, Stack]]:
    """Each stack once, with what stands before the names of its codes."""
    pairs = dict.fromkeys(stacks.values())
    return [named for pair in pairs for named in zip(("", RANDOM), pair, strict=False)]
