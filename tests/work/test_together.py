"""Several modules in one stage, trained and probed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.homes import RECIPES, StopAfter, open_pipeline
from helpers.recipes import (
    PER_IMAGE,
    PROBE,
    deep_infomax,
    lay_out,
    pipeline_of,
    predsim,
    together,
    toml,
)
from torch import Tensor

from gimstage.progress import Interrupted
from gimstage.recipe.recipe import Recipe
from gimstage.runs.tensors import read_tensors
from gimstage.stack import own_classifiers, random_stack, trained_stack
from gimstage.train.metrics import read_lines
from gimstage.work.pipeline import Pipeline


def run(home: Path, recipe: str, stage: dict[str, Any], **settings: Any) -> Pipeline:
    pipeline = open_pipeline(lay_out(home, recipe, stage), home / "runs", **settings)
    pipeline.train_stage(1)
    return pipeline


def weights(home: Path, key: str) -> dict[str, Tensor]:
    return read_tensors(home / "runs" / key / "weights.safetensors").tensors


@pytest.mark.parametrize("recipe", ["tiny", "tiny_audio"])
def test_the_first_module_learns_the_same_alone_and_side_by_side(
    recipe: str, tmp_path: Path
) -> None:
    run(tmp_path, recipe, together(recipe, "isolated"))
    open_pipeline(tmp_path / recipe, tmp_path / "runs").train_stage(1)
    alone, joined = weights(tmp_path, f"{recipe}/1"), weights(tmp_path, "all/1")
    for name, values in alone.items():
        assert torch.equal(joined[f"row.0.{name}"], values)


def test_a_module_is_updated_at_every_so_many_steps_only(tmp_path: Path) -> None:
    initial = random_stack(Recipe.load(RECIPES / "tiny").chain(3)).parts
    states = []
    for steps in (1, 2, 3, 4):
        home = tmp_path / str(steps)
        run(home, "tiny", together("tiny", "isolated", update_every=(1, 3, 2), steps=steps))
        states.append(weights(home, "all/1"))

    def changed(number: int, before: dict[str, Tensor], after: dict[str, Tensor]) -> bool:
        names = [name for name in after if name.startswith(f"row.{number}.")]
        return not all(torch.equal(before[name], after[name]) for name in names)

    first = {f"row.{i}.{n}": v for i, p in enumerate(initial) for n, v in p.state_dict().items()}
    pairs = list(zip([first, *states], states, strict=False))
    found = [[changed(number, *pair) for pair in pairs] for number in range(3)]
    assert found == [[True] * 4, [True, False, False, True], [True, False, True, False]]


def test_the_lines_tell_modules_apart(tmp_path: Path) -> None:
    run(tmp_path, "tiny", together("tiny", "isolated"))
    for line in read_lines(tmp_path / "runs/all/1/metrics.jsonl"):
        losses = [module["loss"] for module in line["modules"]]
        accuracies = [module["accuracy"] for module in line["modules"]]
        assert len(losses) == 3
        assert line["loss"] == pytest.approx(sum(losses))
        assert line["accuracy"] == pytest.approx(sum(accuracies) / 3)
        assert [len(module["loss_per_step"]) for module in line["modules"]] == [4, 4, 4]


def probed(home: Path, stage: dict[str, Any]) -> list[tuple[str, str]]:
    """Stages and protocols of the rows of a recipe's probe."""
    pipeline = pipeline_of(home, stage)
    (home / "all/probe.toml").write_text(toml(PROBE))
    rows = open_pipeline(home / "all", pipeline.root).run()
    assert all(0 <= row["accuracy"] <= 1 for row in rows)
    assert [row["random_init"] is None for row in rows] == [r["protocol"] == "own" for r in rows]
    return [(row["stage"], row["protocol"]) for row in rows]


def test_a_probe_has_a_row_for_every_module_and_for_every_classifier(tmp_path: Path) -> None:
    greedy = together("tiny", "isolated", objective=PER_IMAGE)
    joint = together("tiny", "end_to_end", objective=PER_IMAGE)
    numbers = ["1.1", "1.2", "1.3"]
    linear = [(number, "converged") for number in numbers]
    assert probed(tmp_path / "greedy", greedy) == linear + [(n, "own") for n in numbers]
    assert probed(tmp_path / "joint", joint) == [*linear, ("1.3", "own")]
    assert probed(tmp_path / "predsim", predsim()) == [*linear, ("1.3", "own")]


def test_the_own_classifier_is_the_one_that_was_trained(tmp_path: Path) -> None:
    stage = together("tiny", "end_to_end", objective=PER_IMAGE, steps=1)
    probed(tmp_path, stage)
    pipe = open_pipeline(tmp_path / "all", tmp_path / "runs")
    own = next(row for row in pipe.probe("probe") if row["protocol"] == "own")
    chain = pipe.recipe.chain(1)
    stack, (head,) = trained_stack(pipe.runs, chain), own_classifiers(pipe.runs, chain).values()
    split, live = pipe.data.split("test"), pipe.data.spec.live_views()
    where = live.centre(np.arange(len(split)))
    source = pipe.data.pixels(split)
    x = source.prepare(source.fill(source.buffer(len(split), live.crop_patches), where), where)
    codes = stack.codes(x)["all/1.3"].flatten(1, -2).mean(1)
    told = head(codes).argmax(1).numpy()
    assert own["accuracy"] == (told == split.require_labels()).mean()


def test_a_pixelcnn_learns_on_top_of_frozen_modules(tmp_path: Path) -> None:
    stage = together("tiny", "isolated")
    for key in ("mode", "modules"):
        del stage[key]
    stage |= {"input": "tiny/3", "module": {"kind": "pixelcnn", "layers": 2}}
    folder = lay_out(tmp_path, "tiny", stage)
    path = next((tmp_path / "tiny").glob("3_*.toml"))
    path.write_text(path.read_text().replace("relu = true", "relu = false"))
    plain = {key: value for key, value in PROBE.items() if key != "own"}
    (folder / "probe.toml").write_text(toml(plain))
    open_pipeline(tmp_path / "tiny", tmp_path / "runs").run()
    (row,) = open_pipeline(folder, tmp_path / "runs").run()
    assert (row["stage"], row["protocol"]) == ("1", "converged")
    assert row["random_init"] is not None


@pytest.mark.parametrize(
    "stage",
    [
        together("tiny", "isolated"),
        together("tiny", "end_to_end", objective=PER_IMAGE),
        predsim(),
        deep_infomax(),
    ],
    ids=["isolated", "end to end", "batch statistics and dropout", "deep infomax"],
)
def test_interrupted_training_ends_in_the_same_bits(stage: dict[str, Any], tmp_path: Path) -> None:
    pipeline_of(tmp_path / "whole", stage).train_stage(1)
    home = tmp_path / "cut"
    with pytest.raises(Interrupted):
        pipeline_of(home, stage, watch=StopAfter(5)).train_stage(1)
    assert not (home / "runs/all/1/weights.safetensors").exists()
    torch.rand(7)  # what others draw from the global generator is of no account
    open_pipeline(home / "all", home / "runs").train_stage(1)
    names = ("weights.safetensors", "objective.safetensors")
    whole, cut = (
        [(each / "runs/all/1" / name).read_bytes() for name in names]
        for each in (tmp_path / "whole", home)
    )
    assert cut == whole


def test_layers_on_whole_images_store_their_features(tmp_path: Path) -> None:
    """Predsim one layer after another, as everything else here."""
    stage = predsim()
    layer = {key: value for key, value in stage["modules"][0].items() if key != "update_every"}
    output = {"store": "features", "encoding": "float16", "relu": False, "codes": False}
    first = {k: v for k, v in stage.items() if k not in ("mode", "modules")}
    pipe = pipeline_of(tmp_path, first | {"module": layer, "output": output})
    pipe.train_stage(1)
    assert pipe.runs.require(pipe.recipe.chain(1)).features.shape[:4] == [40, 1, 1, 1]
