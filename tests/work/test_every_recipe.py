"""Every recipe of the project: it loads, and its stages take three steps on a little data."""

import re
import shutil
from pathlib import Path

import pytest
from helpers.homes import CPU, STAGES

from gimstage.data.demo import write_demo
from gimstage.data.demo_speech import write_demo_speech
from gimstage.inputs import find_data
from gimstage.progress import Watch
from gimstage.recipe.recipe import Recipe
from gimstage.train.metrics import read_lines
from gimstage.work.base import Settings
from gimstage.work.pipeline import Pipeline

RECIPES = sorted(path.name for path in STAGES.iterdir())
EVERY = [(name, number) for name in RECIPES for number in Recipe.load(STAGES / name).stages]
# What makes three steps of the paper's widths a matter of seconds.
SHORT = {
    r"batch_size = \d+\n(epochs|steps) = \d+": "batch_size = 2\nsteps = 3",
    r"crop_frames = \d{4}": "crop_frames = 128",
    r"share = 0.\d+": "share = 0.5",
    r"patches = \d+": "patches = 7",
    'kind = "utterances"': 'kind = "crops"\ncount = 1\nseed = 2',
    r"size_px = 2048\ntrain = \d+\ntest = \d+": "size_px = 1024\ntrain = 3\ntest = 2",
    r"subjects = \d+\ntrain = \d+\ntest = \d+": "subjects = 2\ntrain = 3\ntest = 1",
}
# Demos in a layout that real data has read the little data instead of writing their own.
READ = {
    'source = "demo_images"': 'source = "stl10"',
    'source = "demo_speech"': 'source = "librispeech"',
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All recipes cut short, and a little data of both kinds."""
    home = tmp_path_factory.mktemp("recipes")
    shutil.copytree(STAGES, home / "stages")
    for path in home.glob("stages/*/[0-9d]*.toml"):
        text = path.read_text()
        for old, new in SHORT.items():
            text = re.sub(old, new, text)
        for old, new in READ.items():
            if old in text:
                text = re.sub(r"\[demo\]\n(.+\n)+", "", text.replace(old, new))
        path.write_text(text)
    write_demo(home / "images", unlabeled=8, train=10, test=10, seed=1)
    write_demo_speech(home / "speech", speakers=2, train=3, test=2, seed=1)
    return home


def pipeline_of(home: Path, recipe: Recipe) -> Pipeline:
    folders = {"stl10": home / "images", "librispeech": home / "speech"}
    data = find_data(recipe.data, folders.get(recipe.data.source), home / "runs")
    data.make(Watch())
    settings = Settings(device=CPU, workers=1, max_disk=None, checkpoint_every_s=1e9)
    return Pipeline(recipe, data, root=home / "runs", settings=settings, watch=Watch())


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_loads_and_says_what_it_is(name: str) -> None:
    recipe = Recipe.load(STAGES / name)
    assert recipe.stages or recipe.probes
    assert recipe.probes
    for path in (STAGES / name).iterdir():
        assert path.read_text().startswith("# ")


@pytest.mark.parametrize(("name", "number"), EVERY, ids=lambda part: str(part))
def test_a_stage_takes_three_steps(name: str, number: int, home: Path) -> None:
    chain = Recipe.load(home / "stages" / name).chain(number)
    for part in [*chain.below(), chain]:
        recipe = Recipe.load(home / "stages" / part.last.recipe)
        pipeline_of(home, recipe).train_stage(part.last.number)
    lines = read_lines(home / "runs" / chain.last.key / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3]
