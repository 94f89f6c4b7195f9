"""Tensors with a JSON header in one safetensors file: weights and checkpoints, never pickles.

This file imports nothing of gimstage but errors and files.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gimstage.errors import CheckpointError, DamagedCacheError
from gimstage.files import UnreadableError, appearing, parse_json

_CURE = "delete it; the stage is then trained again"


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a header; the file appears whole or not at all.

    Raises:
        CheckpointError: it cannot be written.
    """
    # Copies, for safetensors refuses two names of one tensor, as tied weights are.
    plain = {n: tensor.detach().to("cpu", copy=True).contiguous() for n, tensor in tensors.items()}
    try:
        with appearing(path) as partial:
            save_file(plain, partial, metadata={"gimstage": json.dumps(header)})
    except SafetensorError as error:
        cure = "see that the disk is not full; what was there before is still there"
        raise CheckpointError(str(path), f"cannot be written: {error}", cure=cure) from error


def read_header(path: Path) -> dict[str, Any] | None:
    """The header of such a file; None where there is no file.

    Raises:
        DamagedCacheError: the file is not one gimstage wrote.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, Any] = parse_json((file.metadata() or {})["gimstage"])
            return header
    except (SafetensorError, KeyError, UnreadableError) as error:
        raise DamagedCacheError(str(path), f"not readable: {error}", cure=_CURE) from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of such a file, on the CPU.

    Raises:
        DamagedCacheError: the file is missing or not readable.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise DamagedCacheError(str(path), f"not readable: {error}", cure=_CURE) from error
