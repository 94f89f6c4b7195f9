"""Many recipes with many seeds: their order, the estimate, going on, failing alone, the report."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.campaigns import NAMES, campaign, document, rewrite, tables, write_recipes
from helpers.homes import RECIPES, StopAfter
from helpers.processes import wait_for

from gimstage.errors import DataError, RecipeError
from gimstage.plan import calibration
from gimstage.progress import Interrupted, Watch
from gimstage.work.campaign import Campaign, divide_by_data, in_order


def states(found: Campaign) -> list[str]:
    return [run.state for run in found.runs]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the command has run both recipes with both seeds."""
    home = write_recipes(tmp_path_factory.mktemp("finished"))
    result = tables(home)
    assert result.exit_code == 0, result.output
    (home / "stdout.txt").write_text(result.stdout)
    (home / "stderr.txt").write_text(result.stderr)
    return home


@pytest.fixture
def fresh(finished: Path, tmp_path: Path) -> Path:
    """A home with the recipes, the data and the calibration, but no run."""
    home = write_recipes(tmp_path / "home")
    shutil.copytree(finished / "runs/data", home / "runs/data")
    shutil.copy(finished / "runs/calibration.json", home / "runs")
    return home


def test_a_recipe_comes_after_those_it_builds_on_named_or_not(tmp_path: Path) -> None:
    stages = write_recipes(tmp_path) / "stages"
    assert [r.name for r in in_order([stages / "top"])] == ["base", "top"]
    assert [r.name for r in in_order([stages / "top", stages / "base"])] == ["base", "top"]


@pytest.mark.parametrize(("weights", "before"), [("trained", ["base"]), ("random", [])])
def test_a_probe_needs_the_recipe_whose_trained_stages_it_reads(
    tmp_path: Path, weights: str, before: list[str]
) -> None:
    top = write_recipes(tmp_path) / "stages/top"
    (top / "1_second.toml").unlink()
    rewrite(top / "probe.toml", ("[1]", '["base/1"]'), ('"trained"', f'"{weights}"'))
    assert [r.name for r in in_order([top])] == [*before, "top"]


def test_two_recipes_of_one_name_are_refused(tmp_path: Path) -> None:
    one, other = (write_recipes(tmp_path / name) / "stages/base" for name in ("one", "other"))
    with pytest.raises(RecipeError) as error:
        in_order([one, other])
    assert str(error.value) == (
        f"{other}: a second recipe base, beside {one}; expected recipes of different names; "
        "both would run in one folder of runs: rename one"
    )


def test_recipes_of_the_other_kind_of_data_are_skipped_and_that_is_said(fresh: Path) -> None:
    shutil.copytree(RECIPES / "tiny_audio", fresh / "stages/tiny_audio")
    data = next((fresh / "runs/data").glob("demo-*"))
    result = tables(fresh, "--data", data, "--dry-run", names=("tiny_audio", "base"))
    assert result.stderr == f"skipped, as not for what lies in {data}: tiny_audio\n"
    assert "tiny_audio" not in result.stdout


def test_data_that_no_source_reads_is_refused(tmp_path: Path) -> None:
    recipes = in_order([write_recipes(tmp_path) / "stages/base"])
    nowhere = tmp_path / "nowhere"
    missing = "there is no such file or folder"
    for folder, found in ((tmp_path, "5 .toml files"), (nowhere, missing)):
        with pytest.raises(DataError) as error:
            divide_by_data(recipes, folder)
        assert (error.value.where, error.value.found) == (str(folder), found)


def test_data_that_no_recipe_is_for_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train_X.bin").touch()
    with pytest.raises(DataError) as error:
        divide_by_data(in_order([RECIPES / "tiny_audio"]), tmp_path)
    assert str(error.value) == (
        f'{tmp_path}: data for source = "stl10"; expected what one of these is for: tiny_audio; '
        f"name others, or give other data; `gimstage init mine --data {tmp_path}` writes a recipe "
        "for it"
    )


def test_seeds_are_parted_by_commas_or_spaces_each_counts_once(fresh: Path) -> None:
    found = document(fresh, "--seeds", " 4, 2 4", "--dry-run", names=("base",))
    assert [run["seed"] for run in found["runs"]] == [4, 2]


def test_a_dry_run_says_what_is_left_to_do_and_does_nothing(fresh: Path) -> None:
    result = tables(fresh, "--dry-run")
    assert (result.exit_code, result.stderr) == (0, "")
    rows = re.findall(r"│ (\w+) +│ +(\d) │ (to do) │ +([\d.]+) s │", result.stdout)
    assert [f"{name}@{seed}" for name, seed, _, _ in rows] == NAMES
    assert re.search(
        r"\n[\d.]+ s in all, measured on this machine; fitting the classifiers is not in it\n$",
        result.stdout,
    )
    assert not list((fresh / "runs").glob("*@*"))
    assert not (fresh / "report").exists()


def test_only_what_was_never_measured_is_measured_once_for_all_seeds(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []
    measure: Callable[..., object] = calibration._stage

    def counted(chain: object, device: object) -> object:
        measured.append(chain)
        return measure(chain, device)

    monkeypatch.setattr(calibration, "_stage", counted)
    monkeypatch.setattr(calibration, "_disk", lambda folder: pytest.fail("known"))
    campaign(fresh).estimate()
    assert measured == []
    rewrite(fresh / "stages/top/1_second.toml", ("width = 4", "width = 6"))
    found = campaign(fresh)
    found.estimate()
    assert len(measured) == 1
    assert all(run.estimated_s > 0 for run in found.runs)


def test_the_estimate_is_that_of_the_plan_and_of_the_probes(fresh: Path) -> None:
    found = campaign(fresh)
    found.estimate()
    for run in found.runs:
        stage = run.pipeline.plan(run.recipe.chain(1)).hours
        probe = run.pipeline.probe_hours("probe")
        assert min(stage, probe) > 0
        assert run.estimated_s == pytest.approx(3600 * (stage + probe))


def test_it_says_what_it_will_do_and_ends_with_the_report(finished: Path) -> None:
    before = (finished / "stderr.txt").read_text()
    assert before.index("fitting the classifiers is not in it") < before.index("base@2/1 train")
    after = (finished / "stdout.txt").read_text()
    assert "published and ours" in after
    assert after.endswith(f"the report: {finished / 'report/index.html'}\n")
    report = json.loads((finished / "report/report.json").read_text())
    assert "top@3" in json.dumps(report)


def test_it_runs_seed_by_seed_what_others_build_on_first(fresh: Path) -> None:
    tasks: list[str] = []
    watch = Watch(lambda progress: tasks.append(progress.task))
    found = campaign(fresh, watch)
    found.estimate()
    found.work()
    trained = dict.fromkeys(task.partition("/")[0] for task in tasks if task.endswith(" train"))
    assert list(trained) == NAMES
    assert states(found) == ["done"] * 4


def test_what_is_done_is_not_done_again(home: Path) -> None:
    found = document(home)
    assert [(r["recipe"], r["seed"], r["state"], r["estimated_s"]) for r in found["runs"]] == [
        (*name.split("@")[:1], int(name[-1]), "done", 0.0) for name in NAMES
    ]
    assert found["page"] == str(home / "report/index.html")
    manifests = sorted((home / "runs").glob("*@*/*/manifest.json"))
    times = [path.stat().st_mtime_ns for path in manifests]
    assert tables(home).exit_code == 0
    assert [path.stat().st_mtime_ns for path in manifests] == times


def test_a_run_that_lost_its_probe_is_part_done_and_only_the_probe_is_made(home: Path) -> None:
    (home / "runs/top@3/probe/manifest.json").unlink()
    tasks: list[str] = []
    found = campaign(home, Watch(lambda progress: tasks.append(progress.task)))
    found.estimate()
    assert states(found) == ["done"] * 3 + ["part done"]
    assert found.runs[3].estimated_s == 3600 * found.runs[3].pipeline.probe_hours("probe")
    assert "a stage or probe that has begun counts whole" in tables(home, "--dry-run").stdout
    found.work()
    assert {task.split()[0] for task in tasks} == {"probe"}


def test_what_was_interrupted_goes_on_from_there(fresh: Path) -> None:
    found = campaign(fresh, StopAfter(30))
    found.estimate()
    with pytest.raises(Interrupted):
        found.work()
    again = campaign(fresh)
    again.estimate()
    assert set(states(again)) not in ({"to do"}, {"done"})
    again.work()
    assert states(again) == ["done"] * 4


def test_a_signal_stops_it_with_everything_saved(fresh: Path) -> None:
    rewrite(fresh / "stages/base/1_first.toml", ("steps = 12", "steps = 100000"))
    options = ["--seeds", "2", "--runs", fresh / "runs", "--out", fresh / "report"]
    command = [sys.executable, "-m", "gimstage", "tables", fresh / "stages/top", *options]
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    metrics = fresh / "runs/base@2/1/checkpoint/metrics.jsonl"
    wait_for(metrics, process)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate()
    assert (process.returncode, stdout) == (130, "")
    assert stderr.endswith("stopped; the same command goes on from here\n")
    assert not (fresh / "report").exists()


def test_a_run_that_fails_stops_no_other_and_is_named_at_the_end(fresh: Path) -> None:
    shutil.copytree(fresh / "stages/base", fresh / "stages/big")
    rewrite(fresh / "stages/big/1_first.toml", ("batch_size = 8", "batch_size = 49"))
    found = document(fresh, names=("big", "base"))
    message = "stage big@2/1: 48 unlabeled samples; expected at least one batch of 49; "
    message += "use more data or a smaller batch_size"
    assert found["runs"][0] == {
        "recipe": "big",
        "seed": 2,
        "state": "failed",
        "estimated_s": None,
        "error": message,
    }
    assert [run["state"] for run in found["runs"]] == ["failed", "done"] * 2
    assert "big" not in (fresh / "report/report.md").read_text()
    result = tables(fresh, names=("big", "base"))
    assert result.exit_code == 1
    last = result.stdout.splitlines()[-2:]
    assert last == [f"big@{seed} failed: {message.replace('@2', f'@{seed}')}" for seed in (2, 3)]


def test_what_builds_on_a_run_that_failed_says_what_it_lacks(fresh: Path) -> None:
    rewrite(fresh / "stages/base/1_first.toml", ("batch_size = 8", "batch_size = 49"))
    found = document(fresh, "--seeds", "2")
    assert [run["state"] for run in found["runs"]] == ["failed", "failed"]
    assert found["runs"][1]["error"] == (
        "stage base@2/1: missing; expected done; "
        f"run `gimstage train-stage 1 --recipe {fresh / 'stages/base'} --runs {fresh / 'runs'} "
        "--seed 2` first"
    )
    assert found["page"] is None
    shown = tables(fresh, "--seeds", "2").stdout
    assert shown.startswith("no report: nothing has been run\nbase@2 failed: stage base@2/1: 48 ")
