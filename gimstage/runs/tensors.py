"""Tensors with a JSON header in one safetensors file: weights and checkpoints, never pickles.

A file vouches for itself: its header holds a SHA-256 of the tensors and of the other facts in it.
A manifest may vouch for it too, by the SHA-256 of its bytes. What is used is what was checked, for
a file is read once. This file imports nothing of gimstage but errors, commands and files.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from gimstage.commands import making_anew
from gimstage.errors import CacheError, CheckpointError, DamagedCacheError
from gimstage.files import UnreadableError, appearing, open_regular, parse_json, read_regular

MOST_BYTES = 1 << 40  # of a file
MOST_HEADER_BYTES = 100_000_000  # of its header, as the format has it

Header = dict[str, Any]

_DIGEST = "sha256"  # its key in the header


@dataclass(frozen=True)
class Stored:
    """What a file holds.

    Args:
        tensors: by their names, on the CPU.
        header: the facts beside them.
    """

    tensors: dict[str, Tensor]
    header: Header


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a header of plain JSON values; the file appears whole or not at all.

    Raises:
        CheckpointError: it cannot be written.
    """
    # Copies, for safetensors refuses two names of one tensor, as tied weights are.
    plain = {n: tensor.detach().to("cpu", copy=True).contiguous() for n, tensor in tensors.items()}
    whole = {**header, _DIGEST: _digest(plain, header)}
    try:
        with appearing(path) as partial:
            save_file(plain, partial, metadata={"gimstage": json.dumps(whole)})
    except SafetensorError as error:
        cure = "see that the disk is not full; what was there before is still there"
        raise CheckpointError(str(path), f"cannot be written: {error}", cure=cure) from error


def read_header(path: Path) -> Header | None:
    """The header of such a file as it stands there, not checked; None where there is no file.

    Raises:
        DamagedCacheError: the file is not one gimstage wrote.
        CacheError: it may not be read.
    """
    try:
        with open_regular(path, most_bytes=MOST_BYTES) as file:
            header = _header(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (UnreadableError, OSError) as error:
        raise _refusal(path, error) from error
    return {key: value for key, value in header.items() if key != _DIGEST}


def read_tensors(path: Path, *, sha256: str | None = None) -> Stored:
    """What such a file holds, checked.

    Args:
        path: the file.
        sha256: of the file's bytes, as a manifest names it; None where the file's own digest of
            what it holds is to be checked, which files of the first releases do not have.

    Raises:
        DamagedCacheError: the file is missing, not readable, or of other bytes.
        CacheError: it may not be read.
    """
    try:
        data = read_regular(path, most_bytes=MOST_BYTES)
    except (UnreadableError, OSError, MemoryError) as error:
        raise _refusal(path, error) from error
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        cure = making_anew(path)
        raise DamagedCacheError(str(path), "other bytes than its manifest names", cure=cure)
    try:
        tensors, header = load(data), _header(BytesIO(data))
    except (UnreadableError, SafetensorError, *_OF_LOAD) as error:
        raise _refusal(path, error) from error
    own = header.pop(_DIGEST, None)
    if sha256 is None and own != _digest(tensors, header):
        reason = "other bytes than were written" if own else "no checksum inside"
        raise DamagedCacheError(str(path), reason, cure=making_anew(path))
    return Stored(tensors, header)


# What the format's own reader raises of types and shapes that it does not know.
_OF_LOAD = (KeyError, TypeError, ValueError, RuntimeError, AssertionError, MemoryError)


def _header(file: BinaryIO) -> Header:
    size = int.from_bytes(file.read(8), "little")
    if size > MOST_HEADER_BYTES:
        raise UnreadableError(f"a header of {size:,} bytes")
    try:
        text = parse_json(file.read(size))["__metadata__"]["gimstage"]
    except (KeyError, TypeError) as error:
        raise UnreadableError("no header of gimstage inside") from error
    header = parse_json(text) if isinstance(text, str) else None
    if not isinstance(header, dict):
        raise UnreadableError("no header of gimstage inside")
    return header


def _digest(tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> str:
    """SHA-256 of a header and of every tensor's name, type, shape and bytes."""
    text = json.dumps(header, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\0{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _refusal(path: Path, error: Exception) -> CacheError:
    """The message for a file that cannot be read."""
    if isinstance(error, FileNotFoundError):
        return DamagedCacheError(str(path), "missing", "a file of tensors", making_anew(path))
    if isinstance(error, OSError):
        found = f"cannot be read ({error.strerror})"
        return CacheError(str(path), found, cure="see what it is and who may read it")
    reason = " ".join(str(error).split()) or "larger than memory"
    return DamagedCacheError(str(path), f"not readable: {reason}", cure=making_anew(path))
