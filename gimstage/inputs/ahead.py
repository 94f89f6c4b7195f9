"""Batches read ahead of the step that needs them, and moved to its device."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from gimstage.errors.commands import inherited
from gimstage.inputs.base import Source
from gimstage.inputs.draws import Places


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


def to_device(raw: Tensor, device: torch.device) -> Tensor:
    """The raw batch on the device; the CPU buffer may be refilled once this returns."""
    moved = raw.to(device, non_blocking=True)
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()
    return moved
