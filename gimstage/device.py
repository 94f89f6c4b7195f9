"""The device to compute on, settings under which it computes the same thing twice, and its limit.

This file imports nothing of gimstage but errors.
"""

import ctypes
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch
from torch import Tensor, nn

from gimstage.errors import BudgetError, GimstageError

M = TypeVar("M", bound=nn.Module)

# glibc's mallopt parameters (malloc.h).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def find_device(name: str) -> torch.device:
    """The device of that name; "auto" takes CUDA, then MPS, then the CPU.

    Raises:
        GimstageError: the device does not exist here.
    """
    if name == "auto":
        name = _best()
    known = "auto, cpu, cuda, cuda:N or mps"
    if not re.fullmatch(r"cpu|cuda(:\d+)?|mps", name):
        raise GimstageError(f"--device {name}", "no such kind of device", known)
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = re.split(r"\. |\n", str(error))[0]
        raise GimstageError(f"--device {name}", f"not usable: {reason}", known) from error
    _settle(device)
    return device


def device_name(device: torch.device) -> str:
    """The device's own name, for the record."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def _best() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _settle(device: torch.device) -> None:
    """Make repeated runs equal, and the CPU's large buffers stay with the process."""
    if device.type == "cuda":
        # cuBLAS and index_add_ are repeatable only when told so before first use.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        # float32 means float32: TF32 would round every factor to 10 bits.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.use_deterministic_algorithms(True, warn_only=True)
    elif device.type == "cpu":
        keep_freed_memory()


def module_to_device(module: M, device: torch.device) -> M:
    """The module, moved to a device and laid out as it computes fastest there."""
    module.to(device)
    return module.to(memory_format=_memory_format(device))  # type: ignore[call-overload,no-any-return]


def to_fastest_layout(batch: Tensor, reads: str = "patch") -> Tensor:
    """Module input as suits its device.

    Args:
        batch: patches (…, C, y, x), sequences (B, T, C) or maps (B, y, x, C).
        reads: what the module reads, as it says itself: the channels of maps come last.
    """
    if batch.ndim < 4 or reads == "map":
        return batch.contiguous()
    flat = batch.flatten(0, -4).contiguous(memory_format=_memory_format(batch.device))
    return flat.view(*batch.shape[:-3], *flat.shape[1:])


def _memory_format(device: torch.device) -> torch.memory_format:
    # On CPUs channels_last takes half of the time of the default or all of it, by module and width.
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format


@cache
def keep_freed_memory() -> bool:
    """Stop glibc from returning every large buffer to the kernel, to fault it in again next step.

    A training step allocates and frees the same tens of megabytes over and over; unmapping and
    zeroing them took about half of the step on two cores. False where the C library is another.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_M_TOP_PAD, 64 * 2**20)
    return True


def release_freed_memory() -> bool:
    """Return to the kernel what is free now, as after work that the next does not resemble.

    False where the C library is another.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return False
    return True


@contextmanager
def naming_out_of_memory(
    where: str,
    *,
    expected: str = "what is free, or allowed, to be enough",
    cure: str = "what is written is kept: allow more, or free the GPU, and run the same command "
    "again",
) -> Iterator[None]:
    """Inside, running out of memory, the GPU's or the system's, becomes a message.

    Args:
        where: it happens, for the message.
        expected: what would have fitted.
        cure: what to do about it.

    Raises:
        BudgetError: names `where`.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        found = f"out of GPU memory: {str(error).split('. ')[0]}"
        raise BudgetError(where, found, expected, cure) from error
    except RuntimeError as error:  # what torch makes of the system's refusal
        refused = re.search(r"can't allocate memory: you tried to allocate (\d+) bytes", str(error))
        if refused is None:
            raise
        found = f"out of memory: {int(refused[1]):,} bytes more were asked for"
        raise BudgetError(where, found, expected, cure) from error
