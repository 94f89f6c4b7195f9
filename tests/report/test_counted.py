"""A result counts once, however many folders hold it and whatever they are called."""

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.manifests import weights, write_images, write_probe, write_stage
from hypothesis import given
from hypothesis import strategies as st

from gimstage.report import collect
from gimstage.report.costs import Measured
from gimstage.report.document import all_figures
from gimstage.report.losses import curve

PARTS = ("1", "2", "3", "probe")


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    write_images(tmp_path, "small", 0.5)
    write_images(tmp_path, "small@3", 0.6, seed=3)
    return tmp_path


def copy(runs: Path, one: str, other: str, parts: tuple[str, ...] = PARTS) -> None:
    for part in parts:
        shutil.copytree(runs / one / part, runs / other / part)


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def figures(runs: Path) -> list[Any]:
    """All that the report counts of `small`, but for the names of the runs it comes from."""
    report = collect(runs, ["small"])
    found = all_figures(report)
    (group,) = report.groups

    def nameless(row: Any) -> Any:
        values = {name: getattr(row, name) for name in row.__dataclass_fields__}
        measured = {k: replace(v, runs=()) for k, v in values.items() if isinstance(v, Measured)}
        return replace(row, **measured)

    cells = [
        [(key, cell.values, cell.mean, cell.std) for key, cell in row.cells.items()]
        for table in found.papers
        for row in table.rows
    ]
    costs = [row.costs for table in found.papers for row in table.rows]
    modules = [nameless(row) for t in found.modules for row in (*t.stages, *t.rows)]
    return [cells, costs, modules, [curve(group, at, "loss") for at in (1, 2, 3)]]


copies = st.lists(
    st.tuples(
        st.sampled_from(["small", "small@3"]),
        st.integers(4, 40),
        st.lists(st.sampled_from(PARTS), min_size=1, unique=True).map(tuple),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda made: made[1],
)


@given(made=copies, accuracies=st.tuples(*[st.integers(21, 99)] * 2))
def test_copies_never_change_a_mean_a_deviation_or_a_count(
    made: list[tuple[str, int, tuple[str, ...]]], accuracies: tuple[int, int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        write_images(runs, "small", accuracies[0] / 100)
        write_images(runs, "small@3", accuracies[1] / 100, seed=3)
        before = figures(runs)
        for one, seed, parts in made:
            copy(runs, one, f"small@{seed}", parts)
        assert figures(runs) == before


def test_the_report_says_which_folders_are_one_result(runs: Path) -> None:
    copy(runs, "small", "small@2")
    copy(runs, "small", "small@9", ("probe",))
    report = collect(runs)
    assert [run.folders for run in report.groups[0].runs] == [
        ("small", "small@2", "small@9"),
        ("small@3",),
    ]
    assert report.notes == ("small@2, small@9: the same result as small, counted once",)


def test_a_copy_under_another_name_changes_nothing_and_is_told(runs: Path) -> None:
    before = figures(runs)
    copy(runs, "small", "other")
    assert figures(runs) == before
    assert collect(runs).notes == (
        "small: the same stages as other, down to the bits, under another name",
    )


def test_other_bits_of_one_seed_are_one_seed_whatever_the_folders_are_called(runs: Path) -> None:
    for name in ("small@2", "small@7"):
        copy(runs, "small", name)
        for number in PARTS[:3]:
            path = runs / name / number / "manifest.json"
            change(path, weights_sha256=weights(f"elsewhere/{number}"))
    (group,) = collect(runs).groups
    assert len(group.runs) == 2
    values = figures(runs)
    shutil.move(runs / "small@7", runs / "small@1")
    assert figures(runs) == values
    note = "the same stages and seed as {}, but other bits, as of another CPU or number of threads"
    (told,) = [each for each in collect(runs).notes if "other bits" in each]
    assert note.format(group.runs[0].name) in told


def test_a_stage_or_a_probe_twice_in_one_folder_is_counted_once(runs: Path) -> None:
    before = figures(runs)
    shutil.copytree(runs / "small/1", runs / "small/7")
    shutil.copytree(runs / "small/probe", runs / "small/probe_again")
    assert figures(runs) == before
    assert collect(runs).notes == (
        "small/7: the same result as small/1, counted once",
        "small/probe_again: the same result as small/probe, counted once",
    )


def test_probes_that_tell_the_same_rows_otherwise_are_one_value_a_seed(runs: Path) -> None:
    write_probe(runs, "small/probe_longer", {"3": 0.7}, epochs=9)
    report = collect(runs)
    assert "small/probe: small/probe_longer tells the same rows otherwise and is shown" in (
        report.notes
    )
    cells = all_figures(report).papers[0].rows[0].cells
    assert cells["class", "paper"].values == pytest.approx((70, 60))


def test_stages_that_lie_in_another_folder_belong_to_the_run_that_was_probed(runs: Path) -> None:
    shutil.rmtree(runs / "small/probe")
    for name, trained, seed in (("small@2", "small", 2), ("small@3", "small@3", 3)):
        fitted = {f"{name}/{n}": weights(f"{trained}/{n}") for n in (1, 2, 3)}
        write_probe(runs, f"{name}/probe", {"3": 0.5}, fitted=fitted, seed=seed)
    (run, _) = collect(runs).groups[0].runs
    assert (run.folders, list(run.stages), list(run.probes)) == (
        ("small", "small@2"),
        [1, 2, 3],
        ["probe"],
    )


def test_a_stage_trained_upon_another_folder_keeps_those_below(runs: Path) -> None:
    upstream = {"stage": "small@2/2", "fingerprint": "f" * 64}
    shutil.rmtree(runs / "small/3")
    write_stage(runs, "small@2/3", upstream=upstream, upstream_weights_sha256=weights("small/2"))
    (group,) = collect(runs, ["small@2"]).groups
    assert list(group.runs[0].stages) == [2, 3]
