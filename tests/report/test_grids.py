"""Tables of words: one rounding, one word for what is not there, notes behind letters."""

from pathlib import Path
from typing import Any

import pytest
from helpers.manifests import write_images, write_probe, write_stage
from hypothesis import given
from hypothesis import strategies as st

from gimstage.report.collect import collect
from gimstage.report.costs import Measured
from gimstage.report.grids import (
    MARKS,
    Grid,
    _Marks,
    accuracy_grid,
    cost_grid,
    format_count,
    format_size,
    format_time,
    memory_grid,
    module_grids,
    number,
    percent,
    terminal_rows,
)
from gimstage.report.modules import memory_tables, module_table
from gimstage.report.tables import SystemTable, paper_tables

GIM = "Greedy InfoMax, one module after another"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    write_images(runs, "small", 0.5, memory=memory(2_000, 1_000))
    write_images(runs, "small@3", 0.6, seed=3, memory=memory(2_000, 1_000))
    write_stage(runs, "small_cpc/1", device="a GPU", data_sha256="d" * 64)
    write_probe(runs, "small_cpc/probe", {"1": 0.45}, protocols=("paper", "hidden"))
    return runs


def memory(predicted: int, measured: int) -> dict[str, Any]:
    return {"predicted_reserved_bytes": predicted, "measured_reserved_bytes": measured}


@pytest.fixture(scope="module")
def table(runs: Path) -> SystemTable:
    return next(t for t in paper_tables(collect(runs)) if t.number == 1 and t.base == "small")


def row(grid: Grid, name: str) -> dict[str, str]:
    """The cells of a row by the heads of their columns."""
    found = next(cells for cells in grid.rows if cells[0].startswith(name))
    return dict(zip(grid.columns, found, strict=True))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((50.04,), "50.0 (1)"),
        ((50.0, 60.0), "55.0 ± 7.1 (2)"),
        ((0.0, 0.0, 0.0), "0.0 ± 0.0 (3)"),
        ((99.96,), "100.0 (1)"),
    ],
)
def test_a_figure_has_its_deviation_and_its_seeds(values: tuple[float, ...], words: str) -> None:
    assert percent(Measured(values, ("run",) * len(values))) == words


def test_a_figure_that_is_not_there_is_a_dash() -> None:
    nothing = [percent(None), number(None, "{:.3f}"), format_count(None), format_size(None)]
    assert [*nothing, format_time(None)] == ["–"] * 5


@pytest.mark.parametrize(("value", "words"), [(0, "0"), (999, "999"), (1234567, "1,234,567")])
def test_a_count_has_its_thousands_parted(value: int, words: str) -> None:
    assert format_count(value) == words


def test_every_row_has_a_cell_for_every_column(runs: Path, table: SystemTable) -> None:
    report = collect(runs)
    grids = [accuracy_grid(table), cost_grid(table), *map(memory_grid, memory_tables(report))]
    grids += [g for group in report.groups for g in module_grids(module_table(report, group))]
    for grid in grids:
        assert {len(cells) for cells in grid.rows} == {len(grid.columns)}, grid.title
        assert all(at < len(grid.columns) for at in grid.numbers), grid.title


def test_a_systems_figures_stand_beside_the_published_ones(table: SystemTable) -> None:
    found = row(accuracy_grid(table), GIM)
    assert (found["class, published"], found["class, paper"]) == (
        "(81.9 ± 0.3)",
        "55.0 ± 7.1 (2)",
    )
    assert found["ours from"] == "small, stage 3"


def test_a_protocol_that_a_system_lacks_is_a_dash_and_a_system_not_run_says_so(
    table: SystemTable,
) -> None:
    grid = accuracy_grid(table)
    assert row(grid, "CPC")["class, converged"] == "–"
    assert row(grid, "CPC")["class, hidden"] == "45.0 (1)"
    assert row(grid, "Greedy InfoMax, simultaneous")["class, paper"] == "not run"


def test_only_protocols_that_are_no_linear_probes_are_explained(table: SystemTable) -> None:
    notes = accuracy_grid(table).notes
    assert [note.partition(":")[0] for note in notes if note.startswith("Protocol")] == [
        "Protocol hidden"
    ]


def test_what_a_system_took_stands_below_its_name(table: SystemTable) -> None:
    found = row(cost_grid(table), "CPC")
    assert found["data"] == "unlabeled dddddddd"
    assert found["probe train / test"] == "40 / 80"
    assert (found["steps"], found["memory measured"]) == ("20", "not measured")
    assert (found["disk"], found["training"]) == ("1.0 MB", "2.5 s")


def test_a_system_that_stands_in_anothers_runs_says_whose(table: SystemTable) -> None:
    cells = [cells for cells in cost_grid(table).rows if cells[1] == "see small"]
    assert cells
    assert all(set(each[2:]) == {"–"} for each in cells)


def test_devices_stand_below_the_times_they_took(table: SystemTable) -> None:
    assert cost_grid(table).notes == ("Trained on: cpu, 1 threads; a GPU.",)


def test_shares_are_of_all_modules_at_once(tmp_path: Path) -> None:
    write_images(tmp_path, "small", 0.5, memory=memory(1_000, 500))
    write_stage(tmp_path, "small_simultaneous/1", memory=memory(4_000, 4_000))
    (table,) = memory_tables(collect(tmp_path))
    found = row(memory_grid(table), "Greedy InfoMax, first module")
    assert (found["predicted"], found["measured"]) == ("1.0 kB", "500 B")
    assert (found["share, predicted"], found["share, measured"]) == ("0.25", "0.12")


def test_shares_of_what_was_not_run_are_dashes(runs: Path) -> None:
    (table,) = memory_tables(collect(runs))
    found = row(memory_grid(table), "Greedy InfoMax, largest module")
    assert (found["share, predicted"], found["share, measured"]) == ("–", "–")


@pytest.mark.parametrize(("accuracy", "gain"), [(0.5, "+25.0"), (0.0, "+0.0"), (0.0004, "+0.0")])
def test_a_gain_has_a_sign_and_never_minus_nothing(
    tmp_path: Path, accuracy: float, gain: str
) -> None:
    write_probe(tmp_path, "small/probe", {"1": accuracy}, protocols=("paper",))
    report = collect(tmp_path)
    (grid,) = module_grids(module_table(report, report.groups[0]))
    assert row(grid, "1")["paper, gain"] == gain


def test_a_loss_has_its_sign_in_the_gain(tmp_path: Path) -> None:
    path = write_probe(tmp_path, "small/probe", {"1": 0.2}, protocols=("paper",)) / "manifest.json"
    path.write_text(path.read_text().replace('"random_init": 0.1', '"random_init": 0.3'))
    report = collect(tmp_path)
    (grid,) = module_grids(module_table(report, report.groups[0]))
    assert row(grid, "1")["paper, gain"] == "−10.0"


def test_a_stage_has_its_loss_beside_that_of_guessing(runs: Path) -> None:
    report = collect(runs)
    stages, probes = module_grids(module_table(report, report.groups[0]))
    found = row(stages, "1")
    assert (found["last loss"], found["loss of guessing"]) == ("2.500 ± 0.000 (2)", "2.833")
    assert stages.caption == "Runs: small, small@3. Data: synthetic images (demo)."
    assert row(probes, "pixels")["paper, gain"] == "–"


@given(st.lists(st.text("xyz", min_size=1, max_size=2), max_size=40))
def test_the_same_note_has_one_letter_and_others_have_others(notes: list[str]) -> None:
    marks = _Marks()
    given_out = {note: marks.of([note]) for note in notes}
    assert len(set(given_out.values())) == len(given_out)
    assert all(marks.of([note]) == mark for note, mark in given_out.items())
    assert len(marks.notes) == len(given_out)


def test_beyond_the_alphabet_letters_are_doubled() -> None:
    marks = _Marks()
    letters = [marks.of([str(n)]) for n in range(len(MARKS) + 2)]
    assert letters[-3:] == [" [z]", " [aa]", " [bb]"]


def test_a_name_may_have_several_notes_or_none() -> None:
    marks = _Marks()
    assert marks.of([]) == ""
    assert marks.of(["one", "two"]) == " [a,b]"
    assert marks.notes == ("[a] one.", "[b] two.")


def test_a_terminal_shows_a_row_for_every_system(table: SystemTable) -> None:
    rows = terminal_rows([table])
    assert [each["system"] for each in rows] == [each.system.name for each in table.rows]
    assert rows[0]["ours"] == "class paper 55.0 ± 7.1 (2)\nclass converged 55.0 ± 7.1 (2)"
