"""Several modules in one stage: each on its own loss, or all on one."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.homes import RECIPES, STAGES, StopAfter, open_pipeline
from helpers.recipes import (
    LAYER,
    PER_IMAGE,
    PER_PHONE,
    PREDSIM,
    WHOLE_IMAGES,
    lay_out,
    predsim,
    split_off,
    together,
    toml,
)
from torch import Tensor
from torch.testing import assert_close

from gimstage.draws import generator
from gimstage.errors import RecipeError
from gimstage.plan.fit import predicted_peak
from gimstage.progress import Interrupted
from gimstage.recipe.chain import Chain
from gimstage.recipe.recipe import Recipe
from gimstage.runs.tensors import read_tensors
from gimstage.specs import ImageDataSpec
from gimstage.stack import (
    Learner,
    new_learners,
    own_classifiers,
    random_stack,
    stand_in_labels,
    trained_stack,
)
from gimstage.train.metrics import read_lines
from gimstage.train.step import Batch, training_step
from gimstage.work.pipeline import Pipeline

COUNT = 5
KINDS = ["tiny", "tiny_audio"]
EXACT: dict[str, Any] = {"rtol": 0, "atol": 1e-12}
DIM = {"kind": "deep_infomax", "hidden_channels": 6, "loss": "infonce"}
ALEXNET = {"kind": "folded_alexnet", "widths": [4, 4, 6, 6, 5], "global_channels": 7}

Grads = dict[str, Tensor]


@pytest.fixture
def chain(tmp_path: Path) -> Callable[..., Chain]:
    """The chain of a stage of several modules."""

    def make(recipe: str, mode: str, **changes: Any) -> Chain:
        folder = lay_out(tmp_path, recipe, together(recipe, mode, **changes))
        return Recipe.load(folder).chain(1)

    return make


def doubled(learners: list[Learner]) -> list[Learner]:
    """In float64, with losses that are no plain chance."""
    for learner in learners:
        learner.module.double()
        learner.objective.double()
        with torch.no_grad():
            for name, weight in learner.objective.named_parameters():
                weight.mul_(3 if "projections" in name else 1)
    return learners


def batch_of(chain: Chain) -> Tensor:
    shape = chain.shapes()[0]
    if isinstance(chain.data, ImageDataSpec):
        side = chain.data.live_views().crop_patches
        shape = (side, side, *shape)
    return torch.randn(
        COUNT, *shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64
    )


def gradients(
    learners: list[Learner],
    batch: Tensor,
    *,
    micro_batch: int = COUNT,
    labels: Tensor | None = None,
    due: list[bool] | None = None,
) -> list[Grads]:
    """Of every parameter of each learner after one step, and its loss."""
    parts = [part for each in learners for part in (each.module, each.objective)]
    still = torch.optim.SGD([p for part in parts for p in part.parameters()], lr=0.0)
    rngs = [generator(1, "test", learner.position) for learner in learners]
    values = training_step(
        learners,
        Batch(load=lambda a, b: batch[a:b], count=COUNT, labels=labels, rngs=rngs),
        optimiser=still,
        precision="float32",
        micro_batch=micro_batch,
        due=due or [True for _ in learners],
    )
    return [
        {n: p.grad.clone() for n, p in named(each) if p.grad is not None} | {"loss": value[0]}
        for each, value in zip(learners, values, strict=True)
    ]


def named(learner: Learner) -> Iterator[tuple[str, torch.nn.Parameter]]:
    yield from ((f"module.{n}", p) for n, p in learner.module.named_parameters())
    yield from ((f"objective.{n}", p) for n, p in learner.objective.named_parameters())


def assert_equal(found: list[Grads], expected: list[Grads]) -> None:
    assert [each.keys() for each in found] == [each.keys() for each in expected]
    for one, other in zip(found, expected, strict=True):
        for name, gradient in other.items():
            scale = gradient.abs().max().item() or 1.0
            assert_close(one[name] / scale, gradient / scale, **EXACT)


@pytest.mark.parametrize("recipe", KINDS)
def test_side_by_side_a_module_has_the_gradient_it_has_alone(
    recipe: str, chain: Callable[..., Chain]
) -> None:
    whole = chain(recipe, "isolated")
    learners, batch = doubled(new_learners(whole)), batch_of(whole)
    found = gradients(learners, batch)
    base, alone = Recipe.load(RECIPES / recipe), []
    for number in base.stages:
        (learner,) = doubled(new_learners(base.chain(number)))
        alone += gradients([learner], batch)
        with torch.no_grad():
            batch = learner.module(batch)
    assert_equal(found, alone)


@pytest.mark.parametrize("recipe", KINDS)
@pytest.mark.parametrize("mode", ["isolated", "end_to_end"])
def test_weights_start_as_those_of_stages_in_a_row(
    recipe: str, mode: str, chain: Callable[..., Chain]
) -> None:
    base = Recipe.load(RECIPES / recipe)
    apart, joined = random_stack(base.chain(len(base.stages))), random_stack(chain(recipe, mode))
    assert joined.names == [f"all/1.{n}" for n in range(1, len(apart.parts) + 1)]
    for one, other in zip(apart.parts, joined.parts, strict=True):
        assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("recipe", KINDS)
def test_a_loss_reaches_its_own_module_only(recipe: str, chain: Callable[..., Chain]) -> None:
    learners = doubled(new_learners(whole := chain(recipe, "isolated")))
    for turn in range(len(learners)):
        due = [number == turn for number in range(len(learners))]
        found = gradients(learners, batch_of(whole), due=due)
        assert [each.keys() != {"loss"} for each in found] == due


@pytest.mark.parametrize("recipe", KINDS)
def test_end_to_end_one_loss_reaches_every_module(recipe: str, chain: Callable[..., Chain]) -> None:
    whole = chain(recipe, "end_to_end")
    (learner,) = learners = doubled(new_learners(whole))
    (found,) = gradients(learners, batch_of(whole))
    assert found.keys() == {name for name, _ in named(learner)} | {"loss"}
    assert all(bool(gradient.any()) for gradient in found.values())


@pytest.mark.parametrize(
    ("recipe", "mode", "changes"),
    [
        ("tiny", "isolated", {}),
        ("tiny_audio", "isolated", {}),
        ("tiny", "end_to_end", {}),
        ("tiny_audio", "end_to_end", {}),
        ("tiny", "end_to_end", {"objective": PER_IMAGE}),
        ("tiny", "isolated", {"objective": PER_IMAGE}),
        ("tiny_audio", "end_to_end", {"objective": PER_PHONE}),
        ("tiny_audio", "isolated", {"objective": PER_PHONE}),
    ],
)
@pytest.mark.parametrize(("micro_batch", "checkpointing"), [(COUNT, True), (2, False), (1, True)])
def test_every_setting_gives_the_plain_gradient(
    recipe: str,
    mode: str,
    changes: dict[str, Any],
    micro_batch: int,
    checkpointing: bool,
    chain: Callable[..., Chain],
) -> None:
    whole = chain(recipe, mode, **changes)
    learners, labels = doubled(new_learners(whole)), stand_in_labels(whole, COUNT)
    plain = gradients(learners, batch_of(whole), labels=labels)
    for learner in learners:
        learner.module.checkpointing = checkpointing
    cut = gradients(learners, batch_of(whole), labels=labels, micro_batch=micro_batch)
    assert_equal(cut, plain)


@pytest.mark.parametrize("due", [[True, False, True], [False, True, False], [False] * 3])
def test_modules_that_are_not_due_are_passed_over_in_parts_too(
    due: list[bool], chain: Callable[..., Chain]
) -> None:
    learners = doubled(new_learners(whole := chain("tiny", "isolated")))
    plain = gradients(learners, batch_of(whole), due=due)
    assert [each.keys() != {"loss"} for each in plain] == due
    assert_equal(gradients(learners, batch_of(whole), due=due, micro_batch=2), plain)


def test_cpc_on_images_gives_the_plain_gradient_in_parts(chain: Callable[..., Chain]) -> None:
    loss = together("tiny", "end_to_end")["objective"]
    loss["context"] = {"kind": "pixelcnn", "layers": 2}
    whole = chain("tiny", "end_to_end", objective=loss)
    learners = doubled(new_learners(whole))
    plain = gradients(learners, batch_of(whole))
    assert "objective.context.out.weight" in plain[0]
    assert_equal(gradients(learners, batch_of(whole), micro_batch=2), plain)


def run(home: Path, recipe: str, stage: dict[str, Any], **settings: Any) -> Pipeline:
    pipeline = open_pipeline(lay_out(home, recipe, stage), home / "runs", **settings)
    pipeline.train_stage(1)
    return pipeline


def weights(home: Path, key: str) -> dict[str, Tensor]:
    return read_tensors(home / "runs" / key / "weights.safetensors")


@pytest.mark.parametrize("recipe", KINDS)
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


def deep_infomax() -> dict[str, Any]:
    stage = together("tiny", "end_to_end", objective=DIM)
    del stage["mode"], stage["modules"]
    return stage | {"module": ALEXNET}


def pipeline_of(home: Path, stage: dict[str, Any], **settings: Any) -> Pipeline:
    """A pipeline on labelled images, whole ones for layers that read them so."""
    folder = lay_out(home, "tiny", stage)
    layers = "vgg_layer" in toml(stage)
    split_off(folder, train_split="train", **(WHOLE_IMAGES if layers else {}))
    return open_pipeline(folder, home / "runs", **settings)


PROBE = {
    "inputs": [1],
    "weights": "trained",
    "task": "class",
    "train_split": "train",
    "test_split": "test",
    "pixels": False,
    "own": True,
    "converged": {"views": 1, "l2": [0.1], "validation_share": 0.2, "seed": 2},
}


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
    split, live = pipe.data.split("test"), pipe.data.live()
    where = live.centre(np.arange(len(split)))
    source = pipe.data.pixels(split)
    x = source.prepare(source.fill(source.buffer(len(split), live.crop_patches), where), where)
    codes = stack.codes(x)["all/1.3"].flatten(1, -2).mean(1)
    told = head(codes).argmax(1).numpy()
    assert own["accuracy"] == (told == split.require_labels()).mean()


def test_asking_for_a_classifier_that_no_stage_has_is_refused(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "tiny", together("tiny", "isolated"))
    (folder / "probe.toml").write_text(toml(PROBE))
    with pytest.raises(RecipeError) as error:
        Recipe.load(folder)
    assert str(error.value) == (
        f"{folder / 'probe'}.toml own: true, but no input was trained to classify; expected a "
        'stage with an objective of kind = "supervised" and per = "sample"; remove own'
    )


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


def test_the_learning_rate_falls_where_the_recipe_says(tmp_path: Path) -> None:
    decay = {"factor": 0.25, "after": [0.5, 0.75]}
    chain = Recipe.load(lay_out(tmp_path, "tiny", together("tiny", "isolated", decay=decay))).chain(
        1
    )
    rates = [chain.last.spec.train.rate(step, 8) / 1e-3 for step in range(8)]
    assert rates == pytest.approx([1, 1, 1, 1, 0.25, 0.25, 0.0625, 0.0625])


def test_backward_in_turn_needs_less_than_the_sum(tmp_path: Path) -> None:
    side_by_side = Recipe.load(STAGES / "stl10_simultaneous").chain(1)
    whole = Recipe.load(STAGES / "stl10_cpc").chain(1)
    base = Recipe.load(STAGES / "stl10")
    alone = [predicted_peak(base.chain(number), 32, False) for number in (1, 2, 3)]
    found = predicted_peak(side_by_side, 32, False).allocated_bytes
    assert found < 0.7 * predicted_peak(whole, 32, False).allocated_bytes
    assert found < 0.6 * sum(peak.allocated_bytes for peak in alone)


SHRINKING = LAYER | {"channels": 4, "max_pool": True, "dropout": 0.0}


def refusal(home: Path, recipe: str, stage: dict[str, Any]) -> str:
    folder = lay_out(home, recipe, stage)
    with pytest.raises(RecipeError) as error:
        Recipe.load(folder)
    return str(error.value).removeprefix(f"{folder}/")


BOTH = {"module": {"kind": "gru", "channels": 3, "bptt": True}}


@pytest.mark.parametrize(
    ("recipe", "mode", "changes", "message"),
    [
        (
            "tiny",
            "isolated",
            {"mode": None},
            '1_all.toml: [[modules]] without mode; expected mode = "isolated" or "end_to_end" with '
            "[[modules]], and only there",
        ),
        (
            "tiny",
            "isolated",
            BOTH,
            "1_all.toml: [module] and [modules]; expected one [module], or [[modules]]",
        ),
        (
            "tiny",
            "isolated",
            {"objective": None},
            "1_all.toml: no [objective]; expected one",
        ),
        (
            "tiny",
            "isolated",
            {"mode": "end_to_end"},
            '1_all.toml: module 1 with update_every; expected it with mode = "isolated", and only '
            "there",
        ),
        (
            "tiny",
            "end_to_end",
            {"mode": "isolated"},
            '1_all.toml: module 1 without update_every; expected it with mode = "isolated", and '
            "only there",
        ),
        (
            "tiny_audio",
            "isolated",
            {"output": {"store": "features", "encoding": "float16", "relu": False, "codes": False}},
            'stage all/1 [output] store: "features" of several modules on speech in a row, which '
            'encode whole sequences only; expected "none": such a stage is probed, and hands '
            "nothing on",
        ),
        (
            "tiny",
            "isolated",
            {"objective": PREDSIM},
            'stage all/1 [objective] kind: "predsim" for a module of kind "resnet"; expected '
            '"infonce" or "supervised"',
        ),
        (
            "tiny",
            "isolated",
            {"objective": PER_PHONE},
            'stage all/1 [objective] per: "frame" for images; expected "sample"',
        ),
    ],
)
def test_what_cannot_be_trained_together_is_refused(
    recipe: str, mode: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    stage = together(recipe, mode) | changes
    stage = {key: value for key, value in stage.items() if value is not None}
    assert refusal(tmp_path, recipe, stage) == message


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (
            {**deep_infomax(), "module": {"kind": "identity"}, "objective": PER_IMAGE},
            '[module] kind: "identity" alone; expected a module with weights',
        ),
        (
            predsim() | {"train": predsim()["train"] | {"batch_size": 1}},
            "[train] batch_size: 1, for a module with batch statistics; expected at least 2",
        ),
        (
            predsim() | {"modules": [SHRINKING] * 4},
            "[module]: module 3, of which 4 × 0 × 0 would come out; expected at least 1 of each; "
            "choose smaller kernels and strides, or larger patches or crops",
        ),
        (
            deep_infomax() | {"objective": together("tiny", "isolated")["objective"]},
            '[objective] kind: "infonce" for a module of kind "folded_alexnet"; expected '
            '"deep_infomax"',
        ),
        (
            predsim(),
            '[objective] kind: "predsim" on crops of 6 × 6 patches; expected crops of one patch; '
            "set patch_px = crop_px in [views]: its loss is of whole images",
        ),
    ],
)
def test_a_module_or_loss_that_cannot_be_is_refused(
    stage: dict[str, Any], message: str, tmp_path: Path
) -> None:
    assert refusal(tmp_path, "tiny", stage) == f"stage all/1 {message}"


def test_a_bad_value_in_a_modules_own_loss_is_named(tmp_path: Path) -> None:
    stage = predsim()
    stage["modules"][2]["objective"] = PER_IMAGE | {"num_classes": 1}
    assert refusal(tmp_path, "tiny", stage) == (
        "1_all.toml [modules 3] [objective] num_classes: 1; expected greater than or equal to 2"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"modules": {"kind": "identity"}},
            "[modules]: a single table; expected [[modules]], once for each module; or [module] "
            "for one",
        ),
        (
            {"modules": [{"kind": "identity", "update_every": 1}]},
            "[modules]: one table; expected [[modules]] for several modules, [module] for one",
        ),
        (
            {"module": [{"kind": "identity"}]},
            "[module]: an array of tables; expected [module] for one, [[modules]] for several",
        ),
    ],
)
def test_one_table_for_several_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    stage = together("tiny", "isolated") | changes
    if "module" in changes:
        del stage["modules"]
    assert refusal(tmp_path, "tiny", stage) == f"1_all.toml {message}"


def test_a_loss_that_no_module_reads_is_refused(tmp_path: Path) -> None:
    stage = together("tiny", "isolated")
    for module in stage["modules"]:
        module["objective"] = PER_IMAGE
    assert refusal(tmp_path, "tiny", stage) == (
        "1_all.toml: [objective] that no module reads; expected it to be left out"
    )


def test_rates_that_fall_out_of_order_are_refused(tmp_path: Path) -> None:
    stage = together("tiny", "isolated", decay={"factor": 0.5, "after": [0.9, 0.2]})
    assert refusal(tmp_path, "tiny", stage) == (
        "1_all.toml [train] [decay] after: [0.9, 0.2]; expected shares that rise"
    )


def test_a_probe_of_other_data_than_its_recipes_is_refused(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "tiny", together("tiny", "isolated"))
    split_off(folder, train_split="train")
    plain = {key: value for key, value in PROBE.items() if key != "own"}
    (folder / "probe.toml").write_text(toml(plain | {"inputs": [1, "tiny/1"]}))
    with pytest.raises(RecipeError) as error:
        Recipe.load(folder)
    assert str(error.value) == (
        f"{folder / 'probe'}.toml inputs: stage tiny/1, on other data than the recipe's; expected "
        "stages that one data.toml leads to; probe the others in a recipe of their own"
    )


def test_classes_of_speech_are_refused(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "tiny_audio", together("tiny_audio", "isolated"))
    plain = {key: value for key, value in PROBE.items() if key != "own"}
    (folder / "probe.toml").write_text(toml(plain))
    with pytest.raises(RecipeError) as error:
        Recipe.load(folder)
    assert str(error.value) == (
        f'{folder / "probe"}.toml task: "class" of stage all/1, on source = "demo_speech"; '
        'expected "speaker" or "phone"'
    )


def test_layers_on_whole_images_store_their_features(tmp_path: Path) -> None:
    """Predsim one layer after another, as everything else here."""
    stage = predsim()
    layer = {key: value for key, value in stage["modules"][0].items() if key != "update_every"}
    output = {"store": "features", "encoding": "float16", "relu": False, "codes": False}
    first = {k: v for k, v in stage.items() if k not in ("mode", "modules")}
    pipe = pipeline_of(tmp_path, first | {"module": layer, "output": output})
    pipe.train_stage(1)
    assert pipe.runs.require(pipe.recipe.chain(1))["features"]["shape"][:4] == [40, 1, 1, 1]


def test_a_key_of_a_module_is_named_with_its_nearest(tmp_path: Path) -> None:
    stage = together("tiny", "isolated")
    stage["modules"][1]["widht"] = stage["modules"][1].pop("width")
    assert refusal(tmp_path, "tiny", stage) == (
        "1_all.toml [modules 2] widht: unknown key; did you mean 'width'?"
    )
