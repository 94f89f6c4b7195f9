"""A table as a terminal, a notebook and the command line show it."""

import io
import re

from rich.console import Console

from gimstage.session.tables import Answer, Table

TABLE = Table("a [red] title", ("name", "size"), [("<1>", "2\n3")], numbers=("size",), note="a & b")


def test_text_shows_every_cell_as_it_is() -> None:
    assert repr(Answer((), TABLE)).splitlines() == [
        "a [red] title",
        "┏━━━━━━┳━━━━━━┓",
        "┃ name ┃ size ┃",
        "┡━━━━━━╇━━━━━━┩",
        "│ <1>  │    2 │",
        "│      │    3 │",
        "└──────┴──────┘",
        "a & b",
    ]


def test_a_notebook_gets_html_in_which_no_cell_is_markup() -> None:
    assert TABLE._repr_html_() == (
        "<table><caption>a [red] title</caption>"
        "<thead><tr><th>name</th><th>size</th></tr></thead><tbody><tr>"
        '<td style="text-align: left">&lt;1&gt;</td><td style="text-align: right">2<br>3</td>'
        "</tr></tbody></table><p><small>a &amp; b</small></p>"
    )


def test_an_answer_shows_lines_and_tables_from_top_to_bottom() -> None:
    answer = Answer((1, 2), "[one] line", TABLE)
    assert repr(answer).startswith("[one] line\na [red] title")
    assert answer._repr_html_() == f"<p>[one] line</p>{TABLE._repr_html_()}"


def test_a_narrow_terminal_cuts_nothing_off() -> None:
    console = Console(file=io.StringIO(), width=9)
    console.print(Table("t", ("state",), [("missing",)]))
    assert "missing" in re.sub(r"[^a-z]", "", console.file.getvalue())  # type: ignore[attr-defined]
