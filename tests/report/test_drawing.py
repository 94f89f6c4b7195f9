"""What all figures share: panels, labels, one legend, files that appear whole."""

from pathlib import Path

import pytest
from matplotlib import rcParams
from matplotlib.figure import Figure
from PIL import Image

from gimstage.report.drawing import (
    GUESSING,
    UNTRAINED,
    label_outer,
    legend,
    page,
    panels,
    titled,
)


@pytest.mark.parametrize(
    ("count", "columns", "hidden"), [(1, 1, 0), (3, 3, 0), (4, 3, 2), (5, 2, 1), (6, 3, 0)]
)
def test_there_are_as_many_panels_as_asked_for_and_the_rest_is_blank(
    count: int, columns: int, hidden: int
) -> None:
    figure = Figure()
    grid = panels(figure, count, columns, share_y=False)
    assert len(grid) == count
    blank = [axes for axes in figure.axes if not axes.axison]
    assert (len(figure.axes), len(blank)) == (count + hidden, hidden)
    assert not {*blank} & {*grid}


@pytest.mark.parametrize(
    ("count", "below", "beside"),
    [(3, [0, 1, 2], [0]), (4, [1, 2, 3], [0, 3]), (6, [3, 4, 5], [0, 3]), (2, [0, 1], [0])],
)
def test_axes_are_labelled_at_the_left_and_below_the_lowest_of_each_column(
    count: int, below: list[int], beside: list[int]
) -> None:
    grid = panels(Figure(), count, 3, share_y=True)
    label_outer(grid, 3, "step", "loss")
    assert [n for n, axes in enumerate(grid) if axes.get_xlabel() == "step"] == below
    assert [n for n, axes in enumerate(grid) if axes.get_ylabel() == "loss"] == beside


def test_a_legend_names_each_line_once_and_references_last() -> None:
    figure = Figure()
    grid = panels(figure, 2, 2, share_y=False)
    for axes in grid:
        for label in (GUESSING, "ours", UNTRAINED, "theirs"):
            axes.plot([0], [0], label=label)
    legend(figure, grid)
    (made,) = figure.legends
    named = [text.get_text() for text in made.get_texts()]
    assert named == ["ours", "theirs", GUESSING, UNTRAINED]


def test_a_panel_has_its_title() -> None:
    (axes,) = panels(Figure(), 1, 1, share_y=False)
    titled(axes, "module 3")
    assert axes.get_title() == "module 3"


def test_a_figure_is_as_wide_as_the_page_and_saved_in_both_forms(tmp_path: Path) -> None:
    with page(2.5, tmp_path / "new/figures", "figure9"):
        pass
    folder = tmp_path / "new/figures"
    assert {path.name for path in folder.iterdir()} == {"figure9.png", "figure9.svg"}
    with Image.open(folder / "figure9.png") as image:
        assert image.size == (1400, 500)


def test_a_figure_that_fails_leaves_no_file_and_the_style_as_it_was(tmp_path: Path) -> None:
    before, during = rcParams["font.size"], []

    def fail() -> None:
        during.append(rcParams["font.size"])
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"), page(1, tmp_path, "figure9"):
        fail()
    assert (during, rcParams["font.size"]) == ([8.5], before)
    assert list(tmp_path.iterdir()) == []


def test_files_tell_no_date(tmp_path: Path) -> None:
    with page(1, tmp_path, "figure9"):
        pass
    assert "<dc:date>" not in (tmp_path / "figure9.svg").read_text()
    assert b"Software" not in (tmp_path / "figure9.png").read_bytes()
