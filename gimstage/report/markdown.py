"""The document as Markdown, with figures beside it."""

import re

from gimstage.report.document import INTRODUCTION, TITLE, Document
from gimstage.report.drawing import Drawing
from gimstage.report.grids import Grid


def to_markdown(document: Document) -> str:
    """The whole document; figures are linked to as `figures/NAME.png`."""
    blocks = [f"# {TITLE}", *map(_plain, INTRODUCTION)]
    if document.notes:
        blocks += ["## Notes", "\n".join(f"- {_plain(note)}" for note in document.notes)]
    for section in document.sections:
        blocks.append(f"## {_plain(section.heading)}")
        for shown in section.content:
            blocks += _drawing(shown) if isinstance(shown, Drawing) else _table(shown)
    return "\n\n".join(blocks) + "\n"


def _table(grid: Grid) -> list[str]:
    rules = ["---:" if number in grid.numbers else "---" for number in range(len(grid.columns))]
    head, *body = [list(map(_plain, cells)) for cells in (grid.columns, *grid.rows)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rules, *body))
    notes = ["\n".join(f"- {_plain(note)}" for note in grid.notes)] if grid.notes else []
    return [f"### {_plain(grid.title)}", _plain(grid.caption), table, *notes]


def _drawing(drawing: Drawing) -> list[str]:
    image = f"![{_plain(drawing.alt)}](figures/{drawing.name}.png)"
    return [f"### {_plain(drawing.title)}", image, _plain(drawing.caption)]


def _plain(text: str) -> str:
    """A text in which nothing is markup, on one line."""
    line = _MARKS.sub(r"\\\1", " ".join(text.split()))
    return re.sub(r"^([-+#=])", r"\\\1", line)


# Anywhere; where an entity begins; at an end of a word.
_MARKS = re.compile(r"([\\`*<>\[\]|~]|&(?=[#\w]+;)|(?<![^\W_])_|_(?![^\W_]))")
