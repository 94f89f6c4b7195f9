"""The document as one HTML page that needs nothing but itself: no network, no script."""

import base64
import re
from collections.abc import Mapping
from html import escape

from gimstage.report.document import INTRODUCTION, TITLE, Document
from gimstage.report.drawing import Drawing
from gimstage.report.grids import NONE, NOT_MEASURED, NOT_RUN, Grid

# Even if a figure or a name held an address, a browser would not follow it.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
CSS = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 72rem; background: #fff; color: #111;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 1rem; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .75rem; padding-top: .75rem; border-top: 1px solid #bbb; }
p, ul { max-width: 46rem; margin: 0 0 .8rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: 0; list-style: none; }
a { color: #0b5394; }
.wide { overflow-x: auto; margin: 0 0 .5rem; }
table { border-collapse: collapse; font-size: .875rem; line-height: 1.35;
  border-top: 2px solid #111; border-bottom: 2px solid #111; margin-top: .25rem; }
caption { caption-side: top; text-align: left; padding: 1rem 0 .4rem; min-width: 30rem; }
caption strong { display: block; font-size: 1rem; }
th, td { padding: .3rem .6rem; text-align: left; vertical-align: baseline; }
th:first-child, td:first-child { padding-left: .2rem; }
thead th { border-bottom: 1px solid #111; vertical-align: bottom; }
thead th.number { white-space: normal; }
tbody th { font-weight: normal; min-width: 9rem; }
td:last-child:not(.number) { min-width: 7rem; }
tbody tr + tr > * { border-top: 1px solid #e3e3e3; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.none { color: #666; }
sup { line-height: 0; margin-left: .1em; }
ul.notes { font-size: .875rem; list-style: none; padding: 0; overflow-wrap: anywhere; }
ul.notes li { margin: 0 0 .2rem; }
figure { margin: 1.5rem 0 2rem; max-width: 52rem; }
figure img { display: block; width: 100%; height: auto; }
figcaption { font-size: .875rem; margin-top: .5rem; }
@media print {
  @page { margin: 14mm; }
  body { padding: 0; max-width: none; font-size: 10pt; }
  nav { display: none; }
  a { color: inherit; text-decoration: none; }
  .wide { overflow: visible; break-inside: avoid; }
  table, ul.notes, figcaption { font-size: 8pt; }
  th, td { padding: .2rem .35rem; }
  caption { min-width: 0; }
  tr, figure, caption { break-inside: avoid; }
  h2, caption { break-after: avoid; }
}
"""


def to_html(document: Document, images: Mapping[str, bytes]) -> str:
    """The whole page.

    Args:
        document: what to say.
        images: by drawing name, the bytes of the file each drawing is carried as.
    """
    sections = [(f"s{i}", section) for i, section in enumerate(document.sections, start=1)]
    links = [f'<li><a href="#{key}">{escape(s.heading)}</a></li>' for key, s in sections]
    body = [f"<h1>{escape(TITLE)}</h1>", *(f"<p>{escape(text)}</p>" for text in INTRODUCTION)]
    if document.notes:
        links.insert(0, '<li><a href="#notes">Notes</a></li>')
        body += ['<section aria-labelledby="notes">', '<h2 id="notes">Notes</h2>']
        body += [_notes(document.notes), "</section>"]
    for key, section in sections:
        body += [f'<section aria-labelledby="{key}">']
        body += [f'<h2 id="{key}">{escape(section.heading)}</h2>']
        for shown in section.content:
            if isinstance(shown, Drawing):
                body.append(_figure(shown, images[shown.name]))
            else:
                body.append(_table(shown))
        body.append("</section>")
    contents = f'<nav aria-label="Contents"><ul>{"".join(links)}</ul></nav>'
    body.insert(1, contents)
    page = ["<!DOCTYPE html>", '<html lang="en">', *_head(), "<body>", "<main>", *body]
    return "\n".join([*page, "</main>", "</body>", "</html>", ""])


def _head() -> list[str]:
    return [
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<link rel="icon" href="data:,">',  # else a browser asks for one
        f"<title>{escape(TITLE)}</title>",
        f"<style>{CSS}</style>",
        "</head>",
    ]


def _notes(notes: tuple[str, ...]) -> str:
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<ul class="notes">{items}</ul>'


def _table(grid: Grid) -> str:
    heads = "".join(
        f'<th scope="col"{_class(number, "", grid)}>{escape(head)}</th>'
        for number, head in enumerate(grid.columns)
    )
    caption = f"<strong>{escape(grid.title)}</strong> {escape(grid.caption)}"
    rows = "\n".join(_row(cells, grid) for cells in grid.rows)
    # A table wider than the window is scrolled, with the keyboard too.
    label = escape(grid.title, quote=True)
    return (
        f'<div class="wide" role="region" aria-label="{label}" tabindex="0">\n'
        f"<table>\n<caption>{caption}</caption>\n<thead><tr>{heads}</tr></thead>\n"
        f"<tbody>\n{rows}\n</tbody>\n</table>\n</div>\n"
        + (_notes(grid.notes) if grid.notes else "")
    )


def _row(cells: tuple[str, ...], grid: Grid) -> str:
    name, marks = re.fullmatch(r"(.*?)(?: \[([a-z,]+)\])?", cells[0], re.DOTALL).groups()  # type: ignore[union-attr]
    head = f'<th scope="row">{escape(name)}{f"<sup>{marks}</sup>" if marks else ""}</th>'
    rest = "".join(
        f"<td{_class(number, cell, grid)}>{_breakable(cell)}</td>"
        for number, cell in enumerate(cells[1:], start=1)
    )
    return f"<tr>{head}{rest}</tr>"


def _breakable(cell: str) -> str:
    """A cell whose names of recipes, often long, may go on in the next line."""
    return escape(cell).replace("_", "_<wbr>")


def _class(number: int, cell: str, grid: Grid) -> str:
    names = ["number"] if number in grid.numbers else []
    bracketed = number in grid.numbers and cell.startswith("(")  # published, and no measure of ours
    names += ["none"] if bracketed or cell in (NONE, NOT_MEASURED, NOT_RUN) else []
    return f' class="{" ".join(names)}"' if names else ""


def _figure(drawing: Drawing, image: bytes) -> str:
    kind = {"svg": "image/svg+xml", "png": "image/png"}[drawing.inline]
    data = base64.b64encode(image).decode()
    return (
        f'<figure>\n<img src="data:{kind};base64,{data}" alt="{escape(drawing.alt, quote=True)}">\n'
        f"<figcaption><strong>{escape(drawing.title)}</strong> {escape(drawing.caption)}"
        "</figcaption>\n</figure>"
    )
