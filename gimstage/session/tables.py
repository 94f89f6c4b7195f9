"""A table that a terminal, a notebook and the command line show alike."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape as html_escape
from typing import Any, Literal, TypeVar, overload

from rich.console import Console, Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

WIDTH = 110  # of text that goes to no terminal

COLOURS = {"done": "green", "partial": "yellow", "stale": "magenta", "damaged": "red"}
COLOURS |= {"part done": "yellow", "failed": "red"}

T = TypeVar("T")


@dataclass(frozen=True)
class Table:
    """Cells of text below a title.

    Args:
        title: stands above it.
        columns: their heads; none is shown where all are empty.
        rows: a cell for every column; a cell may have several lines.
        numbers: the columns whose cells are set to the right.
        note: stands below it; may have several lines.
    """

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    numbers: tuple[str, ...] = ()
    note: str = ""

    def __rich__(self) -> RichTable:
        """The table as rich draws it, every state in its colour."""
        drawn = RichTable(
            title=Text(self.title, "table.title"),
            title_justify="left",
            caption=Text(self.note, "table.caption") if self.note else None,
            caption_justify="left",
            show_header=any(self.columns),
        )
        for column in self.columns:
            side: Literal["left", "right"] = "right" if column in self.numbers else "left"
            drawn.add_column(Text(column), justify=side, overflow="fold")  # nothing is cut off
        for row in self.rows:
            drawn.add_row(*map(self._coloured, self.columns, row))
        return drawn

    def _coloured(self, column: str, cell: str) -> Text:
        return Text(cell, COLOURS.get(cell, "dim") if column == "state" else "")

    def _repr_html_(self) -> str:
        """The table as a notebook shows it."""
        heads = "".join(f"<th>{_html(column)}</th>" for column in self.columns)
        body = "".join(
            f"<tr>{''.join(map(self._html_cell, self.columns, r))}</tr>" for r in self.rows
        )
        head = f"<thead><tr>{heads}</tr></thead>" if any(self.columns) else ""
        note = f"<p><small>{_html(self.note)}</small></p>" if self.note else ""
        caption = f"<caption>{_html(self.title)}</caption>"
        return f"<table>{caption}{head}<tbody>{body}</tbody></table>{note}"

    def _html_cell(self, column: str, cell: str) -> str:
        side = "right" if column in self.numbers else "left"
        return f'<td style="text-align: {side}">{_html(cell)}</td>'


class Answer(Sequence[T]):
    """Records that show themselves: as text in a terminal, as tables in a notebook.

    Args:
        records: what a program reads.
        *shown: what a person sees instead, from top to bottom.
    """

    def __init__(self, records: Sequence[T], *shown: Table | str) -> None:
        self.records, self.shown = tuple(records), shown

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...

    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        """A record, or several as a tuple."""
        return self.records[index]

    def __len__(self) -> int:
        """How many records there are."""
        return len(self.records)

    def __rich__(self) -> Group:
        """What the command line prints."""
        return Group(*map(_drawable, self.shown))

    def __repr__(self) -> str:
        """What the command line prints, without colours."""
        console = Console(file=io.StringIO(), width=WIDTH, color_system=None, force_jupyter=False)
        with console.capture() as text:
            console.print(self, soft_wrap=True)
        return text.get().rstrip("\n")

    def _repr_html_(self) -> str:
        """The tables and lines as a notebook shows them."""
        return "".join(
            f"<p>{_html(each)}</p>" if isinstance(each, str) else each._repr_html_()
            for each in self.shown
        )


def _drawable(shown: Table | str) -> RenderableType:
    return Text(shown) if isinstance(shown, str) else shown


def _html(text: Any) -> str:
    return html_escape(str(text)).replace("\n", "<br>")
