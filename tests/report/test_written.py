"""A document of any words, as Markdown and as a page: the same cells, and nothing is markup."""

import base64
import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gimstage.report.document import Document, Section
from gimstage.report.drawing import Drawing
from gimstage.report.grids import Grid
from gimstage.report.markdown import to_markdown
from gimstage.report.page import to_html

words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)
DRAWING = Drawing("figure9", "A <title>", "a *caption*", 'what "it" shows')


def grid(*cells: str, **changes: object) -> Grid:
    rows = (tuple(cells),)
    columns = tuple(f"head {n}" for n in range(len(cells)))
    whole = {"title": "A table", "caption": "of cells", "columns": columns, "rows": rows}
    return Grid(**whole | {"numbers": frozenset()} | changes)  # type: ignore[arg-type]


def document(*content: Grid | Drawing, notes: tuple[str, ...] = ()) -> Document:
    return Document(notes, (Section("A section", content),))


def lines_of(shown: Grid) -> list[str]:
    """The lines of a table in Markdown."""
    return [line for line in to_markdown(document(shown)).splitlines() if line.startswith("|")]


@given(st.lists(words, min_size=1, max_size=4))
def test_a_row_of_markdown_has_as_many_cells_as_columns(cells: list[str]) -> None:
    head, rule, row = lines_of(grid(*cells))
    borders = [len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in (head, rule, row)]
    assert borders == [len(cells) + 1] * 3


@given(st.lists(words, min_size=1, max_size=4))
def test_no_cell_of_the_page_is_markup(cells: list[str]) -> None:
    page = to_html(document(grid("name", *cells)), {})
    found = re.findall(r"<td[^>]*>(.*?)</td>", page, re.DOTALL)
    assert [html.unescape(cell.replace("<wbr>", "")) for cell in found] == cells


@pytest.mark.parametrize("mark", [*"\\`*<>[]|~"])
def test_what_markdown_would_read_is_escaped(mark: str) -> None:
    assert f"a\\{mark}b" in lines_of(grid(f"a{mark}b"))[-1]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("stl10_small", "stl10_small"),
        ("_e_", "\\_e\\_"),
        ("&lt;", "\\&lt;"),
        ("# e", "\\# e"),
        ("- e", "\\- e"),
    ],
)
def test_a_mark_is_escaped_where_it_would_be_one(text: str, written: str) -> None:
    assert f"| {written} |" in lines_of(grid(text))[-1]


def test_a_cell_of_several_lines_is_one_line_of_markdown() -> None:
    assert lines_of(grid("one\n  two\tthree"))[-1] == "| one two three |"


def test_numbers_are_set_to_the_right_in_both() -> None:
    shown = grid("name", "1.5", numbers=frozenset({1}))
    assert lines_of(shown)[1] == "| --- | ---: |"
    assert '<td class="number">1.5</td>' in to_html(document(shown), {})


@pytest.mark.parametrize("cell", ["–", "not run", "not measured"])
def test_what_is_not_there_is_paler_on_the_page(cell: str) -> None:
    shown = grid("name", cell, numbers=frozenset({1}))
    assert f'<td class="number none">{cell}</td>' in to_html(document(shown), {})


def test_letters_behind_a_name_are_raised() -> None:
    page = to_html(document(grid("CPC [a,b]", "x")), {})
    assert '<th scope="row">CPC<sup>a,b</sup></th>' in page


def test_brackets_inside_a_name_stay_as_they_are() -> None:
    page = to_html(document(grid("CPC [A] more", "x")), {})
    assert '<th scope="row">CPC [A] more</th>' in page


def test_long_names_may_break_at_their_underscores() -> None:
    assert "<td>a_<wbr>b</td>" in to_html(document(grid("name", "a_b")), {})


def test_notes_stand_below_their_table() -> None:
    shown = grid("name", notes=("one & two",))
    assert to_markdown(document(shown)).endswith("| name |\n\n- one & two\n")
    assert '</div>\n<ul class="notes"><li>one &amp; two</li></ul>' in to_html(document(shown), {})


def test_notes_of_the_whole_report_come_first_and_are_linked_to() -> None:
    whole = document(grid("x"), notes=("left out",))
    text, page = to_markdown(whole), to_html(whole, {})
    assert text.index("## Notes\n\n- left out") < text.index("## A section")
    assert page.index('<a href="#notes">') < page.index('<a href="#s1">')


def test_without_notes_there_is_no_heading_of_them() -> None:
    assert "## Notes" not in to_markdown(document(grid("x")))
    assert "#notes" not in to_html(document(grid("x")), {})


def test_a_drawing_is_linked_to_in_markdown() -> None:
    text = to_markdown(document(DRAWING))
    assert '### A \\<title\\>\n\n![what "it" shows](figures/figure9.png)\n\na \\*caption\\*' in text


@pytest.mark.parametrize(("inline", "kind"), [("svg", "image/svg+xml"), ("png", "image/png")])
def test_a_drawing_is_carried_in_the_page(inline: str, kind: str) -> None:
    drawing = Drawing("figure9", "A title", "a caption", 'says "it"', inline)  # type: ignore[arg-type]
    page = to_html(document(drawing), {"figure9": b"\x00\xff"})
    data = base64.b64encode(b"\x00\xff").decode()
    assert f'<img src="data:{kind};base64,{data}" alt="says &quot;it&quot;">' in page


def test_sections_are_linked_to_in_their_order() -> None:
    whole = Document((), (Section("One", (grid("x"),)), Section("Two & more", ())))
    page = to_html(whole, {})
    links = '<li><a href="#s1">One</a></li><li><a href="#s2">Two &amp; more</a></li>'
    assert links in page
    assert '<h2 id="s2">Two &amp; more</h2>' in page
