"""A TOML file in which every number has its reason beside it.

Tables are plain dictionaries, as `tomllib` reads them; a place in them is its keys with dots
between, such as "train.steps". Imports nothing of gimstage.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

WIDTH = 110  # of a line with its reason; a longer reason stands above its key
COLUMN = 40  # the most that reasons are moved to the right, to stand below one another
Table = dict[str, Any]
Why = Callable[[str], str]


@dataclass
class Page:
    """A TOML file under way.

    Args:
        title: the comment of its first line.
        table: its keys, tables inside tables.
        reasons: why a value is what it is, by its place; a table's own stands above its header.
    """

    title: str
    table: Table
    reasons: dict[str, str] = field(default_factory=dict)

    def set(self, place: str, value: Any, reason: str) -> None:
        """Put a value in its place, and say why it stands there; its table is made if need be."""
        *above, key = place.split(".")
        table = self.table
        for name in above:
            table = table.setdefault(name, {})
        table[key] = value
        self.reasons[place] = reason

    def text(self, why: Why = lambda place: "") -> str:
        """The file as it is written.

        Args:
            why: what to say of a place that has no reason of its own; "" for nothing.
        """
        lines = _lines(self.table, "", "", self.reasons, why)
        return "\n".join([f"# {self.title}", *lines]).rstrip() + "\n"


def _lines(
    table: Mapping[str, Any], place: str, shown: str, reasons: Mapping[str, str], why: Why
) -> Iterator[str]:
    """The keys of a table, then the tables inside it.

    Args:
        table: its keys.
        place: of the table, for reasons: members of a list of tables share one.
        shown: its header as TOML has it, empty at the top.
        reasons: of places.
        why: what to say of a key that has none of its own.
    """
    if shown:
        yield ""
        yield from [f"# {reasons[place]}"] if place in reasons else []
        yield shown
    plain = {key: value for key, value in table.items() if not _is_table(value)}
    written = {key: f"{key} = {literal(value)}" for key, value in plain.items()}
    wide = max((len(line) for line in written.values() if len(line) <= COLUMN), default=0)
    for key, line in written.items():
        own = _join(place, key)
        yield from _explained(line, reasons.get(own) or why(own), wide)
    for key, value in table.items():
        if _is_table(value):
            several = isinstance(value, list)
            header = _join(shown.strip("[]"), key)
            head = f"[[{header}]]" if several else f"[{header}]"
            for each in value if several else [value]:
                yield from _lines(each, _join(place, key), head, reasons, why)


def _explained(line: str, reason: str, wide: int) -> list[str]:
    """A line with its reason behind it, in a column with its neighbours', or above it."""
    if not reason:
        return [line]
    beside = f"{line:{wide}}  # {reason}"
    return [beside] if len(beside) <= WIDTH else [f"# {reason}", line]


def literal(value: Any) -> str:
    """A value as TOML writes it, such as 0.001, "train" or [0.41, 0.39]."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, float):
        return repr(value)  # as TOML has it, but for infinity, which no key takes
    return json.dumps(value, ensure_ascii=False)


def _is_table(value: Any) -> bool:
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and isinstance(value[0], dict)
    )


def _join(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key
