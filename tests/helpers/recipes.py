"""Recipes that train the modules of a small recipe together, written for a test."""

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

from gimstage.work.pipeline import Pipeline
from helpers.homes import RECIPES, open_pipeline

Table = dict[str, Any]
PER_IMAGE = {"kind": "supervised", "num_classes": 10, "per": "sample"}
PER_PHONE = {"kind": "supervised", "num_classes": 41, "per": "frame", "offset": 1}
PREDSIM = {"kind": "predsim", "num_classes": 10, "similarity_share": 0.99, "head_inputs": 16}
LAYER = {"kind": "vgg_layer", "kernel": 3, "stride": 2, "padding": 1, "update_every": 1}
DIM = {"kind": "deep_infomax", "hidden_channels": 6, "loss": "infonce"}
ALEXNET = {"kind": "folded_alexnet", "widths": [4, 4, 6, 6, 5], "global_channels": 7}
WHOLE_IMAGES = {
    "views": {"crop_px": 96, "flip": False, "patch_px": 96, "stride_px": 96, "cutout_px": 48},
    "stored_views": {"kind": "crops", "count": 1, "seed": 2},
}
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


def toml(table: Table, prefix: str = "") -> str:
    """A table as TOML: plain values first, then tables, then arrays of tables."""
    lines = [
        f"{key} = {json.dumps(value)}"
        for key, value in table.items()
        if not isinstance(value, dict) and not _tables(value)
    ]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += [f"\n[{prefix}{key}]", toml(value, f"{prefix}{key}.")]
        for each in value if _tables(value) else []:
            lines += [f"\n[[{prefix}{key}]]", toml(each, f"{prefix}{key}.")]
    return "\n".join(lines)


def _tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def stages_of(recipe: str) -> list[Table]:
    """The stages of a recipe of the tests, lowest first."""
    files = sorted((RECIPES / recipe).glob("[0-9]_*.toml"))
    return [tomllib.loads(file.read_text()) for file in files]


def together(
    recipe: str,
    mode: str,
    *,
    objective: Table | None = None,
    update_every: tuple[int, ...] = (),
    **train: Any,
) -> Table:
    """One stage of all the modules of a recipe.

    Args:
        recipe: of the tests.
        mode: "isolated" or "end_to_end".
        objective: in place of the recipe's own.
        update_every: of each module; 1 where none is given.
        train: changed keys of [train].
    """
    stages = stages_of(recipe)
    modules = [dict(stage["module"]) for stage in stages]
    if mode == "isolated":
        for module, every in zip(modules, update_every or [1] * len(modules), strict=True):
            module["update_every"] = every
    return {
        "input": f"{recipe}/data",
        "mode": mode,
        "modules": modules,
        "objective": objective or stages[0]["objective"],
        "train": stages[0]["train"] | train,
        "output": {"store": "none", "encoding": "float16", "relu": False, "codes": False},
    }


def predsim() -> Table:
    """Two hidden layers and the output layer, every one on its own loss."""
    stage = together("tiny", "isolated", objective=PREDSIM)
    hidden = [LAYER | {"channels": c, "max_pool": c == 4, "dropout": 0.3} for c in (4, 6)]
    stage["modules"] = [*hidden, {"kind": "identity", "update_every": 1, "objective": PER_IMAGE}]
    return stage


def lay_out(home: Path, recipe: str, stage: Table, *, name: str = "all") -> Path:
    """Write a stage as a recipe of its own beside a copy of the one it is made from."""
    if not (home / recipe).exists():
        shutil.copytree(RECIPES / recipe, home / recipe)
    folder = home / name
    folder.mkdir()
    (folder / "1_all.toml").write_text(toml(stage))
    return folder


def split_off(folder: Path, **changes: Any) -> None:
    """Give a recipe of this kind a data.toml of its own, its keys and tables changed."""
    path = next(folder.glob("1_*.toml"))
    stage = tomllib.loads(path.read_text())
    base = folder.parent / stage["input"].partition("/")[0]
    data = tomllib.loads((base / "data.toml").read_text())
    path.write_text(toml(stage | {"input": "data"}))
    (folder / "data.toml").write_text(toml(data | changes))


def deep_infomax() -> Table:
    """A folded AlexNet on its own loss."""
    stage = together("tiny", "end_to_end", objective=DIM)
    del stage["mode"], stage["modules"]
    return stage | {"module": ALEXNET}


def pipeline_of(home: Path, stage: dict[str, Any], **settings: Any) -> Pipeline:
    """A pipeline on labelled images, whole ones for layers that read them so."""
    folder = lay_out(home, "tiny", stage)
    layers = "vgg_layer" in toml(stage)
    split_off(folder, train_split="train", **(WHOLE_IMAGES if layers else {}))
    return open_pipeline(folder, home / "runs", **settings)
