"""How to compute, as a person says it; none of it changes a number.

This file loads no torch, so that the command line can show these defaults in its help.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gimstage.errors import GimstageError
from gimstage.sizes import parse_bytes

if TYPE_CHECKING:
    from gimstage.plan.memory import Budget
    from gimstage.work.base import Settings


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of every command that computes, and of `gimstage.open`.

    Args:
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        workers: how many threads read.
        max_disk: the most that features may take, such as "200GB"; None for as much as is free.
        checkpoint_every: seconds between checkpoints of a training.
        gpu_mem: the GPU memory to keep within, such as "2GB"; None for as much as a step takes.
        gpu_context: how much of it is set aside for the CUDA context; "0" for nothing.
        gpu_workspace: how much of it is set aside for memory inside kernels; "0" for nothing.
        gpu_margin: the share of the rest that is kept free, from 0 and below 1.

    Raises:
        GimstageError: a number is out of its range.
    """

    device: str = "auto"
    workers: int = 2
    max_disk: str | None = None
    checkpoint_every: float = 60.0
    gpu_mem: str | None = None
    gpu_context: str = "500MB"
    gpu_workspace: str = "128MB"
    gpu_margin: float = 0.1

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= MOST_WORKERS:
            expected = f"a number of threads from 1 to {MOST_WORKERS}"
            raise GimstageError("workers", str(self.workers), expected)
        if not SHORTEST_S <= self.checkpoint_every <= LONGEST_S:
            expected = f"seconds from {SHORTEST_S} to {LONGEST_S:,}"
            raise GimstageError("checkpoint_every", str(self.checkpoint_every), expected)
        if not 0 <= self.gpu_margin < 1:
            raise GimstageError("gpu_margin", str(self.gpu_margin), "a share from 0 and below 1")

    def settings(self) -> Settings:
        """The same in numbers, the device looked for.

        Raises:
            GimstageError: there is no such device, or a text is not a number of bytes.
        """
        from gimstage.device import find_device
        from gimstage.work.base import Settings

        return Settings(
            device=find_device(self.device),
            workers=self.workers,
            max_disk=_if_given("--max-disk", self.max_disk),
            checkpoint_every_s=self.checkpoint_every,
            budget=self.budget(),
        )

    def budget(self) -> Budget | None:
        """The GPU memory to keep within; None for as much as a step takes.

        Raises:
            GimstageError: a text is not a number of bytes.
        """
        from gimstage.plan.memory import Budget

        total_bytes = _if_given("--gpu-mem", self.gpu_mem)
        if total_bytes is None:
            return None
        return Budget(
            total_bytes=total_bytes,
            context_bytes=_aside("--gpu-context", self.gpu_context),
            workspace_bytes=_aside("--gpu-workspace", self.gpu_workspace),
            margin_share=self.gpu_margin,
        )


MOST_WORKERS = 64
# Between checkpoints. Of 0, some would think that it turns them off; it would save every step.
SHORTEST_S, LONGEST_S = 0.001, 30 * 24 * 60 * 60


def _if_given(name: str, text: str | None) -> int | None:
    """The bytes of an option; an empty text, as of a variable nobody set, is no "not given"."""
    return None if text is None else parse_bytes(name, text)


def _aside(name: str, text: str) -> int:
    return 0 if text.strip() == "0" else parse_bytes(name, text)
