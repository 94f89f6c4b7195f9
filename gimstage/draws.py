"""Every random draw, as a pure function of (seed, purpose, counters).

Order, augmentation and negatives each get a private generator named by what it is for and which
epoch, step or sample it serves. So a draw depends on nothing that ran before it: not on the number
of workers, not on an interruption, not on the global generators of torch or NumPy.
This file imports nothing of gimstage.
"""

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch


def stream_seed(seed: int, purpose: str, *counters: int) -> int:
    """A 63-bit seed, well mixed, for one purpose at one point of a run."""
    text = "/".join(map(str, (seed, purpose, *counters)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def generator(seed: int, purpose: str, *counters: int) -> torch.Generator:
    """A CPU generator for one purpose; draws are made on the CPU so every device sees the same."""
    return torch.Generator().manual_seed(stream_seed(seed, purpose, *counters))


@contextmanager
def drawing(seed: int, purpose: str, *counters: int) -> Iterator[None]:
    """Inside, what takes no generator draws from the seed, on the CPU; outside, nothing moved."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, purpose, *counters))
        yield


def initialising(seed: int, *counters: int) -> AbstractContextManager[None]:
    """Inside, torch's default initialisers draw from the seed; outside, nothing has moved."""
    return drawing(seed, "init", *counters)
