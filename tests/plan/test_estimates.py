"""How long a probe will take to encode its samples, and what that rests on."""

import shutil
from pathlib import Path

import pytest
from helpers.homes import CPU, RECIPES, at, edit, recipe_of

from gimstage.plan.calibration import Calibration, calibrate, read_calibration
from gimstage.plan.calibration import _key as key_of
from gimstage.plan.cost import probe_hours
from gimstage.recipe.recipe import Recipe


@pytest.fixture(params=["tiny"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A home with a recipe that was never run."""
    shutil.copytree(RECIPES / request.param, tmp_path / request.param)
    return tmp_path


def test_a_probe_encodes_the_views_of_each_protocol_and_the_test(fresh: Path) -> None:
    edit(fresh, "probe.toml", "views = 1\nl2", "views = 3\nl2")
    pipeline = at(fresh)
    probe = pipeline._probe("probe").open()
    assert probe.crops == (3 * 40 + 40) + (1 * 40 + 40)


@pytest.mark.parametrize("fresh", ["tiny_audio"], indirect=True)
def test_a_phone_probe_encodes_whole_utterances_in_every_epoch(fresh: Path) -> None:
    edit(fresh, "probe_phone.toml", "epochs = 1", "epochs = 7")
    pipeline = at(fresh)
    probe = pipeline._probe("probe_phone").open()
    train, test = (int(pipeline.data.split(name).samples.sum()) for name in ("train", "test"))
    assert probe.crops == ((1 + 7) * train + 2 * test) / (128 * 160)


def test_stages_below_one_another_are_encoded_together(tmp_path: Path) -> None:
    recipe = Recipe.load(RECIPES / "tiny")
    chains = [recipe.chain(number) for number in (1, 2, 3)]
    speeds = {key_of(chain): (float(n), 0.0) for n, chain in enumerate(chains, 1)}
    known = Calibration("cpu", 1.0, 1.0, speeds)
    hours = [probe_hours(c, 10, stacks=2, calibration=known) for c in (chains, chains[:1], [])]
    assert hours == [10 * 2 * (1 + 2 + 3) / 3600, 10 * 2 / 3600, 0]


def test_probes_have_hours_once_the_device_is_measured(fresh: Path) -> None:
    assert at(fresh).probe_hours("probe") is None
    at(fresh).calibrate()
    assert at(fresh).probe_hours("probe") > 0


def test_a_calibration_holds_for_every_seed(fresh: Path) -> None:
    path = fresh / "calibration.json"
    chains = [Recipe.load(recipe_of(fresh), seed).chain(3) for seed in (2, 3)]
    found = calibrate(chains[:1], CPU, path, again=True)
    assert found.covers(chains[1], CPU)
    assert calibrate(chains, CPU, path, again=False) == read_calibration(path) == found
