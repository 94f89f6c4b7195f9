"""Which sections there are, and what the report says as JSON."""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.manifests import write_images, write_probe, write_stage

from gimstage.report.collect import Report, collect
from gimstage.report.document import SECTIONS, Figures, all_figures, as_json, compose
from gimstage.report.drawing import Drawing
from gimstage.report.grids import Grid
from gimstage.report.published import MEMORY_ROWS, TABLES, Published, base_of

DRAWING = Drawing("figure3_small", "A title", "a caption", "in words")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    runs = tmp_path_factory.mktemp("runs")
    write_images(runs, "small", 0.5)
    write_images(runs, "small@3", 0.6, seed=3)
    write_probe(runs, "small_cpc/probe", {"1": 0.45})
    (runs / "small/4").mkdir()
    (runs / "small/4/lock").touch()
    return collect(runs)


@pytest.fixture(scope="module")
def figures(report: Report) -> Figures:
    return all_figures(report)


def written(report: Report, figures: Figures) -> dict[str, Any]:
    document = compose(report, figures, [DRAWING], ["a note"])
    found: dict[str, Any] = json.loads(json.dumps(as_json(document, figures, [DRAWING])))
    return found


def test_sections_come_in_their_order(report: Report, figures: Figures) -> None:
    document = compose(report, figures, [DRAWING], [])
    assert [section.heading for section in document.sections] == list(SECTIONS)


def test_without_drawings_there_is_no_section_of_them(report: Report, figures: Figures) -> None:
    document = compose(report, figures, [], [])
    assert "Figures" not in [section.heading for section in document.sections]


def test_notes_of_runs_come_before_those_of_drawings(report: Report, figures: Figures) -> None:
    notes = compose(report, figures, [], ["a note"]).notes
    assert notes[-1] == "a note"
    assert notes[0].endswith("small/4: not finished; left out")


def test_every_table_stands_with_what_it_took(report: Report, figures: Figures) -> None:
    sections = {s.heading: s.content for s in compose(report, figures, [], []).sections}
    titles = [each.title for each in sections["Table 1"] if isinstance(each, Grid)]
    assert [title.partition(".")[0].partition(",")[0] for title in titles] == ["Table 1"] * 2


def test_a_line_of_runs_has_all_seeds_of_a_recipe(report: Report, figures: Figures) -> None:
    (grid,) = compose(report, figures, [], []).sections[0].content
    assert isinstance(grid, Grid)
    assert grid.rows == (
        ("small", "small, small@3", "synthetic images (demo)", "1, 2, 3", "probe"),
        ("small_cpc", "small_cpc", "synthetic images (demo)", "–", "probe"),
    )


def test_stages_of_a_line_are_sorted_by_number(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        write_stage(tmp_path, f"small/{number}")
    report = collect(tmp_path)
    (grid,) = compose(report, all_figures(report), [], []).sections[0].content
    assert isinstance(grid, Grid)
    assert grid.rows[0][3] == "1, 2, 10"


def test_json_holds_figures_unrounded_with_their_runs(report: Report, figures: Figures) -> None:
    table = next(t for t in written(report, figures)["tables"] if t["number"] == 1)
    (paper, _) = table["rows"][0]["ours"]
    assert (paper["task"], paper["protocol"], paper["n"]) == ("class", "paper", 2)
    assert paper["values"] == pytest.approx([50, 60])
    assert paper["std"] == pytest.approx(50**0.5)
    assert paper["runs"] == ["small", "small@3"]


def test_json_has_the_published_figures_as_numbers(report: Report, figures: Figures) -> None:
    table = next(t for t in written(report, figures)["tables"] if t["number"] == 1)
    assert table["rows"][0]["published"] == {"class": {"value": 81.9, "std": 0.3}}


def test_json_has_modules_memory_and_drawings(report: Report, figures: Figures) -> None:
    found = written(report, figures)
    assert set(found) == {"format", "notes", "seeds", "tables", "memory", "modules", "figures"}
    assert [each["recipe"] for each in found["modules"]] == ["small", "small_cpc"]
    assert "one model of CPU" in found["seeds"]
    assert len(found["memory"][0]["rows"]) == len(MEMORY_ROWS)
    assert found["figures"][0]["alt"] == "in words"


@pytest.mark.parametrize(
    ("figure", "words"),
    [(Published(81.94), "81.9"), (Published(80.5, 3.1), "80.5 ± 3.1"), (Published(7), "7.0")],
)
def test_a_published_figure_is_written_as_it_is_printed(figure: Published, words: str) -> None:
    assert str(figure) == words


def test_every_system_belongs_to_the_base_it_is_named_after() -> None:
    suffixes = {s for t in TABLES for system in t.systems for s in system.recipes.values()}
    for suffix in suffixes | {row.suffix for row in MEMORY_ROWS}:
        assert base_of(f"mine{suffix}") == ("mine", suffix)


def test_a_published_figure_is_of_a_task_of_its_table() -> None:
    for table in TABLES:
        for system in table.systems:
            assert {*system.published} <= {*system.recipes} == {*table.tasks}, system.name
