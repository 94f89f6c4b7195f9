import math
from pathlib import Path
from typing import Any

import pytest
from helpers.manifests import (
    IMAGES,
    SPEECH,
    TEST,
    several,
    write_images,
    write_probe,
    write_speech,
    write_stage,
)

from gimstage.report import collect, summary, write_report
from gimstage.report.modules import memory_tables, module_table
from gimstage.report.published import base_of
from gimstage.report.tables import SystemRow, SystemTable, paper_tables

GIM = "Greedy InfoMax, one module after another"
PAPER, CONVERGED = ("class", "paper"), ("class", "converged")


def table(runs: Path, number: int) -> SystemTable:
    return next(found for found in paper_tables(collect(runs)) if found.number == number)


def row(runs: Path, number: int, system: str) -> SystemRow:
    return next(found for found in table(runs, number).rows if found.system.name == system)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    write_images(tmp_path, "small", 0.5)
    write_images(tmp_path, "small@3", 0.56, seed=3)
    return tmp_path


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    write_speech(tmp_path, "audio", 0.6)
    return tmp_path


@pytest.mark.parametrize(
    ("number", "published"),
    [
        (
            1,
            {
                GIM: ["81.9 ± 0.3"],
                "Greedy InfoMax, simultaneous": ["81.9 ± 0.3"],
                "CPC": ["80.5 ± 3.1"],
                "Supervised": ["71.4"],
                "Greedy supervised": ["65.2"],
                "Deep InfoMax": ["78.2"],
                "Deep InfoMax, Jensen–Shannon": [],
                "Predsim": ["80.8"],
                "Greedy InfoMax with PixelCNN contexts": [],
                "Pixels": [],
                "Randomly initialised": ["27.0"],
            },
        ),
        (
            3,
            {
                GIM: ["62.5", "99.4"],
                "Greedy InfoMax, simultaneous": ["62.5", "99.4"],
                "CPC": ["64.9", "99.6"],
                "Supervised": ["77.7", "98.9"],
                "Greedy supervised": ["73.4", "98.7"],
                "Randomly initialised": ["27.6", "1.9"],
                "MFCC": ["39.7", "17.6"],
            },
        ),
        (
            4,
            {
                GIM: ["62.5", "99.4"],
                "… without BPTT": ["55.5", "99.2"],
                "… without the GRU": ["50.8", "99.1"],
            },
        ),
    ],
)
def test_every_row_of_the_paper_is_there_though_nothing_of_it_was_run(
    tmp_path: Path, number: int, published: dict[str, list[str]]
) -> None:
    write_probe(tmp_path, "other/probe", {"1": 0.5}, data=IMAGES | {"source": "unheard of"})
    found = table(tmp_path, number)
    assert found.base is None
    assert not any(row.run for row in found.rows)
    assert {r.system.name: [*map(str, r.published.values())] for r in found.rows} == published


def test_a_figure_is_the_mean_over_seeds_with_the_deviation_of_the_sample(runs: Path) -> None:
    found = row(runs, 1, GIM).cells[PAPER]
    assert found.runs == ("small", "small@3")
    assert found.mean == pytest.approx(53)
    assert found.std == pytest.approx(math.sqrt(2 * 3**2))


def test_a_single_seed_has_no_deviation(speech: Path) -> None:
    assert row(speech, 3, GIM).cells[("phone", "paper")].std is None


def test_the_figure_is_that_of_the_last_stage(runs: Path) -> None:
    write_probe(runs, "small/probe", {"10": 0.9, "9": 0.1, "pixels": 0.2})
    assert row(runs, 1, GIM).cells[PAPER].values[0] == pytest.approx(90)
    assert row(runs, 1, GIM).cells[PAPER].source == "small, stage 10"


def test_protocols_stand_apart(runs: Path) -> None:
    write_probe(runs, "small_cpc/probe", {"1": 0.4}, protocols=("paper",))
    write_probe(runs, "small_dim/probe", {"1": 0.3}, protocols=("authors",))
    assert [*row(runs, 1, "CPC").cells] == [PAPER]
    assert [*row(runs, 1, "Deep InfoMax").cells] == [("class", "authors")]
    assert table(runs, 1).protocols == ("paper", "converged", "authors")


def test_what_cannot_be_averaged_stands_in_a_row_of_its_own(runs: Path) -> None:
    write_images(runs, "small@4", 0.9, seed=4, data_sha256="d" * 64)
    rows = [r for r in table(runs, 1).rows if r.system.name == GIM]
    assert [r.cells[PAPER].runs for r in rows] == [("small", "small@3"), ("small@4",)]
    assert rows[1].notes == ("kept apart: data_sha256: eeeeeeeeeeee → dddddddddddd",)


def test_the_base_stands_in_for_the_random_row(runs: Path) -> None:
    found = row(runs, 1, "Randomly initialised")
    assert found.cells[PAPER].values == pytest.approx((25, 28))
    assert found.cells[PAPER].source == "small, stage 3 before training"


def test_a_random_recipe_fills_the_random_row_itself(runs: Path) -> None:
    write_probe(runs, "small_random/probe", {"small/3": 0.31})
    found = row(runs, 1, "Randomly initialised").cells[PAPER]
    assert (found.mean, found.source) == (pytest.approx(31), "small_random, small/3")


@pytest.mark.parametrize(
    ("number", "system", "source", "mean"),
    [
        (3, "MFCC", "audio, mfcc", 40),
        (4, "… without the GRU", "audio, stage 5", 55),
        (3, "Randomly initialised", "audio, stage 6 before training", 30),
    ],
)
def test_the_base_stands_in_for_rows_of_speech(
    speech: Path, number: int, system: str, source: str, mean: float
) -> None:
    found = row(speech, number, system).cells[("speaker", "converged")]
    assert (found.source, found.mean) == (source, pytest.approx(mean))


def test_supervised_speech_is_one_recipe_per_task(speech: Path) -> None:
    for task, accuracy in {"phone": 0.7, "speaker": 0.9}.items():
        for asked in ("phone", "speaker"):
            key = f"audio_supervised_{task}/probe_{asked}"
            write_probe(speech, key, {"1": accuracy if asked == task else 0.0}, task=asked)
    cells = row(speech, 3, "Supervised").cells
    means = {task: cells[(task, "paper")].mean for task in ("phone", "speaker")}
    assert means == pytest.approx({"phone": 70, "speaker": 90})


def test_a_system_without_a_probe_was_run_but_has_no_figure(runs: Path) -> None:
    write_stage(runs, "small_cpc/1")
    found = row(runs, 1, "CPC")
    assert found.run
    assert not found.cells


def test_rows_on_other_data_are_warned_about(runs: Path) -> None:
    write_stage(runs, "small_cpc/1", data_sha256="d" * 64)
    write_probe(runs, "small_cpc/probe", {"1": 0.4}, data_sha256={"train": "c" * 64, "test": TEST})
    assert table(runs, 1).notes == (
        "Not all rows are trained on the same split 'unlabeled', so compare within one only: "
        "eeeeeeee: small; dddddddd: small_cpc.",
        "Not all rows are probed on the same data, so compare within one only: "
        "aaaaaaaa: small; cccccccc: small_cpc.",
    )


def test_a_supervised_row_may_be_trained_on_another_split_which_is_said(runs: Path) -> None:
    data = IMAGES | {"train_split": "train"}
    write_stage(runs, "small_supervised/1", data=data, data_sha256="d" * 64)
    assert table(runs, 1).notes == ()
    assert row(runs, 1, "Supervised").notes == (
        'trained on other data than small (train_split: "unlabeled" → "train")',
    )


def test_other_channels_and_crops_are_said(runs: Path) -> None:
    data = IMAGES | {"channels": "rgb", "mean": [0.4] * 3, "std": [0.2] * 3}
    data |= {"views": {**IMAGES["views"], "crop_px": 64}}
    own = several("end_to_end", "resnet", "resnet")
    write_stage(runs, "small_dim/1", data=data, own=own)
    assert row(runs, 1, "Deep InfoMax").notes == (
        'trained on other data than small (channels: "gray" → "rgb"; views.crop_px: 56 → 64)',
    )


def test_the_last_module_of_a_stage_is_what_the_table_shows(runs: Path) -> None:
    write_probe(runs, "small_cpc/probe", {"1.10": 0.5, "1.9": 0.4, "1.1": 0.3})
    found = row(runs, 1, "CPC").cells[PAPER]
    assert (found.mean, found.source) == (pytest.approx(50), "small_cpc, module 1.10")


def test_samples_are_those_a_recipe_was_trained_on(runs: Path) -> None:
    training = {"steps": 20, "seconds": 2.5, "samples": 43}
    write_stage(runs, "small_cpc/1", training=training, features=None)
    assert row(runs, 1, "CPC").costs[0].samples == 43
    assert row(runs, 1, GIM).costs[0].samples == 48


def test_the_first_module_of_table_2_is_no_other_though_it_is_not_done(tmp_path: Path) -> None:
    write_stage(tmp_path, "small/2", memory=memory(5, 6))
    found = {r.system: r.predicted_bytes for r in memory_tables(collect(tmp_path))[0].rows}
    assert found["Greedy InfoMax, first module"] is None
    assert found["Greedy InfoMax, largest module"] == 5


def test_a_recipe_that_trains_modules_together_is_no_base(tmp_path: Path) -> None:
    own = several("end_to_end", "conv1d", "conv1d", "gru")
    write_stage(tmp_path, "mine/1", own=own, data=SPEECH)
    write_probe(tmp_path, "mine/probe_phone", {"1.3": 0.5}, task="phone", data=SPEECH)
    assert collect(tmp_path).bases("speech") == []
    assert collect(tmp_path).of("mine")


def test_without_the_gru_there_is_nothing_where_what_it_reads_was_not_probed(speech: Path) -> None:
    write_probe(speech, "audio/probe_phone", {"4": 0.3, "6": 0.5}, task="phone", data=SPEECH)
    assert ("phone", "paper") not in row(speech, 4, "… without the GRU").cells


def test_rows_probed_with_other_settings_are_warned_about(runs: Path) -> None:
    write_probe(runs, "small_cpc/probe", {"1": 0.4}, epochs=9)
    assert table(runs, 1).notes == (
        "class, protocol paper: small_cpc, stage 1 is probed with other settings than "
        "small, stage 3 (epochs: 2 → 9).",
    )


def test_costs_are_sums_over_stages_and_means_over_seeds(runs: Path) -> None:
    cost = row(runs, 1, GIM).costs[0]
    assert (cost.seeds, cost.samples, cost.probe_samples) == (2, 48, (40, 80))
    assert (cost.steps, cost.disk_bytes, cost.seconds) == (60, 6_000_000, 7.5)


def test_memory_is_that_of_the_largest_stage(runs: Path) -> None:
    for number, size in {1: 3, 2: 5, 3: 4}.items():
        write_stage(runs, f"small/{number}", memory=memory(size, size + 1))
    write_stage(runs, "small_simultaneous/1", memory=memory(6, 8))
    found = {
        r.system: (r.predicted_bytes, r.measured_bytes)
        for r in memory_tables(collect(runs))[0].rows
    }
    assert found == {
        "Supervised": (None, None),
        "CPC": (None, None),
        "Greedy InfoMax, all modules at once": (6, 8),
        "Greedy InfoMax, first module": (3, 4),
        "Greedy InfoMax, largest module": (5, 6),
    }


def memory(predicted: int, measured: int) -> dict[str, Any]:
    return {"predicted_reserved_bytes": predicted, "measured_reserved_bytes": measured}


OWN = IMAGES | {"source": "images", "train_split": "train"}


def test_of_own_data_only_what_was_run_is_told(tmp_path: Path) -> None:
    write_stage(tmp_path, "cats/1", data=OWN)
    write_probe(tmp_path, "cats/probe", {"1": 0.5, "pixels": 0.25}, data=OWN)
    report = collect(tmp_path)
    (only,) = paper_tables(report)
    assert [r.system.name for r in only.rows] == [GIM, "Randomly initialised", "Pixels"]
    assert all(r.run for r in only.rows)
    assert memory_tables(report) == []
    write_stage(tmp_path, "cats_simultaneous/1", data=OWN)
    (memory,) = memory_tables(collect(tmp_path))
    assert [r.system for r in memory.rows] == [
        "Greedy InfoMax, all modules at once",
        "Greedy InfoMax, first module",
        "Greedy InfoMax, largest module",
    ]


def test_a_report_of_own_data_has_no_section_of_what_was_not_run(tmp_path: Path) -> None:
    write_stage(tmp_path / "runs", "cats/1", data=OWN)
    write_probe(tmp_path / "runs", "cats/probe", {"1": 0.5}, data=OWN)
    write_report(collect(tmp_path / "runs"), out=tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "not run" not in text
    assert [line for line in text.splitlines() if line.startswith("## T")] == ["## Table 1"]


def test_of_own_labels_that_the_paper_has_not_there_is_no_table(tmp_path: Path) -> None:
    write_stage(tmp_path, "cats/1", data=OWN)
    write_probe(tmp_path, "cats/probe", {"1": 0.5}, task="colour", data=OWN)
    assert summary(collect(tmp_path)) == []


def test_own_data_beside_a_demo_leaves_the_demos_tables_whole(runs: Path) -> None:
    before = len(row_names(runs))
    write_stage(runs, "cats/1", data=OWN)
    write_probe(runs, "cats/probe", {"1": 0.5}, data=OWN)
    assert len(row_names(runs)) == before + 2


def row_names(runs: Path) -> list[str]:
    return [r.system.name for found in paper_tables(collect(runs)) for r in found.rows]


def test_every_module_stands_beside_itself_before_training(runs: Path) -> None:
    report = collect(runs)
    rows = [r for r in module_table(report, report.groups[0]).rows if r.protocol == "paper"]
    assert [r.stage for r in rows] == ["1", "2", "3", "pixels"]
    assert rows[0].accuracy
    assert rows[0].random_init
    assert rows[0].random_init.mean == pytest.approx(rows[0].accuracy.mean / 2)
    assert rows[3].random_init is None


@pytest.mark.parametrize(
    ("recipe", "base", "suffix"),
    [
        ("stl10_small", "stl10_small", ""),
        ("stl10_small_cpc", "stl10_small", "_cpc"),
        ("stl10_greedy_supervised", "stl10", "_greedy_supervised"),
        ("demo_audio_greedy_supervised_phone", "demo_audio", "_greedy_supervised_phone"),
        ("librispeech_small_no_bptt", "librispeech_small", "_no_bptt"),
        ("stl10_dim", "stl10", "_dim"),
        ("stl10_dim_jsd", "stl10", "_dim_jsd"),
        ("stl10_small_pixelcnn", "stl10_small", "_pixelcnn"),
        ("librispeech_supervised_speaker", "librispeech", "_supervised_speaker"),
        ("_cpc", "_cpc", ""),
    ],
)
def test_a_recipe_belongs_to_a_base_by_its_name(recipe: str, base: str, suffix: str) -> None:
    assert base_of(recipe) == (base, suffix)


def test_the_summary_has_a_row_per_system(runs: Path) -> None:
    rows = summary(collect(runs))
    assert rows[0] == {
        "table": "1",
        "base": "small",
        "system": GIM,
        "data": "synthetic images (demo)",
        "published": "class (81.9 ± 0.3)",
        "ours": "class paper 53.0 ± 4.2 (2)\nclass converged 53.0 ± 4.2 (2)",
    }
    assert rows[2]["ours"] == "not run"
    assert {entry["table"] for entry in rows} == {"1", "3", "4"}
