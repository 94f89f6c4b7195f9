"""Many recipes with many seeds: their order, the estimate, going on, failing alone, the report."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from helpers.homes import CPU, RECIPES, ROOT, StopAfter

from gimstage.cli import main
from gimstage.data.demo_speech import write_demo_speech
from gimstage.errors import DataError, RecipeError
from gimstage.plan import calibration
from gimstage.progress import Interrupted, Watch
from gimstage.recipe.recipe import Recipe
from gimstage.work.base import Settings
from gimstage.work.campaign import Campaign, divide_by_data, in_order

SETTINGS = Settings(device=CPU, workers=1, max_disk=None, checkpoint_every_s=1e9)
NAMES = ["base@2", "top@2", "base@3", "top@3"]


def rewrite(path: Path, *changes: tuple[str, str]) -> None:
    """Replace texts, which must be there, in a file."""
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def write_recipes(home: Path) -> Path:
    """Two recipes in a home: base, one stage and its probe, and top, a second stage upon it."""
    base, top = home / "stages/base", home / "stages/top"
    base.mkdir(parents=True)
    top.mkdir()
    for name in ("data.toml", "1_first.toml", "probe.toml"):
        shutil.copy(RECIPES / "tiny" / name, base)
    rewrite(base / "probe.toml", ("[1, 2, 3]", "[1]"))
    shutil.copy(RECIPES / "tiny/2_second.toml", top / "1_second.toml")
    rewrite(top / "1_second.toml", ("input = 1", 'input = "base/1"'))
    shutil.copy(base / "probe.toml", top)
    return home


def campaign(home: Path, watch: Watch | None = None) -> Campaign:
    """Of both recipes with seeds 2 and 3."""
    recipes = in_order([home / "stages/top"])
    seeded = [Recipe.load(recipe.folder, seed) for seed in (2, 3) for recipe in recipes]
    root = home / "runs"
    return Campaign(seeded, data=None, root=root, settings=SETTINGS, watch=watch or Watch())


def tables(home: Path, *arguments: object, names: tuple[str, ...] = ("top", "base")) -> Result:
    """Run the command on recipes of a home with seeds 2 and 3."""
    folders = [home / "stages" / name for name in names]
    options = ["--seeds", "2,3", "--runs", home / "runs", "--out", home / "report"]
    words = ["tables", *folders, *options, *arguments]
    return CliRunner().invoke(main, [str(word) for word in words])


def document(home: Path, *arguments: object, **names: tuple[str, ...]) -> dict[str, object]:
    """The JSON document it prints."""
    result = tables(home, *arguments, "--json", **names)
    assert result.stderr == ""
    found: dict[str, object] = json.loads(result.stdout)
    return found


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


# In which order, and of what


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


def test_data_that_is_neither_images_nor_speech_is_refused(tmp_path: Path) -> None:
    recipes = in_order([write_recipes(tmp_path) / "stages/base"])
    nowhere = tmp_path / "nowhere"
    for folder, found in ((tmp_path, "neither images nor speech"), (nowhere, "no such folder")):
        with pytest.raises(DataError) as error:
            divide_by_data(recipes, folder)
        assert str(error.value) == (
            f"{folder}: {found}; expected unlabeled_X.bin, train_X.bin, … or "
            "SPEAKER/CHAPTER/SPEAKER-CHAPTER-UTTERANCE.flac; give the folder of STL-10 or "
            "LibriSpeech, or of data in its layout"
        )


def test_data_that_no_recipe_is_for_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train_X.bin").touch()
    with pytest.raises(DataError) as error:
        divide_by_data(in_order([RECIPES / "tiny_audio"]), tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: images; expected what one of these is for: tiny_audio; "
        "name others, or give other data"
    )


def test_without_data_only_recipes_that_write_their_own_can_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("GIMSTAGE_DATA", raising=False)
    result = CliRunner().invoke(main, ["tables", "stages/stl10_small", "--seeds", "2"])
    assert result.exit_code == 1
    assert result.stderr == (
        "error --data: not given, but needed by stl10_small; expected the folder of images in "
        "STL-10's layout or of speech in LibriSpeech's; `make tables DATA=DIR` or "
        "`gimstage tables --data DIR`; only recipes with a table [demo] in data.toml, such as "
        "stages/demo, need none\n"
    )


def test_the_small_recipes_are_those_of_the_folder_one_stands_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["tables", "--seeds", "2"])
    assert result.stderr == (
        "error stages/*_small*: no such folder here; expected small recipes; "
        "go to the folder that holds stages/, or name recipe folders\n"
    )
    shutil.copytree(RECIPES / "tiny", tmp_path / "stages/tiny_small")
    result = CliRunner().invoke(main, ["tables", "--seeds", "2", "--dry-run", "--json"])
    assert [run["recipe"] for run in json.loads(result.stdout)["runs"]] == ["tiny_small"]


@pytest.mark.parametrize("seeds", ["", "two", "2,,3", "-1", "2;3", "1.5"])
def test_seeds_that_are_none_are_wrong_usage(tmp_path: Path, seeds: str) -> None:
    result = CliRunner().invoke(main, ["tables", str(tmp_path), "--seeds", seeds])
    assert result.exit_code == 2
    message = f"{seeds!r}; expected whole numbers from 0, such as 2,3"
    assert f"Error: Invalid value for '--seeds': {message}\n" in result.stderr


def test_seeds_are_parted_by_commas_or_spaces_each_counts_once(fresh: Path) -> None:
    found = document(fresh, "--seeds", " 4, 2 4", "--dry-run", names=("base",))
    assert [run["seed"] for run in found["runs"]] == [4, 2]


# Before it starts


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


# While it runs, and after


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
    while not metrics.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
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
        "run `gimstage train-stage 1` of recipe base@2 first"
    )
    assert found["page"] is None
    shown = tables(fresh, "--seeds", "2").stdout
    assert shown.startswith("no report: nothing has been run\nbase@2 failed: stage base@2/1: 48 ")


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with speech without phone labels; `phones` probes nothing else, `deep` is upon it."""
    home = tmp_path_factory.mktemp("speech")
    write_demo_speech(home / "data", speakers=2, train=4, test=2, seed=1)
    next((home / "data").rglob("converted_aligned_phones.txt")).unlink()
    for name, probe in (("phones", "probe_phone"), ("speakers", "probe_speaker")):
        (home / "stages" / name).mkdir(parents=True)
        for file in ("data.toml", "1_conv1.toml", f"{probe}.toml"):
            shutil.copy(RECIPES / "tiny_audio" / file, home / "stages" / name)
        rewrite(home / "stages" / name / f"{probe}.toml", ("[1, 2, 3, 4, 5, 6]", "[1]"))
    (home / "stages/deep").mkdir()
    shutil.copy(RECIPES / "tiny_audio/2_conv2.toml", home / "stages/deep/1_conv2.toml")
    rewrite(home / "stages/deep/1_conv2.toml", ("input = 1", 'input = "phones/1"'))
    return home


def test_a_recipe_whose_labels_the_data_lacks_is_left_out_which_is_no_failure(
    speech: Path,
) -> None:
    names = ("deep", "speakers")
    result = tables(speech, "--data", speech / "data", "--seeds", "2", names=names)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-2:] == [
        f"phones@2 left out: {speech / 'data'}: no utterance of the split 'train' has phone labels;"
        " expected a line for at least one of them in converted_aligned_phones.txt; "
        "add the file, or the lines that are missing",
        "deep@2 left out: recipe deep@2: builds on phones@2, which is left out",
    ]
    found = document(speech, "--data", speech / "data", "--seeds", "2", names=names)
    assert [run["state"] for run in found["runs"]] == ["left out", "left out", "done"]
    assert not (speech / "runs/phones@2/1/manifest.json").exists()
    assert (speech / "report/index.html").exists()


def test_options_without_sense_are_refused_before_anything(fresh: Path) -> None:
    result = tables(fresh, "--device", "potato")
    assert result.exit_code == 1
    assert result.stderr == (
        "error --device potato: no such kind of device; expected auto, cpu, cuda, cuda:N or mps\n"
    )
