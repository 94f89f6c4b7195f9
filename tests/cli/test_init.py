"""`gimstage init`: what it writes for some data, and what it refuses."""

import re
from pathlib import Path

import pytest
from helpers.commands import document, gimstage
from helpers.homes import RECIPES

from gimstage.data.demo import write_demo
from gimstage.data.demo_speech import write_demo_speech
from gimstage.recipe.recipe import Recipe

NUMBER = re.compile(r"^\w+ = (\[?-?[0-9].*)$")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images in STL-10's layout."""
    folder = tmp_path_factory.mktemp("images") / "pictures"
    write_demo(folder, unlabeled=90, train=20, test=20, seed=1)
    return folder


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Speech in LibriSpeech's layout."""
    folder = tmp_path_factory.mktemp("speech") / "voices"
    write_demo_speech(folder, speakers=3, train=3, test=2, seed=1)
    return folder


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_images_get_a_recipe_with_their_own_mean_and_deviation(images: Path) -> None:
    written = document("init", "mine", "--data", images)
    assert written["files"][:2] == ["data.toml", "1_conv8.toml"]
    assert [stage["steps"] for stage in written["plan"]["stages"]] == [600, 600, 600]
    recipe = Recipe.load("mine")
    assert recipe.data.train_split == "unlabeled"
    assert 0.2 < recipe.data.mean[0] < 0.8
    assert 0.05 < recipe.data.std[0] < 0.5
    assert list(recipe.probes) == ["probe_class"]


def test_speech_gets_a_batch_that_it_fills(speech: Path) -> None:
    document("init", "mine", "--data", speech)
    recipe = Recipe.load("mine")
    assert {stage.spec.train.batch_size for stage in recipe.stages.values()} == {8}
    assert recipe.data.validation is None
    assert list(recipe.probes) == ["probe_phone", "probe_speaker"]


def test_every_number_has_a_reason_beside_it_or_above_it(images: Path, speech: Path) -> None:
    for name, data in (("of_images", images), ("of_speech", speech)):
        document("init", name, "--data", data)
        for path in Path(name).glob("*.toml"):
            lines = path.read_text().splitlines()
            bare = [
                f"{path}: {line}"
                for above, line in zip(lines, lines[1:], strict=False)
                if NUMBER.match(line) and "  # " not in line and not above.startswith("# ")
            ]
            assert [line for line in bare if "input = " not in line] == []


def test_the_next_command_can_be_pasted(images: Path) -> None:
    last = gimstage("init", "mine", "--data", images).stdout.splitlines()[-1]
    assert last == f"`gimstage run --recipe mine --data {images}` trains and probes it"


def test_the_stages_of_another_recipe_are_taken(images: Path) -> None:
    document("init", "mine", "--data", images, "--from", RECIPES / "tiny")
    named = Recipe.load(RECIPES / "tiny")
    assert [stage.title for stage in Recipe.load("mine").stages.values()] == [
        stage.title for stage in named.stages.values()
    ]


def refused(*words: object) -> str:
    """The message of an init that is refused, in which nothing is written."""
    result = gimstage("init", *words)
    assert result.exit_code == 1
    return result.stderr.removeprefix("error ").replace("\n", " ").strip()


def test_a_name_that_is_taken_is_refused(images: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert refused("mine", "--data", images) == (
        "mine: it is there already; expected a name that is free; choose another name, or move "
        "what lies there"
    )


def test_data_must_be_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("GIMSTAGE_DATA", raising=False)
    expected = "--data: not given; expected the folder that holds the data; add --data DIR"
    assert refused("mine") == expected
    assert not any(tmp_path.iterdir())


def test_a_recipe_for_another_kind_of_data_is_refused(images: Path, tmp_path: Path) -> None:
    assert refused("mine", "--data", images, "--from", "demo_audio") == (
        "--from demo_audio: a recipe of speech, and the data are images; expected one of images; "
        "leave --from out"
    )
    assert not any(tmp_path.iterdir())


def test_a_recipe_that_builds_on_another_is_refused(images: Path) -> None:
    assert refused("mine", "--data", images, "--from", "stl10_random") == (
        "--from stl10_random: it has no data.toml, and builds on another recipe; expected a "
        "recipe with one; take that one"
    )


def test_a_folder_of_nothing_is_refused_with_what_could_be_read(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/one.txt").touch()
    assert refused("mine", "--data", "notes") == (
        "notes: 1 .txt file; expected image files, files of sound, arrays (.npy, .npz, .zarr), or "
        "the layouts of STL-10 and LibriSpeech; give the folder that holds the data: --data DIR"
    )


def test_a_folder_of_images_and_sound_is_refused(tmp_path: Path) -> None:
    (tmp_path / "both").mkdir()
    for name in ("a.png", "b.png", "c.wav"):
        (tmp_path / "both" / name).touch()
    assert refused("mine", "--data", "both") == (
        "both: several kinds of data: 2 .png files, 1 .wav file; expected one kind; give a folder "
        "with one kind of data: --data DIR"
    )
