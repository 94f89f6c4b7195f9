"""The command line: what it prints, where, and how it exits."""

import json
import re
import shutil
from pathlib import Path

import pytest
from helpers.commands import document, gimstage, options
from helpers.homes import RECIPES, STAGES
from helpers.manifests import BESIDE

from gimstage.recipe.shipped import shipped_recipes

TINY = RECIPES / "tiny"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny recipe, run to its end by the command line."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(TINY, home / "tiny")
    result = gimstage("run", *options(home))
    assert result.exit_code == 0, result.output
    (home / "screen.txt").write_text(result.stdout)
    return home


def test_run_ends_with_a_table_of_accuracies(home: Path) -> None:
    screen = (home / "screen.txt").read_text()
    assert "tiny: linear probes" in screen
    assert (
        len(re.findall(r"│ [123] +│ class │ converged │ +[\d.]+ % │ +[\d.]+ % │ +10.0 % │", screen))
        == 3
    )
    assert "│ pixels │ class │ converged │" in screen


def test_run_again_reports_the_same_rows_as_json(home: Path) -> None:
    first, second = document("run", *options(home)), document("probe", *options(home))
    assert first == second
    assert {"stage", "task", "accuracy", "chance", "random_init"} <= set(first["rows"][0])


def test_status_as_json_names_every_stage(home: Path) -> None:
    status = document("status", *options(home))
    assert status["recipe"] == "tiny"
    assert [(s["name"], s["state"], s["why"]) for s in status["stages"]] == [
        (n, "done", []) for n in "123"
    ]
    assert all(re.fullmatch("[0-9a-f]{64}", s["fingerprint"]) for s in status["stages"])


def test_status_tells_why_with_key_old_and_new(home: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(home, tmp_path / "copy"))
    data = copy / "tiny/data.toml"
    data.write_text(data.read_text().replace("crop_px = 56", "crop_px = 64"))
    screen = gimstage("status", "--why", *options(copy)).stdout
    assert screen.count("data.views.crop_px: 56 → 64") == 4
    assert len(re.findall(r"│ stale ", screen)) == 4


def test_a_finished_stage_says_so(home: Path) -> None:
    result = gimstage("train-stage", 2, *options(home))
    assert result.exit_code == 0
    assert re.fullmatch(
        r"stage tiny/2 already done: loss \d\.\d{3} → \d\.\d{3} in 12 steps, "
        r"[\d.]+ MB of features\n",
        result.stdout,
    )


def test_extract_of_a_finished_stage_changes_nothing(home: Path) -> None:
    assert document("extract", 1, *options(home))["stage"]["state"] == "done"


def test_plan_gives_bytes_and_operations(home: Path) -> None:
    plan = document("plan", *options(home))
    assert plan["fits"] is True
    assert plan["cache_bytes"] == sum(s["cache_bytes"] for s in plan["stages"])
    assert [s["feature_shape"] for s in plan["stages"]] == [
        [48, 1, 8, 8, 8, 8, 8],
        [48, 1, 8, 8, 16, 4, 4],
        [48, 1, 8, 8, 16, 2, 2],
    ]


def test_plan_exits_1_where_it_does_not_fit(home: Path, tmp_path: Path) -> None:
    options = ["--recipe", home / "tiny", "--runs", tmp_path / "runs", "--max-disk", "10kB"]
    result = gimstage("plan", *options, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["fits"] is False
    assert "at most --max-disk 10.0 kB" in gimstage("plan", *options).stderr


@pytest.mark.parametrize("size", ["2", "potatoes", "-1GB", "0GB", "infGB"])
def test_a_size_without_sense_is_refused(home: Path, size: str) -> None:
    result = gimstage("plan", *options(home), "--max-disk", size)
    assert result.exit_code == 1
    assert result.stderr == (
        f"error --max-disk: '{size}'; expected a positive number and one of TB, GB, MB, kB, B\n"
    )


def test_inspect_describes_and_draws(home: Path, tmp_path: Path) -> None:
    png = tmp_path / "channels.png"
    found = document("inspect", 2, *options(home), "--png", png)
    assert found["shape"] == [48, 1, 8, 8, 16, 4, 4]
    assert found["codecs"] == ["bytes", "crc32c"]
    assert found["values"]["min"] == 0.0
    assert png.read_bytes().startswith(b"\x89PNG")
    assert "float16" in gimstage("inspect", 2, *options(home)).stdout


def test_verify_reads_everything_and_finds_a_flipped_bit(home: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(home, tmp_path / "copy"))
    assert document("verify", *options(copy))["verified"][2] == {
        "stage": "3",
        "read": ["manifest.json", *BESIDE, "features.zarr", "data"],
        "features": True,
        "damage": [],
        "set_aside": [],
    }
    shard = next((copy / "runs/tiny/3/features.zarr/features").glob("c*"))
    content = bytearray(shard.read_bytes())
    content[1000] ^= 1
    shard.write_bytes(content)
    result = gimstage("verify", *options(copy))
    assert result.exit_code == 1
    assert str(shard) in result.stderr.replace("\n", "")


def test_an_error_as_json_names_type_and_message(home: Path) -> None:
    result = gimstage("train-stage", 7, *options(home), "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "error": {
            "type": "RecipeError",
            "message": "recipe tiny: stage 7 does not exist; expected a stage of tiny: 1, 2, 3",
        }
    }


def test_a_recipe_on_real_images_asks_for_them(tmp_path: Path) -> None:
    result = gimstage("status", "--recipe", "stages/stl10", "--runs", tmp_path)
    assert result.exit_code == 1
    assert result.stderr == (
        "error --data: not given; expected the folder that holds unlabeled_X.bin, train_X.bin, …; "
        "add --data DIR, or fetch the images: gimstage data download stl10 DIR\n"
    )


def test_a_device_that_is_not_there_is_refused(home: Path) -> None:
    result = gimstage("train-stage", 1, *options(home), "--device", "potato")
    assert result.exit_code == 1
    assert result.stderr == (
        "error --device potato: no such kind of device; expected auto, cpu, cuda, cuda:N or mps\n"
    )


def test_wrong_usage_exits_2() -> None:
    assert gimstage("train-stage").exit_code == 2
    assert gimstage("train-stage", "two").exit_code == 2
    assert gimstage("nonsense").exit_code == 2


def test_a_seed_runs_beside(home: Path) -> None:
    assert gimstage("train-stage", 1, *options(home), "--seed", 5).exit_code == 0
    assert (home / "runs/tiny@5/1/manifest.json").exists()


def test_demo_data_can_be_written_checked_and_trained_on(tmp_path: Path) -> None:
    folder, png = tmp_path / "demo", tmp_path / "sheet.png"
    counts = ["--unlabeled", 20, "--train", 20, "--test", 20]
    assert gimstage("data", "demo", folder, *counts).exit_code == 0
    report = document("data", "check", folder, "--png", png)
    assert [s["images"] for s in report["splits"]] == [20, 20, 20]
    assert png.read_bytes().startswith(b"\x89PNG")
    options = ["--recipe", TINY, "--runs", tmp_path / "runs", "--data", folder]
    assert gimstage("train-stage", 1, *options).exit_code == 0


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of synthetic speech, written by the command line."""
    folder = tmp_path_factory.mktemp("speech") / "data"
    result = gimstage("data", "demo-audio", folder, "--speakers", 2, "--train", 2, "--test", 1)
    assert (result.exit_code, result.stdout) == (0, f"synthetic speech is in {folder}\n")
    return folder


def test_speech_is_checked_and_drawn(speech: Path, tmp_path: Path) -> None:
    png = tmp_path / "sheet.png"
    screen = gimstage("data", "check", speech, "--png", png).stdout
    assert re.search(r"│ train │ +2 │ +4 │", screen)
    assert re.search(r"│ test  │ +2 │ +2 │", screen)
    assert f"spectrograms: {png}" in screen
    assert png.read_bytes().startswith(b"\x89PNG")


def test_utterances_too_short_for_a_crop_are_counted_and_named(speech: Path) -> None:
    report = document("data", "check", speech, "--crop-frames", 10_000)
    train = report["splits"][0]
    assert train["too_short"] == 4
    assert len(train["too_short_first"]) == 4


def test_speech_without_phone_labels_is_still_checked(speech: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(speech, tmp_path / "copy"))
    next(copy.rglob("converted_aligned_phones.txt")).unlink()
    assert "0 (0 %)" in gimstage("data", "check", copy).stdout


def test_the_plan_shows_memory_and_what_a_budget_leaves(home: Path) -> None:
    screen = gimstage("plan", *options(home), "--gpu-mem", "700MB").stdout
    assert "GPU memory of a step, predicted" in screen
    assert (
        "700.0 MB less 500.0 MB context, 128.0 MB workspace, 7.2 MB margin leave 64.8 MB" in screen
    )
    plan = document("plan", *options(home), "--gpu-mem", "700MB")
    assert plan["fits"]
    names = {"micro_batch", "checkpointing", "predicted_allocated_bytes", "cache_bytes"}
    assert names | {"predicted_reserved_bytes", "flops_per_step"} <= plan["stages"][0].keys()


def test_a_budget_too_small_says_what_would_do(home: Path) -> None:
    result = gimstage("plan", *options(home), "--gpu-mem", "100MB", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 1
    assert not found["fits"]
    assert 628_000_000 < found["smallest_bytes"] < 700_000_000
    assert found["error"]["message"] == gimstage(
        "plan", *options(home), "--gpu-mem", "100MB"
    ).stderr.removeprefix("error ").rstrip("\n")


@pytest.mark.parametrize("size", ["2", "2 potatoes", "-1GB"])
def test_a_budget_without_sense_is_refused(home: Path, size: str) -> None:
    result = gimstage("plan", *options(home), "--gpu-mem", size)
    assert result.exit_code == 1
    assert result.stderr == (
        f"error --gpu-mem: '{size}'; expected a positive number and one of TB, GB, MB, kB, B\n"
    )


def test_a_calibration_is_kept_and_gives_hours(home: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(home, tmp_path / "copy"))
    assert document("plan", *options(copy))["stages"][0]["hours"] is None
    assert document("plan", *options(copy), "--calibrate")["stages"][0]["hours"] > 0
    assert document("plan", *options(copy))["stages"][2]["recompute"]["faster"] in (
        "cache",
        "recompute",
    )


def test_channels_are_drawn_to_a_file_of_the_stages_name(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    found = document("inspect", 2, "--png", *options(home))
    assert found["png"] == "tiny-2.png"
    assert (tmp_path / "tiny-2.png").exists()


def test_a_recipe_is_found_as_the_folder_one_stands_in(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home / "tiny")
    found = document("status", "--recipe", ".", "--runs", home / "runs")
    assert found["recipe"] == "tiny"
    monkeypatch.chdir(home)
    monkeypatch.setenv("GIMSTAGE_RECIPE", "")
    assert document("status", "--runs", home / "runs")["recipe"] == "demo"


def test_the_recipes_that_come_along_are_listed() -> None:
    assert document("recipes").keys() == shipped_recipes().keys()
    assert "Synthetic images, written on first use" in gimstage("recipes").stdout


def test_a_report_of_finished_runs_is_one_page(home: Path, tmp_path: Path) -> None:
    found = document("report", "--runs", home / "runs", "--out", tmp_path / "out")
    assert found["page"] == str(tmp_path / "out/index.html")
    assert "<title>" in (tmp_path / "out/index.html").read_text()
    assert {row["table"] for row in found["rows"]} >= {"1"}


def test_a_report_over_no_runs_is_refused(tmp_path: Path) -> None:
    result = gimstage("report", "--runs", tmp_path, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error {tmp_path}: ")


def test_memory_is_planned_without_any_data() -> None:
    folder = STAGES / "librispeech"
    found = document("plan", "--recipe", folder, "--gpu-mem", "1GB")
    assert found["fits"]
    assert [stage["name"] for stage in found["stages"]] == [*"123456"]
    assert all(stage["steps"] is None for stage in found["stages"])
    assert (
        "give --data DIR for steps, disk and hours" in gimstage("plan", "--recipe", folder).stdout
    )


def test_a_recipe_of_probes_alone_has_nothing_to_plan() -> None:
    folder = STAGES / "librispeech_mfcc"
    result = gimstage("plan", "--recipe", folder)
    assert (result.exit_code, result.stdout) == (0, "librispeech_mfcc has no stages to plan\n")
