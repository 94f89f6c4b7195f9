"""A result is found by its fingerprint, whatever the folder is called that it lies in."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from helpers.homes import edit, open_pipeline, recipe_of

import gimstage
from gimstage.cli import main
from gimstage.recipe.recipe import Recipe
from gimstage.runs.folder import RunFolder
from gimstage.work.pipeline import Pipeline

OWN = 2  # the seed that the recipe has of its own


def seeded(home: Path, seed: int = OWN) -> Pipeline:
    """The recipe of a home with a seed said aloud, so that it has another folder."""
    pipeline = open_pipeline(recipe_of(home), home / "runs")
    recipe = Recipe.load(recipe_of(home), seed)
    return Pipeline(
        recipe, pipeline.data, root=pipeline.root, settings=pipeline.settings, watch=pipeline.watch
    )


def told(pipeline: Pipeline) -> list[tuple[str, tuple[str, ...]]]:
    """State and reason of every stage and probe."""
    return [(each.state, each.why) for each in pipeline.statuses() + pipeline.probe_statuses()]


def lent(home: Path, name: str = "tiny") -> list[tuple[str, tuple[str, ...]]]:
    return [("done", (f"as {home / 'runs' / name / each}",)) for each in ("1", "2", "3", "probe")]


def files(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of every file below a folder."""
    return {p: (p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*")}


def command(home: Path, *words: object) -> Result:
    options = ["--recipe", recipe_of(home), "--runs", home / "runs", "--seed", OWN]
    return CliRunner().invoke(main, [str(word) for word in [*words, *options]])


def test_a_run_with_the_recipe_s_own_seed_trains_nothing(home: Path) -> None:
    before = files(home / "runs/tiny")
    rows = seeded(home).run()
    assert files(home / "runs/tiny") == before
    assert not (home / "runs/tiny@2").exists()
    assert rows == open_pipeline(recipe_of(home), home / "runs").probe("probe")


def test_status_says_whose_folder_it_is_done_in(home: Path) -> None:
    assert told(seeded(home)) == lent(home)


def test_the_name_of_the_recipe_does_not_matter(home: Path) -> None:
    shutil.copytree(home / "tiny", home / "same")
    again = open_pipeline(home / "same", home / "runs")
    assert told(again) == lent(home)
    assert [row["stage"] for row in again.run()] == [
        row["stage"] for row in open_pipeline(home / "tiny", home / "runs").run()
    ]


def test_the_own_folder_goes_first(home: Path) -> None:
    shutil.copytree(home / "runs/tiny", home / "runs/a_copy")
    assert told(open_pipeline(recipe_of(home), home / "runs")) == [("done", ())] * 4


def test_of_several_the_first_by_name_is_taken(home: Path) -> None:
    shutil.copytree(home / "runs/tiny", home / "runs/a_copy")
    assert told(seeded(home)) == lent(home, "a_copy")


def test_a_seed_that_is_another_is_trained(home: Path) -> None:
    assert [state for state, _ in told(seeded(home, 3))] == ["missing"] * 4


def test_a_stage_above_is_trained_on_what_is_lent(home: Path) -> None:
    shutil.rmtree(home / "runs/tiny/3")
    pipeline = seeded(home)
    assert [status.state for status in pipeline.statuses()] == ["done", "done", "missing"]
    assert pipeline.train_stage(3)
    assert {path.name for path in (home / "runs/tiny@2").iterdir()} == {"3"}
    manifest = json.loads((home / "runs/tiny@2/3/manifest.json").read_text())
    assert manifest["upstream"]["stage"] == "tiny@2/2"
    stack = gimstage.load(home / "runs/tiny@2/3")
    assert stack.names == ["tiny/1", "tiny/2", "tiny@2/3"]


def test_what_is_lent_is_held_while_it_is_read(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[Path] = []
    hold = RunFolder.reading

    @contextmanager
    def noted(folder: RunFolder, *pause: Any) -> Iterator[None]:
        held.append(folder.path.relative_to(home / "runs"))
        with hold(folder, *pause):
            yield

    monkeypatch.setattr(RunFolder, "reading", noted)
    shutil.rmtree(home / "runs/tiny/3")
    seeded(home).train_stage(3)
    assert held == [Path("tiny/1"), Path("tiny/2")]


def test_a_training_under_way_gives_way_to_what_is_finished_elsewhere(home: Path) -> None:
    begun = home / "runs/tiny@2/1"
    begun.mkdir(parents=True)
    shutil.copy(home / "runs/tiny/1/metrics.jsonl", begun)
    assert told(seeded(home)) == lent(home)


def test_a_stale_folder_of_its_own_stays_and_another_is_read(home: Path) -> None:
    shutil.copytree(home / "runs/tiny", home / "runs/kept")
    edit(home, "1_*.toml", "steps = 12", "steps = 11")
    pipeline = open_pipeline(recipe_of(home), home / "runs")
    pipeline.train_stage(1)
    edit(home, "1_*.toml", "steps = 11", "steps = 12")
    state, why = told(open_pipeline(recipe_of(home), home / "runs"))[0]
    assert (state, why) == ("done", (f"as {home / 'runs/kept/1'}",))


@pytest.mark.parametrize("damage", ["weights", "manifest", "shard", "another probe"])
def test_a_folder_that_is_damaged_lends_nothing(home: Path, damage: str) -> None:
    stage = home / "runs/tiny/1"
    if damage == "weights":
        (stage / "weights.safetensors").write_bytes(b"")
    elif damage == "manifest":
        path = stage / "manifest.json"
        path.write_text(path.read_text().replace('"seed": 2', '"seed": 5'))
    elif damage == "shard":
        next(stage.glob("features.zarr/features/c*")).unlink()
    else:
        shutil.copy(home / "runs/tiny/probe/manifest.json", stage)
    assert [state for state, _ in told(seeded(home))] == ["missing"] * 4


def test_a_folder_that_another_process_works_on_lends_nothing(home: Path) -> None:
    with RunFolder(home / "runs/tiny/1").lock():
        assert [state for state, _ in told(seeded(home))] == ["missing"] * 4
    assert told(seeded(home)) == lent(home)


def test_a_folder_without_the_features_that_are_asked_for_lends_nothing(home: Path) -> None:
    edit(home, "3_*.toml", "codes = false", "codes = true")
    assert [state for state, _ in told(seeded(home))] == ["done", "done", "missing", "missing"]


def test_a_folder_that_is_removed_lends_no_more(home: Path) -> None:
    pipeline = seeded(home)
    assert told(pipeline) == lent(home)
    shutil.rmtree(home / "runs/tiny/2")
    assert [state for state, _ in told(pipeline)] == ["done", "missing", "missing", "missing"]


def test_a_folder_that_appears_lends_to_what_was_missing(home: Path, tmp_path: Path) -> None:
    shutil.move(home / "runs/tiny", tmp_path / "aside")
    pipeline = seeded(home)
    assert [state for state, _ in told(pipeline)] == ["missing"] * 4
    shutil.move(tmp_path / "aside", home / "runs/tiny")
    assert told(pipeline) == lent(home)


def test_every_command_reads_what_is_lent(home: Path) -> None:
    before = files(home / "runs/tiny")
    for words, said in (
        (["train-stage", 1], f"stage tiny@2/1 already done, as {home}/runs/tiny/1: loss"),
        (["extract", 2], f"stage tiny@2/2 already done, as {home}/runs/tiny/2: loss"),
        (["inspect", 3], "features of stage tiny@2/3"),
        (["verify"], "tiny@2: every byte read"),
        (["probe"], "tiny@2: linear probes"),
        (["run"], "tiny@2: linear probes"),
        (["plan", "--max-disk", "1B"], "tiny@2: the plan"),
    ):
        result = command(home, *words)
        assert (result.exit_code, said in result.stdout) == (0, True), (words, result.output)
    assert files(home / "runs/tiny") == before
    assert not (home / "runs/tiny@2").exists()


def test_a_session_shows_and_reports_what_is_lent(home: Path, tmp_path: Path) -> None:
    session = gimstage.open(
        home / "tiny", runs=home / "runs", seed=OWN, device="cpu", progress=False
    )
    assert session.features(3).array("features").shape[0] == 48
    assert session.stack(3).names == ["tiny@2/1", "tiny@2/2", "tiny@2/3"]
    page = session.report(tmp_path / "out")
    assert "tiny" in page.page.read_text()


def test_tables_count_what_is_lent_as_done(home: Path) -> None:
    options = ["--runs", home / "runs", "--seeds", "2", "--json"]
    words = [str(word) for word in ["tables", home / "tiny", *options]]
    for extra in (["--dry-run"], ["--out", str(home / "report")]):
        document = json.loads(CliRunner().invoke(main, [*words, *extra]).stdout)
        assert [(run["state"], run["estimated_s"]) for run in document["runs"]] == [("done", 0.0)]
    assert document["page"] == str(home / "report/index.html")
    assert not (home / "runs/tiny@2").exists()


def test_a_stack_is_found_by_its_weights_where_a_folder_below_was_renamed(home: Path) -> None:
    (home / "runs/elsewhere").mkdir()
    (home / "runs/tiny/1").rename(home / "runs/elsewhere/1")
    assert gimstage.load(home / "runs/tiny/3").names == ["tiny/1", "tiny/2", "tiny/3"]
