"""Data sets of Hugging Face on a disk: parquet or arrow files with a column of images or sound.

Both the files of a repository (`data/train-00000-of-00004.parquet`) and what `save_to_disk` leaves
(`train/data-00000-of-00001.arrow`) are read, by pyarrow alone; row by row, so that little is in
memory. Imports `errors` and its neighbours only; pyarrow when a data set is opened.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from gimstage.data.files import reading
from gimstage.data.foreign.base import Foreign, Sample, split_of
from gimstage.errors import DataError

_ENDINGS = (".parquet", ".arrow")
_ROWS = 64  # read at once


class HuggingFace(Foreign):
    """Rows of parquet or arrow files.

    Args:
        source: a folder of them, or one of them.
        column: the column of the samples, where several hold files.
    """

    def __init__(self, source: Path, *, column: str | None = None) -> None:
        super().__init__(source, column=column)
        self.title = f"{source.absolute().name} of Hugging Face"
        self._files = _files(source)
        self.bytes = sum(path.stat().st_size for path in self._files)
        schemas = {path: _schema(path) for path in self._files}
        first = self._files[0]
        for path, schema in schemas.items():
            if schema.names != schemas[first].names:
                found = f"columns {', '.join(schema.names)}"
                expected = f"those of {first.name}: {', '.join(schemas[first].names)}"
                cure = "import one folder after the other, each to a place of its own"
                raise DataError(str(path), found, expected, cure)
        self._features = _features(schemas[first])
        self._media = self._chosen(schemas[first])
        self._labels = self._told(schemas[first])
        self.total = sum(map(_rows, self._files))

    @classmethod
    def lies_in(cls, source: Path) -> bool:
        """Whether there are such files."""
        return bool(_files(source))

    def samples(self) -> Iterator[Sample]:
        """Every row whose file is there, with the names of its classes for their numbers."""
        for path in self._files:
            split = split_of(PurePosixPath(path.relative_to(_root(self.source))))
            for batch in _batches(path, [self._media, *self._labels]):
                for row in range(batch.num_rows):
                    self.done += 1
                    held = batch.column(self._media)[row].as_py()
                    content, name = _file(held)
                    if content is None:
                        self.left[split or ".", "rows without the bytes of a file"] += 1
                        continue
                    labels = {
                        label: self._text(label, batch.column(label)[row].as_py())
                        for label in self._labels
                    }
                    yield Sample(content, name, split, labels)

    def _chosen(self, schema: Any) -> str:
        """The column of the samples.

        Raises:
            DataError: there is none, or several and none was named.
        """
        kinds = {name: self._features.get(name, {}).get("_type") for name in schema.names}
        held = [name for name in schema.names if kinds[name] in ("Image", "Audio")]
        held = held or [field.name for field in schema if _holds_files(field.type)]
        if self.column in held or (self.column is None and len(held) == 1):
            return str(self.column or held[0])
        found = f"files in the columns {', '.join(held)}" if held else "no column of files"
        if self.column is not None:
            found = f"no column '{self.column}' of files"
        cure = f"name one: --column {held[0]}" if held else "check what it holds"
        raise DataError(str(self._files[0]), found, "one column of images or of sound", cure)

    def _told(self, schema: Any) -> list[str]:
        """The columns that are labels: every other one that holds a word or a number a row."""
        import pyarrow.types as types

        words = (types.is_string, types.is_large_string)
        plain = (types.is_integer, types.is_floating, types.is_boolean, *words)
        others = [field for field in schema if field.name != self._media]
        told = [field.name for field in others if any(is_so(field.type) for is_so in plain)]
        for field in others:
            if field.name not in told:
                self.left["the table", f"column {field.name}, no word or number a row"] = 1
        return told

    def _text(self, column: str, value: Any) -> str:
        """A label as it is written: the name of a class for its number."""
        names = self._features.get(column, {}).get("names")
        if value is None or (names and value < 0):  # -1 where the set has no label
            return ""
        return str(names[value] if names and value < len(names) else value)


def _files(source: Path) -> list[Path]:
    """The files of a data set in their order, without those that the library keeps to itself."""
    if source.is_file():
        return [source] if source.suffix in _ENDINGS else []
    found = (path for path in source.rglob("*") if path.suffix in _ENDINGS and path.is_file())
    return sorted(path for path in found if not path.name.startswith((".", "cache-")))


def _root(source: Path) -> Path:
    return source.parent if source.is_file() else source


@contextmanager
def _arrow(path: Path) -> Iterator[Any]:
    """Inside, pyarrow, whose failures to read a file are raised as a DataError.

    Raises:
        DataError: pyarrow is not installed, or the file cannot be read.
    """
    try:
        import pyarrow
    except ImportError as error:
        cure = "pip install 'gimstage[tables]'"
        raise DataError(str(path), "pyarrow, which reads it, is not here", cure=cure) from error
    with reading(path):
        try:
            yield pyarrow
        except pyarrow.ArrowException as error:
            found = f"it cannot be read ({str(error).splitlines()[0]})"
            raise DataError(str(path), found, cure="fetch the file again") from error


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A parquet file, or the reader of an arrow file, whichever of its two forms it has."""
    with _arrow(path) as arrow:
        if path.suffix == ".parquet":
            from pyarrow.parquet import ParquetFile

            with ParquetFile(path) as file:
                yield file
            return
        with arrow.memory_map(str(path)) as mapped:
            try:
                reader = arrow.ipc.open_stream(mapped)
            except arrow.ArrowInvalid:
                mapped.seek(0)
                reader = arrow.ipc.open_file(mapped)
            yield reader


def _schema(path: Path) -> Any:
    with _opened(path) as opened:
        return opened.schema_arrow if path.suffix == ".parquet" else opened.schema


def _features(schema: Any) -> dict[str, Any]:
    """What the library says of the columns; nothing where it did not write the file."""
    try:
        said = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: each for name, each in said.items() if isinstance(each, dict)}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _rows(path: Path) -> int:
    if path.suffix == ".parquet":
        with _opened(path) as file:
            return int(file.metadata.num_rows)
    return sum(batch.num_rows for batch in _batches(path, []))


def _batches(path: Path, columns: list[str]) -> Iterator[Any]:
    """The rows of a file, some at a time; only some columns of a parquet file are read."""
    with _opened(path) as opened:
        if path.suffix == ".parquet":
            yield from opened.iter_batches(batch_size=_ROWS, columns=columns)
        elif hasattr(opened, "num_record_batches"):
            yield from map(opened.get_batch, range(opened.num_record_batches))
        else:
            yield from opened


def _holds_files(kind: Any) -> bool:
    """Whether a column may hold files: bytes, or bytes beside a path."""
    import pyarrow.types as types

    if types.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _file(held: Any) -> tuple[bytes | None, str]:
    """The bytes and the name of a file in a row."""
    if isinstance(held, dict):
        return held.get("bytes"), str(held.get("path") or "")
    return held, ""
