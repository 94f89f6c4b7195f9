"""The share of the samples that is held out: never learned from, looked at on the way."""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.homes import CPU, StopAfter, open_pipeline
from helpers.recipes import (
    PER_PHONE,
    WHOLE_IMAGES,
    lay_out,
    predsim,
    split_off,
    together,
    toml,
)

from gimstage.draws import generator
from gimstage.errors import DataError
from gimstage.inputs.draws import divided
from gimstage.progress import Interrupted
from gimstage.report.raw import find_raw
from gimstage.specs import ValidationSpec
from gimstage.stack import Learner, load_weights, new_learners, whole_module
from gimstage.train.loop import load_samples
from gimstage.train.metrics import read_lines
from gimstage.train.step import Batch, validation_step
from gimstage.work.pipeline import Pipeline

HELD = {"share": 0.25, "seed": 5, "evaluations": 3, "batches": 1}


def chain_home(home: Path, recipe: str = "tiny", **held: Any) -> Path:
    """A home with a recipe that holds samples out."""
    folder = lay_out(home, recipe, together(recipe, "isolated"))
    data = tomllib.loads((home / recipe / "data.toml").read_text())
    (home / recipe / "data.toml").write_text(toml(data | {"validation": HELD | held}))
    return folder


def lines(home: Path, key: str) -> list[dict[str, Any]]:
    return read_lines(home / "runs" / key / "metrics.jsonl")


def test_a_share_is_held_out_drawn_from_its_seed() -> None:
    samples = np.arange(40)
    spec = ValidationSpec(share=0.25, seed=5, evaluations=1, batches=1)
    found, again = divided(samples, spec), divided(samples, spec)
    other = divided(samples, spec.model_copy(update={"seed": 6}))
    assert len(found.held_out) == 10
    assert sorted([*found.trained, *found.held_out]) == list(samples)
    assert np.array_equal(found.held_out, again.held_out)
    assert not np.array_equal(found.held_out, other.held_out)
    assert divided(samples, None).trained is samples


@pytest.mark.parametrize("recipe", ["tiny", "tiny_audio"])
def test_what_is_held_out_is_never_learned_from(recipe: str, tmp_path: Path) -> None:
    chain_home(tmp_path, recipe, share=0.4)
    pipe = open_pipeline(tmp_path / recipe, tmp_path / "runs")
    for number in (1, 2):
        draws = pipe.data.draws(pipe.recipe.chain(number))
        division = pipe.data.samples(pipe.recipe.chain(number))
        seen = {int(i) for step in range(30) for i in _samples(draws(step))}
        assert seen == set(division.trained.tolist())
        looked_at = {int(i) for where in draws.held_out for i in _samples(where)}
        assert looked_at
        assert looked_at <= set(division.held_out.tolist())


def test_what_a_stage_holds_out_no_stage_below_has_seen(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "tiny_audio", together("tiny_audio", "isolated"))
    split_off(folder, validation=HELD | {"share": 0.5})
    phones = together("tiny_audio", "end_to_end", objective=PER_PHONE) | {"input": "all/data"}
    labelled = lay_out(tmp_path, "tiny_audio", phones, name="phones")
    pipe = open_pipeline(folder, tmp_path / "runs")
    path = pipe.data.train.phone_file
    path.write_text("".join(path.read_text().splitlines(keepends=True)[::2]))
    below = pipe.data.samples(pipe.recipe.chain(1))
    pipe = open_pipeline(labelled, tmp_path / "runs")
    found = pipe.data.samples(pipe.recipe.chain(1))
    assert 0 < len(found.held_out) < len(below.held_out)
    assert not set(found.held_out) & set(below.trained)
    assert not set(found.trained) & set(below.held_out)


def _samples(where: Any) -> np.ndarray:
    return where.sample if hasattr(where, "sample") else where.entry


def test_every_stage_has_its_validation_loss_as_often_as_asked(tmp_path: Path) -> None:
    chain_home(tmp_path)
    pipe = open_pipeline(tmp_path / "tiny", tmp_path / "runs")
    for number in (1, 2):
        pipe.train_stage(number)
        found = [line["step"] for line in lines(tmp_path, f"tiny/{number}") if _judged(line)]
        assert found == [1, 4, 8, 12]


def _judged(line: dict[str, Any]) -> bool:
    return {"validation_loss", "validation_accuracy"} <= line.keys()


def test_side_by_side_every_module_has_one(tmp_path: Path) -> None:
    folder = chain_home(tmp_path)
    open_pipeline(folder, tmp_path / "runs").train_stage(1)
    for line in filter(_judged, lines(tmp_path, "all/1")):
        losses = [module["validation_loss"] for module in line["modules"]]
        assert line["validation_loss"] == pytest.approx(sum(losses))
    assert sum(map(_judged, lines(tmp_path, "all/1"))) == 4


def test_the_last_validation_loss_is_that_of_the_weights_left(tmp_path: Path) -> None:
    chain_home(tmp_path)
    pipe = open_pipeline(tmp_path / "tiny", tmp_path / "runs")
    pipe.train_stage(1)
    chain = pipe.recipe.chain(1)
    (learner,) = new_learners(chain)
    folder = pipe.runs.stage_folder(chain)
    load_weights(learner.module, folder.weights, sha256=None)
    load_weights(learner.objective, folder.objective, sha256=None)
    source, draws = pipe.data.source(), pipe.data.draws(chain)
    (where,) = draws.held_out
    raw = source.fill(source.buffer(8, draws.size), where)
    (values,) = validation_step(
        [Learner(whole_module([learner]).eval(), learner.objective, 1, 1)],
        Batch(
            load=lambda a, b: load_samples(source, raw, where, CPU, a, b),
            count=8,
            labels=None,
            rngs=[generator(2, "validation-negatives", 1, 0)],
        ),
        precision="float32",
        micro_batch=8,
    )
    last = lines(tmp_path, "tiny/1")[-1]
    assert last["validation_loss"] == pytest.approx(float(values[0]), rel=1e-6)
    assert last["validation_accuracy"] == pytest.approx(float(values[1]), rel=1e-6)


def weights(home: Path, key: str) -> bytes:
    return (home / "runs" / key / "weights.safetensors").read_bytes()


def with_batch_statistics(home: Path, **held: Any) -> Pipeline:
    """Layers with batch norm and dropout, on labelled images."""
    folder = lay_out(home, "tiny", predsim())
    split_off(folder, train_split="train", validation=HELD | held, **WHOLE_IMAGES)
    return open_pipeline(folder, home / "runs")


def test_how_often_it_is_looked_at_moves_no_weight(tmp_path: Path) -> None:
    for name, evaluations in (("often", 12), ("once", 1)):
        with_batch_statistics(tmp_path / name, evaluations=evaluations).train_stage(1)
    often, once = (weights(tmp_path / name, "all/1") for name in ("often", "once"))
    assert often == once
    assert len(lines(tmp_path / "often", "all/1")) == 12


def test_only_what_is_held_out_is_part_of_what_a_stage_is(tmp_path: Path) -> None:
    chain_home(tmp_path)
    open_pipeline(tmp_path / "tiny", tmp_path / "runs").train_stage(1)
    data = tmp_path / "tiny/data.toml"
    data.write_text(data.read_text().replace("evaluations = 3", "evaluations = 2"))
    assert open_pipeline(tmp_path / "tiny", tmp_path / "runs").statuses()[0].state == "done"
    data.write_text(data.read_text().replace("share = 0.25", "share = 0.5"))
    status = open_pipeline(tmp_path / "tiny", tmp_path / "runs").statuses()[0]
    assert (status.state, status.why) == ("stale", ("data.validation.share: 0.25 → 0.5",))


def test_a_report_finds_the_images_of_such_a_stage(tmp_path: Path) -> None:
    chain_home(tmp_path)
    pipe = open_pipeline(tmp_path / "tiny", tmp_path / "runs")
    pipe.train_stage(1)
    manifest = pipe.runs.require(pipe.recipe.chain(1))
    found = find_raw(manifest, tmp_path / "runs", None)
    assert found is not None
    assert found.root == pipe.data.root


def test_interrupted_curves_go_on_as_if_they_had_not_been(tmp_path: Path) -> None:
    for name in ("whole", "cut"):
        chain_home(tmp_path / name, evaluations=12)
    open_pipeline(tmp_path / "whole/tiny", tmp_path / "whole/runs").train_stage(1)
    cut = open_pipeline(tmp_path / "cut/tiny", tmp_path / "cut/runs", StopAfter(5))
    with pytest.raises(Interrupted):
        cut.train_stage(1)
    open_pipeline(tmp_path / "cut/tiny", tmp_path / "cut/runs").train_stage(1)
    keys = ("step", "loss", "validation_loss", "validation_accuracy")
    whole, cut_lines = (
        [[line[key] for key in keys] for line in lines(tmp_path / name, "tiny/1")]
        for name in ("whole", "cut")
    )
    assert cut_lines == whole


def test_too_few_samples_held_out_are_refused(tmp_path: Path) -> None:
    chain_home(tmp_path, share=0.1)
    with pytest.raises(DataError) as error:
        open_pipeline(tmp_path / "tiny", tmp_path / "runs").train_stage(1)
    assert str(error.value) == (
        "stage tiny/1, [validation]: 5 samples held out; expected at least one batch of 8; raise "
        "share, use more data or a smaller batch_size"
    )
