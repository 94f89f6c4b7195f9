"""Stages of several modules that are refused."""

from pathlib import Path
from typing import Any

import pytest
from helpers.recipes import (
    LAYER,
    PER_IMAGE,
    PER_PHONE,
    PREDSIM,
    PROBE,
    deep_infomax,
    lay_out,
    predsim,
    split_off,
    together,
    toml,
)

from gimstage.errors import RecipeError
from gimstage.recipe.recipe import Recipe


def test_asking_for_a_classifier_that_no_stage_has_is_refused(tmp_path: Path) -> None:
    folder = lay_out(tmp_path, "tiny", together("tiny", "isolated"))
    (folder / "probe.toml").write_text(toml(PROBE))
    with pytest.raises(RecipeError) as error:
        Recipe.load(folder)
    assert str(error.value) == (
        f"{folder / 'probe'}.toml own: true, but no input was trained to classify; expected a "
        'stage with an objective of kind = "supervised" and per = "sample"; remove own'
    )


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
            'stage all/1 [output] store: "features" of several modules on sequences in a row, '
            'which encode whole sequences only; expected "none": such a stage is probed, and hands '
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
        'expected "speaker", "phone", "label" or "frames"'
    )


def test_a_key_of_a_module_is_named_with_its_nearest(tmp_path: Path) -> None:
    stage = together("tiny", "isolated")
    stage["modules"][1]["widht"] = stage["modules"][1].pop("width")
    assert refusal(tmp_path, "tiny", stage) == (
        "1_all.toml [modules 2] widht: unknown key; did you mean 'width'?"
    )
