"""`gimstage tables`: which recipes and seeds it takes, and what it refuses."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.campaigns import document, rewrite, tables, write_recipes
from helpers.homes import RECIPES, ROOT

from gimstage.cli import main
from gimstage.data.demo_speech import write_demo_speech
from gimstage.recipe.shipped import shipped_recipes


def test_without_data_only_recipes_that_write_their_own_can_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("GIMSTAGE_DATA", raising=False)
    result = CliRunner().invoke(main, ["tables", "stages/stl10_small", "--seeds", "2"])
    assert result.exit_code == 1
    assert result.stderr == (
        "error --data: not given, but needed by stl10_small; expected the folder of images in "
        "STL-10's layout or of speech in LibriSpeech's; `make tables DATA=DIR` or "
        "`gimstage tables --data DIR`; only recipes with a table [demo] in data.toml, such as "
        "stages/demo, need none\n"
    )


def test_the_small_recipes_are_those_that_come_along(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("GIMSTAGE_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["tables", "--seeds", "2"])
    small = ", ".join(name for name in shipped_recipes() if "_small" in name)
    assert result.stderr.startswith(f"error --data: not given, but needed by {small}; expected")


def test_the_small_recipes_of_the_folder_one_stands_in_go_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(RECIPES / "tiny", tmp_path / "stages/tiny_small")
    result = CliRunner().invoke(main, ["tables", "--seeds", "2", "--dry-run", "--json"])
    assert [run["recipe"] for run in json.loads(result.stdout)["runs"]] == ["tiny_small"]


@pytest.mark.parametrize("seeds", ["", "two", "2,,3", "-1", "2;3", "1.5"])
def test_seeds_that_are_none_are_wrong_usage(tmp_path: Path, seeds: str) -> None:
    result = CliRunner().invoke(main, ["tables", str(tmp_path), "--seeds", seeds])
    assert result.exit_code == 2
    message = f"{seeds!r}; expected whole numbers from 0, such as 2,3"
    assert f"Error: Invalid value for '--seeds': {message}\n" in result.stderr


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with speech without phone labels; `phones` probes nothing else, `deep` is upon it."""
    home = tmp_path_factory.mktemp("speech")
    write_demo_speech(home / "data", speakers=2, train=4, test=2, seed=1)
    next((home / "data").rglob("converted_aligned_phones.txt")).unlink()
    for name, probe in (("phones", "probe_phone"), ("speakers", "probe_speaker")):
        (home / "stages" / name).mkdir(parents=True)
        for file in ("data.toml", "1_conv1.toml", f"{probe}.toml"):
            shutil.copy(RECIPES / "tiny_audio" / file, home / "stages" / name)
        rewrite(home / "stages" / name / f"{probe}.toml", ("[1, 2, 3, 4, 5, 6]", "[1]"))
    (home / "stages/deep").mkdir()
    shutil.copy(RECIPES / "tiny_audio/2_conv2.toml", home / "stages/deep/1_conv2.toml")
    rewrite(home / "stages/deep/1_conv2.toml", ("input = 1", 'input = "phones/1"'))
    return home


def test_a_recipe_whose_labels_the_data_lacks_is_left_out_which_is_no_failure(
    speech: Path,
) -> None:
    names = ("deep", "speakers")
    result = tables(speech, "--data", speech / "data", "--seeds", "2", names=names)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-2:] == [
        f"phones@2 left out: {speech / 'data'}: no utterance of the split 'train' has phone labels;"
        " expected a line for at least one of them in converted_aligned_phones.txt; "
        "add the file, or the lines that are missing",
        "deep@2 left out: recipe deep@2: builds on phones@2, which is left out",
    ]
    found = document(speech, "--data", speech / "data", "--seeds", "2", names=names)
    assert [run["state"] for run in found["runs"]] == ["left out", "left out", "done"]
    assert not (speech / "runs/phones@2/1/manifest.json").exists()
    assert (speech / "report/index.html").exists()


def test_options_without_sense_are_refused_before_anything(tmp_path: Path) -> None:
    result = tables(write_recipes(tmp_path), "--device", "potato")
    assert result.exit_code == 1
    assert result.stderr == (
        "error --device potato: no such kind of device; expected auto, cpu, cuda, cuda:N or mps\n"
    )
