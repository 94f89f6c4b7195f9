"""What is needed next made ahead on threads: batches, and files that are decoded."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import torch
from torch import Tensor

from gimstage.errors.commands import inherited
from gimstage.inputs.base import Source
from gimstage.inputs.draws import Places

Item = TypeVar("Item")
Made = TypeVar("Made")


def prefetched(
    source: Source, batches: Iterable[Places], *, buffers: list[Tensor], workers: int
) -> Iterator[tuple[Tensor, Places]]:
    """Filled buffers and their places, in order, read ahead by a few threads into a ring.

    A yielded tensor holds until the next one is asked for.
    """
    todo = iter(batches)
    free = deque(buffers)
    filling: deque[tuple[Future[Tensor], Tensor, Places]] = deque()
    with ThreadPoolExecutor(workers, "read", **inherited()) as pool:
        try:
            while True:
                while free and (places := next(todo, None)) is not None:
                    buffer = free.popleft()
                    filling.append((pool.submit(source.fill, buffer, places), buffer, places))
                if not filling:
                    return
                future, buffer, places = filling.popleft()
                yield future.result(), places
                free.append(buffer)
        finally:
            for future, _, _ in filling:
                future.cancel()


def made_ahead(
    make: Callable[[Item], Made], items: Iterable[Item], *, most: int
) -> Iterator[Future[Made]]:
    """What `make` gives for every item, in order, made on all cores.

    Args:
        make: called by threads; what it raises, the future raises.
        items: asked for one by one.
        most: how many are made, or being made, at a time.
    """
    todo, making = iter(items), deque[Future[Made]]()
    with ThreadPoolExecutor(cores(), "make", **inherited()) as pool:
        try:
            while True:
                making.extend(pool.submit(make, item) for item in islice(todo, most - len(making)))
                if not making:
                    return
                yield making.popleft()
        finally:
            for future in making:
                future.cancel()


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def to_device(raw: Tensor, device: torch.device) -> Tensor:
    """The raw batch on the device; the CPU buffer may be refilled once this returns."""
    moved = raw.to(device, non_blocking=True)
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
    return moved
