"""The whole chain on speech: what is trained, reused and left out."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from helpers.homes import StopAfter, at, bits, edit, recipe_of, states, why
from helpers.rows import features

from gimstage.inputs.rows import RecomputedRows, RowSource
from gimstage.plan import fit
from gimstage.plan.memory import Budget
from gimstage.progress import Interrupted
from gimstage.recipe.recipe import Recipe
from gimstage.views import Spans
from gimstage.work import stage


@pytest.fixture(scope="module")
def finished(finished_speech: Path) -> Path:
    """The small recipe is that of speech."""
    return finished_speech


def test_a_finished_chain_is_done_and_its_probes_have_their_rows(finished: Path) -> None:
    assert states(finished) == ["done"] * 8
    rows = [row for name in ("probe_speaker", "probe_phone") for row in at(finished).probe(name)]
    tasks = [(row["task"], row["protocol"], row["stage"]) for row in rows]
    inputs = [*"123456", "mfcc"]
    assert tasks == [
        (task, protocol, stage)
        for task in ("speaker", "phone")
        for protocol in ("converged", "paper")
        for stage in inputs
    ]
    assert all((row["random_init"] is None) == (row["stage"] == "mfcc") for row in rows)
    assert {row["chance"] for row in rows if row["task"] == "speaker"} == {1 / 3}


def test_a_stage_trains_alike_from_the_cache_and_from_the_frozen_modules(home: Path) -> None:
    losses = []
    for store in ("features", "none"):
        for number in (1, 2, 3, 4):
            edit(home, f"{number}_*.toml", 'store = "features"', f'store = "{store}"')
            if store == "features":
                edit(home, f"{number}_*.toml", '"float16"', '"float32"')
            elif features(home, number).exists():
                shutil.rmtree(features(home, number))
            at(home).train_stage(number)
        shutil.rmtree(home / "runs/tiny_audio/5", ignore_errors=True)
        at(home).train_stage(5)
        lines = (home / "runs/tiny_audio/5/metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss"] for line in lines])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)


@pytest.mark.parametrize("looks", [1, 4, 8])
def test_an_interrupted_run_goes_on_to_the_same_bits(
    fresh: Path, finished: Path, looks: int
) -> None:
    with pytest.raises(Interrupted):
        at(fresh, StopAfter(looks)).run()
    at(fresh).run()
    assert bits(fresh) == bits(finished)


def test_editing_a_convolution_makes_what_comes_after_stale(home: Path) -> None:
    edit(home, "4_*.toml", "kernel = 4", "kernel = 6")
    assert states(home) == ["done"] * 3 + ["stale"] * 5
    assert why(home, 4) == ("stage 4.module.kernel: 4 → 6",)


def test_a_stage_may_train_on_shorter_crops_than_the_next(fresh: Path) -> None:
    edit(fresh, "1_*.toml", "[module]", "[views]\ncrop_frames = 20\n\n[module]")
    pipeline = at(fresh)
    assert pipeline.data.draws(pipeline.recipe.chain(1)).size == 20 * 160
    assert pipeline.data.draws(pipeline.recipe.chain(2)).size == 4095
    pipeline.train_stage(1)
    assert RowSource(features(fresh, 1)).lengths.tolist() == [
        32 * frames - 1 for frames in pipeline.data.stored.frames
    ]


def test_a_recipe_without_bptt_reuses_the_convolutions(home: Path) -> None:
    other = home / "no_bptt"
    other.mkdir()
    text = (recipe_of(home) / "6_gru.toml").read_text()
    text = text.replace("input = 5", 'input = "tiny_audio/5"').replace(
        "bptt = true", "bptt = false"
    )
    (other / "1_gru.toml").write_text(text)
    before = {k: v for k, v in bits(home).items() if k[0] in "12345"}
    loaded = Recipe.load(other)
    pipeline = type(at(home))(
        loaded,
        at(home).data,
        root=home / "runs",
        settings=at(home).settings,
        watch=at(home).watch,
    )
    pipeline.run()
    assert {k: v for k, v in bits(home).items() if k[0] in "12345"} == before
    manifest = json.loads((home / "runs/no_bptt/1/manifest.json").read_text())
    assert manifest["upstream"]["stage"] == "tiny_audio/5"
    assert (
        pipeline.runs.stage_folder(loaded.chain(1)).weights.read_bytes()
        != (home / "runs/tiny_audio/6/weights.safetensors").read_bytes()
    )


def test_random_weights_are_probed_without_training(fresh: Path) -> None:
    for path in recipe_of(fresh).glob("probe*.toml"):
        path.write_text(path.read_text().replace('"trained"', '"random"'))
    rows = at(fresh).probe("probe_speaker")
    assert all(row["random_init"] is None for row in rows)
    assert at(fresh).probe_statuses()[1].state == "done"
    assert states(fresh)[:6] == ["missing"] * 6


def test_a_probe_without_labels_is_left_out_of_a_run_aloud(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    next((home / "runs/data").rglob("converted_aligned_phones.txt")).unlink()
    with caplog.at_level(logging.WARNING):
        rows = at(home).run()
    assert {row["task"] for row in rows} == {"speaker"}
    root = at(home).data.root
    assert caplog.messages == [
        f"tiny_audio/probe_phone is left out: {root}: no utterance of the split 'train' has phone "
        "labels; expected a line for at least one of them in converted_aligned_phones.txt; add the "
        "file, or the lines that are missing"
    ]


def test_a_stage_dropped_on_top_trains_on_the_contexts(home: Path) -> None:
    before = bits(home)
    text = (recipe_of(home) / "6_gru.toml").read_text()
    (recipe_of(home) / "7_more.toml").write_text(text.replace("input = 5", "input = 6"))
    at(home).train_stage(7)
    assert before.items() <= bits(home).items()


def test_a_convolution_and_a_gru_train_together(fresh: Path) -> None:
    for number in (1, 2, 3, 4):
        at(fresh).train_stage(number)
    for name in ("6_gru.toml", "probe_phone.toml", "probe_speaker.toml"):
        (recipe_of(fresh) / name).unlink()
    edit(fresh, "5_*.toml", '"conv1d"', '"conv1d_gru"\nhidden_channels = 6\nbptt = true')
    edit(fresh, "5_*.toml", "relu = true", "relu = false")
    at(fresh).train_stage(5)
    assert zarr.open_group(features(fresh, 5))["features"].shape[1] == 6


def test_a_gru_may_be_trained_on_every_convolution_and_is_not_handed_on(fresh: Path) -> None:
    context = '[objective.context]\nkind = "gru"\nchannels = 5\nbptt = true\n\n[train]'
    edit(fresh, "1_*.toml", "[train]", context)
    at(fresh).train_stage(1)
    folder = at(fresh).runs.stage_folder(at(fresh).recipe.chain(1))
    from safetensors import safe_open

    with safe_open(folder.objective, framework="pt") as file:
        names = set(file.keys())
    assert {name for name in names if name.startswith("context.gru.")}
    assert zarr.open_group(features(fresh, 1))["features"].shape[1] == 8


def test_the_record_of_memory_outlives_a_new_extraction(fresh: Path) -> None:
    budget = Budget(10**9, context_bytes=0, workspace_bytes=0, margin_share=0.0)
    at(fresh, budget=budget).train_stage(1)
    before = at(fresh).memory("1")
    edit(fresh, "1_*.toml", '"float16"', '"float32"')
    at(fresh).extract_stage(1)
    assert before is not None
    assert at(fresh).memory("1") == before


def test_recomputed_input_is_made_once_for_both_passes(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(home, "1_*.toml", '"features"', '"none"')
    shutil.rmtree(features(home, 1))
    shutil.rmtree(home / "runs/tiny_audio/2")
    plain = RecomputedRows.prepare
    calls = []

    def prepare(self: RecomputedRows, raw: torch.Tensor, where: Spans) -> torch.Tensor:
        calls.append(len(where))
        return plain(self, raw, where)

    def lean(chain: object, budget: object) -> fit.Setting:
        return fit.Setting(2, False, 1.3, fit.plain_setting(chain).peak)

    monkeypatch.setattr(RecomputedRows, "prepare", prepare)
    monkeypatch.setattr(stage, "choose", lean)
    at(home, budget=Budget(10**9, 0, 0, 0.0)).train_stage(2)
    trained = calls[: 6 * 2]
    assert trained == [2] * 12
