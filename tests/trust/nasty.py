"""What may stand where a file, a number or a text is expected, and should not."""

import copy
import json
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

DEEP = 100_000
LONG = "x" * 100_000

# Documents that are no JSON, or none that anybody meant.
TEXTS: dict[str, bytes] = {
    "nothing": b"",
    "null": b"null",
    "a number": b"5",
    "a text": b'"x"',
    "a list": b"[]",
    "a table": b"{}",
    "a table of a table": b'{"": {"": {}}}',
    "brackets": b"[" * DEEP,
    "braces": b'{"a":' * DEEP,
    "closed brackets": b"[" * DEEP + b"]" * DEEP,
    "infinity": b"1e999",
    "NaN": b'{"format": NaN}',
    "many digits": b'{"format": ' + b"9" * 5000 + b"}",
    "half a pair": b'{"format": "\\ud800"}',
    "no UTF-8": b'{"format": "\xff\xfe"}',
    "zeros": bytes(4096),
    "another byte order": '{"format": 1}'.encode("utf-16"),
    "a newer format": b'{"format": 99}',
    "a format that is true": b'{"format": true}',
    "garbage": bytes(range(256)) * 8,
    "markup": b"[bold red]x[/] [/b] {}",
}

# What may be put in the place of a value inside a document.
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    2**63,
    10**30,
    1e308,
    -0.5,
    "",
    "x",
    "..",
    "../../../../etc",
    "/etc/passwd",
    "[/red]",
    "\u0000",
    "\u202e",
    LONG,
    [],
    [None],
    {},
    {"x": 1},
    [[[[]]]],
)


def _header(text: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(text)) + text + data


def _tensors(**tensors: Any) -> bytes:
    return _header(json.dumps(tensors).encode(), bytes(64))


_TENSOR = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}

# Files of tensors whose header lies.
TENSORS: dict[str, bytes] = {
    "a header of 2^63 bytes": struct.pack("<Q", 2**63) + b"{}",
    "a header of 2^40 bytes": struct.pack("<Q", 2**40) + b"{}",
    "no header": struct.pack("<Q", 0),
    "an empty header": _header(b"{}"),
    "a deep header": _header(b"[" * DEEP),
    "no metadata": _tensors(x=_TENSOR),
    "metadata that is no JSON": _tensors(__metadata__={"gimstage": "{"}, x=_TENSOR),
    "metadata that is null": _tensors(__metadata__={"gimstage": "null"}, x=_TENSOR),
    "metadata that is a list": _tensors(__metadata__={"gimstage": "[]"}, x=_TENSOR),
    "metadata without keys": _tensors(__metadata__={"gimstage": "{}"}, x=_TENSOR),
    "metadata of numbers": _tensors(__metadata__={"gimstage": 5}, x=_TENSOR),
    "deep metadata": _tensors(__metadata__={"gimstage": "[" * DEEP}, x=_TENSOR),
    "places beyond the end": _tensors(x=_TENSOR | {"data_offsets": [0, 10**12]}),
    "places that run backwards": _tensors(x=_TENSOR | {"data_offsets": [16, 0]}),
    "a shape of 2^62": _tensors(x=_TENSOR | {"shape": [2**62, 4]}),
    "a negative shape": _tensors(x=_TENSOR | {"shape": [-4]}),
    "an unknown dtype": _tensors(x=_TENSOR | {"dtype": "F99"}),
    "tensors of other names": _tensors(__metadata__={"gimstage": "{}"}, y=_TENSOR),
}


def _link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


# What may lie where a file should.
THINGS: dict[str, Callable[[Path], None]] = {
    "nothing at all": lambda path: None,
    "a pipe": lambda path: os.mkfifo(path),
    "a folder": lambda path: path.mkdir(),
    "a link that leads nowhere": _link("nowhere/at/all"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to a folder": lambda path: _linked_folder(path),
    "a link to endless zeros": _link("/dev/zero"),
    "a link to nothing": _link("/dev/null"),
    "1 TB of zeros": lambda path: _sparse(path, 1 << 40),
}


def _linked_folder(path: Path) -> None:
    """A link to an empty folder beside it."""
    elsewhere = path.with_name("elsewhere")
    elsewhere.mkdir()
    path.symlink_to(elsewhere.name)


def _sparse(path: Path, size: int) -> None:
    path.touch()
    os.truncate(path, size)


def places(document: Any) -> Iterator[tuple[Any, ...]]:
    """The path of keys to every value in a document."""
    inner = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in inner:
        yield (key,)
        if isinstance(value, dict | list):
            yield from ((key, *place) for place in places(value))


def mutated(document: Any, random: Random) -> tuple[str, Any]:
    """A document with one value replaced or removed, and in words what was done."""
    changed = copy.deepcopy(document)
    place = random.choice(list(places(changed)))
    table = changed
    for key in place[:-1]:
        table = table[key]
    name = ".".join(map(str, place))
    if random.random() < 0.15:
        del table[place[-1]]
        return f"without {name}", changed
    table[place[-1]] = random.choice(VALUES)
    return f"{name} = {json.dumps(table[place[-1]])[:40]}", changed
