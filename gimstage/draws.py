"""Every random draw, as a pure function of (seed, purpose, counters).

Order, augmentation and negatives each get a private generator named by what it is for and which
epoch, step or sample it serves. So a draw depends on nothing that ran before it: not on the number
of workers, not on an interruption, not on the global generators of torch or NumPy.
This file imports nothing of gimstage.
"""

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

_INITIALISERS = frozenset(
    {
        nn.init.uniform_,
        nn.init.normal_,
        nn.init.trunc_normal_,
        nn.init.xavier_uniform_,
        nn.init.xavier_normal_,
        nn.init.kaiming_uniform_,
        nn.init.kaiming_normal_,
        nn.init.orthogonal_,
        nn.init.sparse_,
    }
)


def stream_seed(seed: int, purpose: str, *counters: int) -> int:
    """A 63-bit seed, well mixed, for one purpose at one point of a run."""
    text = "/".join(map(str, (seed, purpose, *counters)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def generator(seed: int, purpose: str, *counters: int) -> torch.Generator:
    """A CPU generator for one purpose; draws are made on the CPU so every device sees the same."""
    return torch.Generator().manual_seed(stream_seed(seed, purpose, *counters))


@contextmanager
def drawing(seed: int, purpose: str, *counters: int) -> Iterator[None]:
    """Inside, torch's global generator draws from the seed; outside, nothing on the CPU has moved.

    For what takes no generator of its own: torch's initialisers and dropout.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, purpose, *counters))
        yield


def initialising(seed: int, *counters: int) -> AbstractContextManager[None]:
    """Inside, torch's default initialisers draw from the seed."""
    return drawing(seed, "init", *counters)


class NotInitialising(TorchFunctionMode):
    """Inside, torch's random initialisers draw nothing: for weights that others replace at once."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call a function of torch, or give an initialiser's tensor back as it came."""
        kwargs = kwargs or {}
        if func in _INITIALISERS:
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return func(*args, **kwargs)
