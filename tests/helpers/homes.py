"""Folders in which a small recipe runs, and what tests ask of them.

A home holds a recipe's folder, which may be edited, and runs/.
"""

import shutil
from pathlib import Path

import torch
from torch import Tensor

from gimstage.modules import EncoderModule
from gimstage.objectives import Objective
from gimstage.progress import Watch
from gimstage.recipe.chain import Chain
from gimstage.recipe.recipe import Recipe
from gimstage.stack import Learner, new_learners
from gimstage.train.step import Batch, Load, training_step
from gimstage.work.base import Settings
from gimstage.work.pipeline import Pipeline

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "tests/recipes"
STAGES = ROOT / "stages"
CPU = torch.device("cpu")


def recipe_of(home: Path) -> Path:
    """The folder of the recipe that lives in a home."""
    return next(home.glob("*/data.toml")).parent


def open_pipeline(
    recipe: Path, runs: Path, watch: Watch | None = None, **changes: object
) -> Pipeline:
    """A pipeline on the CPU that saves no checkpoint unless asked."""
    settings = {"device": CPU, "workers": 2, "max_disk": None, "checkpoint_every_s": 1e9}
    changed = Settings(**(settings | changes))
    return Pipeline.find(Recipe.load(recipe), None, runs, settings=changed, watch=watch or Watch())


def finish(home: Path, recipe: str) -> Path:
    """Copy a recipe into a home and run it to its end."""
    shutil.copytree(RECIPES / recipe, home / recipe)
    at(home).run()
    return home


def unrun(finished: Path, home: Path) -> Path:
    """A home with the recipe and the data of another, but none of its runs."""
    name = recipe_of(finished).name
    shutil.copytree(finished / name, home / name)
    shutil.copytree(finished / "runs/data", home / "runs/data")
    return home


def at(home: Path, watch: Watch | None = None, **changes: object) -> Pipeline:
    """The pipeline of a home."""
    return open_pipeline(recipe_of(home), home / "runs", watch, **changes)


def edit(home: Path, name: str, old: str, new: str) -> None:
    """Replace a text, which must be there, in a file of the recipe."""
    path = next(recipe_of(home).glob(name))
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def states(home: Path) -> list[str]:
    """The states of the stages and the probes."""
    pipeline = at(home)
    return [status.state for status in pipeline.statuses() + pipeline.probe_statuses()]


def why(home: Path, number: int) -> tuple[str, ...]:
    """The reasons for the state of a stage."""
    return at(home).statuses()[number - 1].why


def bits(home: Path) -> dict[str, bytes]:
    """The bytes of all weights and features of the runs."""
    runs = home / "runs" / recipe_of(home).name
    files = [*runs.rglob("*.safetensors"), *runs.rglob("features.zarr/**/*")]
    return {str(f.relative_to(runs)): f.read_bytes() for f in files if f.is_file()}


class StopAfter(Watch):
    """A watch that asks to stop at the n-th look."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    def due(self) -> bool:
        self.looks -= 1
        if self.looks <= 0:
            self.stop.set()
        return False


def parts_of(chain: Chain) -> tuple[EncoderModule, Objective]:
    """Module and objective of a stage that has one of each."""
    (learner,) = new_learners(chain)
    return learner.module, learner.objective


def one_step(
    module: EncoderModule,
    objective: Objective,
    *,
    optimiser: torch.optim.Optimizer,
    load: Load,
    count: int,
    rng: torch.Generator,
    precision: str,
    micro_batch: int,
    labels: Tensor | None = None,
) -> Tensor:
    """A training step of one module on one objective; what it returns of it."""
    (values,) = training_step(
        [Learner(module, objective, position=1, update_every=1)],
        Batch(load=load, count=count, labels=labels, rngs=[rng]),
        optimiser=optimiser,
        precision=precision,
        micro_batch=micro_batch,
        due=[True],
    )
    return values
