"""Labels in a table of one's own: what is done anew when they change, and what is not."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.homes import CPU, RECIPES
from helpers.recipes import toml
from PIL import Image

from gimstage.errors import ChangedDataError, RecipeError
from gimstage.progress import Watch
from gimstage.recipe.recipe import Recipe
from gimstage.work.base import Settings
from gimstage.work.pipeline import Pipeline

DATA: dict[str, Any] = {
    "source": "images",
    "train_split": "train",
    "size_px": 40,
    "fit": "crop",
    "channels": "gray",
    "mean": [0.5],
    "std": [0.25],
    "label": "kind",
    "views": {"crop_px": 40, "flip": True, "patch_px": 16, "stride_px": 8},
    "stored_views": {"kind": "crops", "count": 1, "seed": 1},
}
PROBE: dict[str, Any] = {
    "inputs": [1],
    "weights": "trained",
    "task": "label",
    "label": "kind",
    "train_split": "train",
    "test_split": "test",
    "own": True,
    "converged": {"views": 1, "l2": [0.1], "validation_share": 0.2, "seed": 2},
}
SUPERVISED = {"kind": "supervised", "num_classes": 2, "per": "sample"}


def write_labels(home: Path, **changed: str) -> None:
    """Write the table: light and dark images, twenty to train on; some may be called otherwise."""
    kinds = {f"{n}.png": ("light", "dark")[n % 2] for n in range(28)}
    kinds |= {f"{name.removeprefix('n')}.png": kind for name, kind in changed.items()}
    rows = [f"{n},{'train' if i < 20 else 'test'},{k}" for i, (n, k) in enumerate(kinds.items())]
    (home / "photos/labels.csv").write_text("\n".join(["path,split,kind", *rows]) + "\n")


def opened(home: Path) -> Pipeline:
    settings = Settings(device=CPU, workers=1, max_disk=None, checkpoint_every_s=1e9)
    recipe = Recipe.load(home / "mine")
    return Pipeline.find(recipe, home / "photos", home / "runs", settings=settings, watch=Watch())


def states(home: Path) -> list[str]:
    pipeline = opened(home)
    return [each.state for each in pipeline.statuses() + pipeline.probe_statuses()]


def lay_out(home: Path, **tables: Any) -> Path:
    """A folder of images, and a recipe on them whose only stage is the tiny recipe's first."""
    (home / "photos").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(28):
        pixels = rng.integers(0, 128, (40, 40), np.uint8) + 100 * (number % 2 == 0)
        Image.fromarray(pixels.astype(np.uint8)).save(home / f"photos/{number}.png")
    write_labels(home)
    (home / "mine").mkdir()
    (home / "mine/data.toml").write_text(toml(DATA))
    (home / "mine/probe.toml").write_text(toml(PROBE))
    stage = (RECIPES / "tiny/1_first.toml").read_text()
    objective = stage[stage.index("[objective]") : stage.index("[train]")]
    stage = stage.replace(objective, toml({"objective": SUPERVISED}) + "\n")
    (home / "mine/1_first.toml").write_text(stage.replace("steps = 12", "steps = 2"))
    return home


@pytest.fixture(scope="module")
def supervised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a stage that learns the label, probed."""
    home = lay_out(tmp_path_factory.mktemp("supervised"))
    opened(home).run()
    return home


@pytest.fixture
def home(supervised: Path, tmp_path: Path) -> Path:
    shutil.copytree(supervised, tmp_path / "home", symlinks=True, copy_function=shutil.copy2)
    return tmp_path / "home"


def test_a_loss_and_a_probe_learn_a_label_of_the_table(home: Path) -> None:
    rows = opened(home).probe("probe")
    assert {(row["task"], row["protocol"]) for row in rows} == {
        ("kind", "converged"),
        ("kind", "own"),
    }
    assert {(row["train_samples"], row["test_samples"]) for row in rows} == {(20, 8)}
    assert states(home) == ["done", "done"]


def test_another_label_of_a_training_sample_makes_what_learned_it_stale(home: Path) -> None:
    write_labels(home, n3="light")
    assert states(home) == ["stale", "stale"]
    (why,) = opened(home).statuses()[0].why
    assert why.startswith("labels_sha256.sample: ")


def test_another_label_of_a_test_sample_makes_the_probe_stale_alone(home: Path) -> None:
    write_labels(home, n21="light")
    assert states(home) == ["done", "stale"]


def test_labels_that_are_not_those_a_stage_learned_are_found_on_verifying(home: Path) -> None:
    write_labels(home, n3="light")
    errors = [error for each in opened(home).verify() for error in each.damage]
    (first, *_) = [error for error in errors if isinstance(error, ChangedDataError)]
    assert str(first).startswith(f"{home}/photos, label 'kind' of split 'train': SHA-256 ")


def test_a_column_that_nothing_learns_changes_nothing(home: Path) -> None:
    table = home / "photos/labels.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([f"{lines[0]},more", *(f"{line},x" for line in lines[1:])]) + "\n")
    assert states(home) == ["done", "done"]


def test_a_stages_own_classifier_tells_no_other_label(home: Path) -> None:
    probe = home / "mine/probe.toml"
    probe.write_text(probe.read_text().replace('label = "kind"', 'label = "other"'))
    with pytest.raises(RecipeError) as error:
        opened(home)
    assert str(error.value) == (
        f"{probe} own: true, of 'other', but stages learn 'kind'; "
        "expected the label that data.toml names; remove own"
    )
