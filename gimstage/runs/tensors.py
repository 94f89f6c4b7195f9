"""Tensors with a JSON header in one safetensors file: weights and checkpoints, never pickles.

A file vouches for itself: its header holds a SHA-256 of the tensors and of the other facts in it.
A manifest may vouch for it too, by the SHA-256 of its bytes. What is used is what was checked, for
a file is read once. This file imports nothing of gimstage but errors, commands and files.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from gimstage.errors import CacheError, CheckpointError, DamagedCacheError
from gimstage.errors.commands import making_anew
from gimstage.files import UnreadableError, appearing, open_regular, parse_json

MOST_BYTES = 1 << 40  # of a file
MOST_HEADER_BYTES = 100_000_000  # of its header, as the format has it

Header = dict[str, Any]

_DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "U16": torch.uint16,
    "U32": torch.uint32,
    "U64": torch.uint64,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "C64": torch.complex64,
}
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
            _, header = _described(_head(file))
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
        with open_regular(path, most_bytes=MOST_BYTES) as file:
            head, data = _head(file), _rest(file)
        if sha256 is not None and _sha256(head, data) != sha256:
            cure = making_anew(path)
            raise DamagedCacheError(str(path), "other bytes than its manifest names", cure=cure)
        table, header = _described(head)
        tensors = {name: _tensor(entry, data) for name, entry in table.items()}
    except (UnreadableError, OSError) as error:
        raise _refusal(path, error) from error
    own = header.pop(_DIGEST, None)
    if sha256 is None and own != _digest(tensors, header):
        reason = "other bytes than were written" if own else "no checksum inside"
        raise DamagedCacheError(str(path), reason, cure=making_anew(path))
    return Stored(tensors, header)


def _head(file: BufferedReader) -> bytes:
    """The bytes of a file up to where its tensors begin."""
    size = file.read(8)
    if (count := int.from_bytes(size, "little")) > MOST_HEADER_BYTES:
        raise UnreadableError(f"a header of {count:,} bytes")
    return size + file.read(count)


def _rest(file: BufferedReader) -> Tensor:
    """The bytes behind them, in memory that tensors can be views of."""
    count = max(0, os.fstat(file.fileno()).st_size - file.tell())
    try:
        data = torch.empty(count, dtype=torch.uint8)
    except RuntimeError as error:
        raise UnreadableError("larger than memory") from error
    if file.readinto(data.numpy().data) != count:
        raise UnreadableError("cut while it was read")
    return data


def _described(head: bytes) -> tuple[dict[str, Any], Header]:
    """What a file says of each tensor, and its header."""
    table = parse_json(head[8:])
    facts = table.pop("__metadata__", None) if isinstance(table, dict) else None
    text = facts.get("gimstage") if isinstance(facts, dict) else None
    header = parse_json(text) if isinstance(text, str) else None
    if not isinstance(header, dict):
        raise UnreadableError("no header of gimstage inside")
    return table, header


def _tensor(entry: Any, data: Tensor) -> Tensor:
    """A tensor as a view of the bytes of all."""
    try:
        dtype, shape, (begin, end) = _DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
        if 0 <= begin <= end <= len(data) and min(shape, default=0) >= 0:
            return data[begin:end].view(dtype).view(shape)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UnreadableError(f"no tensor is like {entry}"[:80]) from error
    raise UnreadableError(f"no tensor is like {entry}"[:80])


def _sha256(head: bytes, data: Tensor) -> str:
    digest = hashlib.sha256(head)
    digest.update(data.numpy().data)
    return digest.hexdigest()


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
    return DamagedCacheError(str(path), f"not readable: {error}", cure=making_anew(path))
