"""Arrays of somebody's own, opened in place: npy, npz, tables, and Zarr of both versions.

    eeg.npy       mapped
    set.npz/x     a member, mapped where it is stored as it is, else unpacked into memory
    acc.csv/x,y   columns of numbers, read into memory, see data/numbers.py
    set.zarr/0    an array of a group, or set.zarr itself; each chunk is decoded as it is read

Nothing of an array is read when it is opened. What looks like a number to numpy is one, in any
order of bytes; objects, texts and complex numbers are refused. Imports `errors` and its neighbours
only; zarr when an array is Zarr.
"""

from __future__ import annotations

import math
import shlex
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gimstage.data import numbers
from gimstage.data.files import reading, require_file
from gimstage.errors import DataError, nearest
from gimstage.files import UnreadableError, read_json

_ENDINGS = (".npy", ".npz", *numbers.ENDINGS, ".zarr")
_TOLD = ("labels", "intervals")  # names of tables that tell of arrays
_NODES = ("zarr.json", ".zarray", ".zgroup")  # what makes a folder Zarr
_ANY = f"a {', '.join(_ENDINGS[:-1])} file or a Zarr array"
_NUMBERS = "biuf"  # kinds of dtypes
_COMPRESSED = 1 << 30  # bytes; so many are unpacked at the most
_DOCUMENT = 1 << 28  # bytes of a zarr.json; that of a group may hold those of all its arrays
_ZIP_HEADER = 30  # bytes of a member's own header, before its name


@dataclass(frozen=True)
class OpenArray:
    """An array that is read in place.

    Args:
        where: its file, with its name inside it, for messages.
        values: what is indexed with integers and slices; has a `shape` and a `dtype`.
        files: the files that hold it, by their names below the data.
    """

    where: str
    values: Any
    files: dict[str, Path]

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of every axis."""
        return tuple(self.values.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the values as they are stored."""
        dtype: np.dtype[Any] = np.dtype(self.values.dtype)
        return dtype

    def require_numbers(self) -> OpenArray:
        """Itself, if its values are real numbers.

        Raises:
            DataError: they are objects, texts or complex numbers, or there are none.
        """
        if self.dtype.kind not in _NUMBERS:
            cure = "save it as such: x.astype('float32')"
            raise DataError(self.where, f"dtype {self.dtype}", "integers or real numbers", cure)
        if not math.prod(self.shape):
            found = f"no value in shape {self.shape}"
            raise DataError(self.where, found, "at least one", "give another array")
        return self


def open_array(root: Path, inside: str) -> OpenArray:
    """An array below the data.

    Args:
        root: what `--data` names: a folder, or the file itself.
        inside: where the array lies in it, "eeg.npy", "set.npz/x" or "set.zarr/0"; "." is `root`.

    Raises:
        DataError: there is none, it is damaged, or it is Zarr of which a chunk is missing.
    """
    path, member = _found(root, inside)
    if path.is_dir():
        return _zarr(path, root)
    with reading(path):
        require_file(path)
        kind = path.suffix.lower()
        if kind in numbers.ENDINGS:
            where = f"{path}, columns '{member}'" if member else str(path)
            return OpenArray(where, numbers.columns_of(path, member), {path.name: path})
        return _npz(path, member) if kind == ".npz" else _npy(path, member)


def beside(root: Path, inside: str) -> Iterator[str]:
    """Where the other arrays lie that stand beside one, in the form that `open_array` takes."""
    path, member = _found(root, inside)
    parts = Path(inside).parts
    own = "/".join(parts)
    if path.suffix.lower() in numbers.ENDINGS:
        place = parts[: len(parts) - len(Path(member).parts)]
        yield from ("/".join([*place, name]) for name in numbers.others_in(path, member))
        return
    for name in sorted(_members(path) if member else _siblings(path, root)):
        other = "/".join([*parts[:-1], name])
        if other != own:
            yield other


def arrays_below(root: Path) -> Iterator[str]:
    """Where all arrays lie in a file or a folder, in the form that `open_array` takes, sorted."""
    if root.is_dir() and not _is_array(root):
        for name in _members(root):
            for inner in arrays_below(root / name):
                yield name if inner == "." else f"{name}/{inner}"
    elif root.suffix.lower() == ".npz":
        yield from _members(root)
    elif root.suffix.lower() in numbers.ENDINGS:
        yield from filter(None, [numbers.channels_in(root)])
    else:
        yield "."


def _siblings(path: Path, root: Path) -> list[str]:
    if path == root:
        return []
    return [p.name for p in path.parent.iterdir() if p.suffix == ".npy" or _is_array(p)]


def _found(root: Path, inside: str) -> tuple[Path, str]:
    """The file or the folder of an array, and its name inside an npz file.

    Raises:
        DataError: nothing lies there; names what does.
    """
    path, parts = root, list(Path(inside).parts)
    if not root.exists():
        cure = "check the path: --data DIR"
        raise DataError(str(root), "there is no such file or folder", _ANY, cure)
    while parts and path.is_dir():
        if not (path / parts[0]).exists():
            raise _nothing(path, parts[0])
        path /= parts.pop(0)
    if path.is_dir() and not _is_array(path):
        raise _nothing(path, "")
    return path, "/".join(parts)


def _nothing(path: Path, name: str) -> DataError:
    """What to say where a folder or an npz file holds no such array."""
    there = _members(path)
    found = f"there is no '{name}'" if name else "a folder, and no array"
    if not there:
        cure = f'say in data.toml where it lies: array = "…", below {shlex.quote(str(path))}'
        return DataError(str(path), found, _ANY, cure)
    cure = nearest(name, there) if name else f'array = "{there[0]}" in data.toml'
    return DataError(str(path), found, f"one of {', '.join(there)}", cure)


def _members(path: Path) -> list[str]:
    """The arrays, or what may hold some, in a folder or an npz file, sorted.

    Raises:
        DataError: it cannot be read.
    """
    if path.is_dir():
        there = (p for p in path.iterdir() if p.suffix in _ENDINGS or _is_zarr(p))
        return sorted(p.name for p in there if p.stem not in _TOLD)
    if path.suffix.lower() in numbers.ENDINGS:
        return numbers.names_in(path)
    with reading(path):
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except zipfile.BadZipFile as error:
            raise _damaged(str(path), str(error)) from error
    return sorted(name.removesuffix(".npy") for name in names if name.endswith(".npy"))


def _is_zarr(path: Path) -> bool:
    return any((path / node).is_file() for node in _NODES)


def _is_array(path: Path) -> bool:
    """Whether a folder is an array of Zarr, and no group."""
    if (path / ".zarray").is_file():
        return True
    node = path / "zarr.json"
    if not node.is_file():
        return False
    with reading(path):
        try:
            return bool(read_json(node, most_bytes=_DOCUMENT).get("node_type") != "group")
        except (UnreadableError, AttributeError):
            return True  # opening it says what is wrong with it


def _npy(path: Path, member: str) -> OpenArray:
    if path.suffix.lower() != ".npy":
        raise DataError(str(path), f"a file that ends in '{path.suffix}'", _ANY, "save it as one")
    if member:
        found, cure = f"'{member}' inside it", f'array = "{path.name}" in data.toml'
        raise DataError(str(path), found, "one array, which has no name", cure)
    with path.open("rb") as file:
        values = _mapped(path, file, str(path))
    return OpenArray(str(path), values, {path.name: path})


def _npz(path: Path, member: str) -> OpenArray:
    where = f"{path}, '{member}'"
    try:
        there = _members(path)
        if member not in there:
            raise _nothing(path, member)
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            info = archive.getinfo(f"{member}.npy")
            if info.compress_type == zipfile.ZIP_STORED:
                file.seek(info.header_offset + _ZIP_HEADER - 4)
                name, extra = np.frombuffer(file.read(4), "<u2").tolist()
                file.seek(name + extra, 1)
                values = _mapped(path, file, where)
            else:
                values = _unpacked(archive, info, where)
    except zipfile.BadZipFile as error:
        raise _damaged(where, str(error)) from error
    return OpenArray(where, values, {path.name: path})


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> Any:
    if info.file_size > _COMPRESSED:
        found = f"{info.file_size:,} bytes, compressed"
        cure = "save it with numpy.savez, which does not compress, or as .npy"
        raise DataError(where, found, f"at most {_COMPRESSED:,}, or stored as they are", cure)
    with archive.open(info) as file:
        try:
            return np.lib.format.read_array(file, allow_pickle=False)
        except ValueError as error:
            raise _refused(where, error) from error


def _mapped(path: Path, file: BinaryIO, where: str) -> Any:
    """The array that begins at the present place of a file, which begins with its header."""
    try:
        major, _ = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if major == 1 else _header_2_0
        shape, fortran, dtype = header(file)
        if dtype.hasobject:
            raise ValueError("Object arrays cannot be mapped")
        if not math.prod(shape):
            return np.empty(shape, dtype)
        order: Any = "F" if fortran else "C"
        mapped = np.memmap(path, dtype, "r", file.tell(), shape, order)
    except ValueError as error:
        raise _refused(where, error) from error
    return mapped.view(np.ndarray)


def _header_2_0(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    return np.lib.format.read_array_header_2_0(file)


def _refused(where: str, error: ValueError) -> DataError:
    if "bject" in str(error):  # as numpy and we call them
        cure = "save it as numbers: numpy.stack(x).astype('float32'), or ragged with offsets"
        return DataError(where, "Python objects", "integers or real numbers", cure)
    return _damaged(where, str(error).partition("\n")[0])


def _damaged(where: str, why: str) -> DataError:
    return DataError(where, f"it is cut short or damaged ({why})", _ANY, "save it again")


def _zarr(path: Path, root: Path) -> OpenArray:
    import zarr

    try:
        values = zarr.open_array(path, mode="r")
    except Exception as error:  # of whatever kind a codec or a broken document makes zarr raise
        raise _damaged(str(path), f"{type(error).__name__}: {error}".partition("\n")[0]) from error
    chunk = values.shards or values.chunks
    counts = [-(-size // each) for size, each in zip(values.shape, chunk, strict=True)]
    keys = [values.metadata.encode_chunk_key(at) for at in product(*map(range, counts))]
    missing = [key for key in keys if not (path / key).is_file()]
    if missing:
        found = f"{len(missing):,} of {len(keys):,} chunks are missing, first {missing[0]}"
        cure = (
            "copy the array again; or, if these were left out for being empty, write it after "
            "zarr.config.set({'array.write_empty_chunks': True})"
        )
        raise DataError(str(path), found, "every chunk", cure)
    named = [name for name in _NODES if (path / name).is_file()]
    below = "" if path == root else f"{path.relative_to(root)}/"
    return OpenArray(str(path), values, {f"{below}{n}": path / n for n in [*named, *keys]})
