"""Data sets are named, and published figures stand only beside runs on theirs."""

import json
from pathlib import Path

import pytest
from helpers.manifests import IMAGES, rewrite, write_images, write_probe, write_speech

from gimstage.report import collect, write_report
from gimstage.report.grids import Grid, accuracy_grid, memory_grid
from gimstage.report.modules import memory_tables
from gimstage.report.tables import paper_tables


def published(grid: Grid) -> str:
    """What the paper says of Greedy InfoMax."""
    return grid.rows[0][1]


@pytest.mark.parametrize(
    ("title", "figure", "notes"),
    [
        ("STL-10", "81.9 ± 0.3", 0),
        ("own images", "(81.9 ± 0.3)", 1),
    ],
)
def test_published_figures_are_bracketed_beside_runs_on_other_data(
    tmp_path: Path, title: str, figure: str, notes: int
) -> None:
    write_images(tmp_path, "small", 0.5, data_title=title)
    rewrite(tmp_path / "small/probe/manifest.json", data_title=title)
    report = collect(tmp_path)
    grid = accuracy_grid(paper_tables(report)[0])
    assert grid.caption.endswith(f" Data: {title}.")
    assert published(grid) == figure
    said = (
        "In brackets, for they are no measure of these runs: published: STL-10; "
        f"these runs: {title}."
    )
    assert grid.notes.count(said) == notes
    (memory,) = memory_tables(report)
    assert memory_grid(memory).notes.count(said) == notes


def test_without_any_run_published_figures_stand_as_they_are(tmp_path: Path) -> None:
    write_speech(tmp_path, "audio", 0.5)
    grid = accuracy_grid(paper_tables(collect(tmp_path))[0])
    assert published(grid) == "81.9 ± 0.3"


@pytest.mark.parametrize(
    ("source", "sizes", "title"),
    [
        ("demo_images", (5000, 8000), "synthetic images (demo)"),
        ("stl10", (5000, 8000), "STL-10"),
        ("stl10", (4000, 8000), "own images"),
        ("moon photographs", (5000, 8000), None),
    ],
)
def test_data_of_a_manifest_without_a_title_is_told_by_its_source_and_counts(
    tmp_path: Path, source: str, sizes: tuple[int, int], title: str | None
) -> None:
    folder = write_probe(tmp_path, "small/probe", {"1": 0.5}, data=IMAGES | {"source": source})
    path = folder / "manifest.json"
    rows = json.loads(path.read_text())["rows"]
    sized = [r | dict(zip(("train_samples", "test_samples"), sizes, strict=True)) for r in rows]
    rewrite(path, rows=sized)
    assert collect(tmp_path).groups[0].data_title == title


def test_the_page_greys_what_is_no_measure_and_says_why(tmp_path: Path) -> None:
    write_images(tmp_path / "runs", "small", 0.5)
    write_report(collect(tmp_path / "runs"), out=tmp_path / "out")
    page, text = ((tmp_path / "out" / name).read_text() for name in ("index.html", "report.md"))
    assert '<td class="number none">(81.9 ± 0.3)</td>' in page
    for written in (page, text):
        assert "published: STL-10; these runs: synthetic images (demo)." in written
        assert "A seed fixes the bits of a run on one model of CPU" in written
    found = json.loads((tmp_path / "out/report.json").read_text())["tables"][0]
    assert found["data"] == "synthetic images (demo)"
    assert found["published_unlike_ours"].endswith("these runs: synthetic images (demo).")
