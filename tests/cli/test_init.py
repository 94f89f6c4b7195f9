"""`gimstage init`: what it writes for some data, and what it refuses."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import zarr
from helpers.commands import document, gimstage
from helpers.homes import RECIPES
from PIL import Image

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
    assert [stage["steps"] for stage in written["plan"]["stages"]] == [250, 250, 250]
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


def test_image_files_are_made_as_small_as_an_encoder_expects(tmp_path: Path) -> None:
    for number in range(40):
        folder = tmp_path / "photos" / ("cats" if number % 2 else "dogs")
        folder.mkdir(parents=True, exist_ok=True)
        image = Image.new("RGB", (70 + number, 60 + number), (number, 6 * number, 90))
        image.save(folder / f"{number}.{('jpg', 'png', 'webp')[number % 3]}")
    document("init", "mine", "--data", "photos")
    recipe = Recipe.load("mine")
    data = recipe.data
    assert (data.source, data.size_px, data.fit, data.on_bad) == ("images", 60, "crop", "refuse")
    assert (data.views.patch_px, data.views.crop_px) == (8, 32)
    assert [probe.label for probe in recipe.probes.values()] == ["class"]


def test_a_bad_file_that_was_looked_at_is_left_out_aloud(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(20):
        Image.new("L", (64, 64), 12 * number).save(tmp_path / f"photos/{number}.png")
    (tmp_path / "photos/none.png").touch()
    document("init", "mine", "--data", "photos")
    reason = '# 1 empty: left out of 21 files; "refuse" stops instead'
    assert reason in Path("mine/data.toml").read_text()
    assert Recipe.load("mine").data.on_bad == "skip"


def test_sound_of_a_low_rate_keeps_it_and_gets_convolutions_that_fit(tmp_path: Path) -> None:
    (tmp_path / "calls").mkdir()
    noise = np.random.default_rng(1).normal(0, 0.1, (12, 9_600))
    for number, each in enumerate(noise):
        soundfile.write(tmp_path / f"calls/{number}.wav", each, 8_000)
    lines = [f"{number}.wav,{number % 2}" for number in range(12)]
    (tmp_path / "calls/labels.csv").write_text("\n".join(["path,bird", *lines]))
    document("init", "mine", "--data", "calls")
    recipe = Recipe.load("mine")
    assert (recipe.data.rate_hz, recipe.data.views.crop_frames) == (8_000, 120)
    assert list(recipe.stages) == [1, 2, 3, 4, 5]
    assert [probe.label for probe in recipe.probes.values()] == ["bird"]


def test_an_array_of_images_is_told_by_its_shape(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (40, 3, 48, 48), np.uint8)
    np.savez(tmp_path / "set.npz", x=pixels, kind=np.arange(40) % 2)
    document("init", "mine", "--data", "set.npz")
    recipe = Recipe.load(Path("mine"))
    data = recipe.data
    assert (data.source, data.array, data.axes) == ("image_array", "x", "sample channel y x")
    assert (data.size_px, data.channels, list(recipe.probes)) == (48, "rgb", ["probe_kind"])
    mean = pixels.mean((0, 2, 3)) / 255
    assert data.mean == pytest.approx(mean, abs=0.01)


def test_an_array_gets_its_axes_and_one_mean_a_channel(tmp_path: Path) -> None:
    (tmp_path / "eeg").mkdir()
    signals = np.random.default_rng(1).normal(3, 2, (20, 5, 256)).astype("f4")
    np.save(tmp_path / "eeg/x.npy", signals)
    np.save(tmp_path / "eeg/state.npy", np.arange(20) % 2)
    document("init", "mine", "--data", "eeg")
    recipe = Recipe.load("mine")
    assert (recipe.data.array, recipe.data.axes) == ("x.npy", "sample channel time")
    assert (recipe.data.frame_rows, len(recipe.data.mean)) == (4, 5)
    assert list(recipe.stages) == [1, 2, 3]
    assert [probe.label for probe in recipe.probes.values()] == ["state"]


def test_sequences_end_to_end_are_parted_by_their_offsets(tmp_path: Path) -> None:
    rows = np.random.default_rng(1).normal(0, 1, (3_000, 3))
    offsets = np.arange(0, 3_001, 300)
    np.savez(tmp_path / "walks.npz", acceleration=rows, offsets=offsets)
    document("init", "mine", "--data", "walks.npz")
    data = Recipe.load("mine").data
    assert (data.array, data.axes, data.offsets) == ("acceleration", "time channel", "offsets")


def test_one_long_recording_is_cut_into_pieces(tmp_path: Path) -> None:
    np.save(tmp_path / "seismic.npy", np.random.default_rng(1).normal(0, 1, 40_000))
    document("init", "mine", "--data", "seismic.npy")
    data = Recipe.load("mine").data
    assert (data.array, data.axes, data.entry_frames) == (".", "time", 250)


def test_an_array_of_images_is_told_from_series_by_its_shape(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (20, 3, 40, 40), np.uint8)
    np.savez(tmp_path / "cells.npz", image=pixels, kind=np.arange(20) % 2)
    document("init", "mine", "--data", "cells.npz")
    recipe = Recipe.load("mine")
    data = recipe.data
    assert (data.source, data.array, data.axes) == ("image_array", "image", "sample channel y x")
    assert (data.size_px, data.channels, len(data.mean)) == (40, "rgb", 3)
    assert 0.45 < data.mean[0] < 0.55
    assert [probe.label for probe in recipe.probes.values()] == ["kind"]


def test_one_large_image_of_a_group_is_measured_before_it_is_imported(tmp_path: Path) -> None:
    group = zarr.open_group(str(tmp_path / "slide.zarr"), mode="w")
    for level, side in enumerate((400, 200)):
        group.create_array(str(level), data=np.full((2, side, side), 1000, np.uint16))
    document("init", "mine", "--data", "slide.zarr")
    data = Recipe.load("mine").data
    assert (data.array, data.axes, data.size_px) == ("0", "channel y x", 96)
    assert data.mean == [pytest.approx(1000 / 65535, abs=1e-4)] * 2


def test_windows_that_grow_end_where_the_data_does(tmp_path: Path, speech: Path) -> None:
    (tmp_path / "slides").mkdir()
    for number in range(6):
        noise = np.random.default_rng(number).integers(0, 255, (400, 300), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"slides/{number}.tif")
    document("init", "large", "--data", "slides", "--from", "demo_large")
    large = Recipe.load("large")
    assert (large.data.size_px, large.data.fit) == (300, "tile")
    assert [stage.spec.views.crop_px for stage in large.stages.values()] == [64, 256, 256, 256]
    document("init", "long", "--data", speech, "--from", "demo_long")
    long = Recipe.load("long")
    assert 100 < long.data.views.crop_frames < 2_000
    assert long.stages[1].spec.views.crop_frames <= 128


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


def test_a_name_that_no_folder_of_runs_can_have_is_refused(images: Path) -> None:
    assert refused("my images", "--data", images) == (
        "recipe 'my images': 'my images' cannot name a folder of runs; expected a folder name of "
        "letters, digits, '_', '-' and '.'; give the path of a recipe folder, or a name that "
        "`gimstage recipes` lists"
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
        "notes: 1 .txt file; expected image files, files of sound, arrays (.npy, .npz, .zarr, "
        ".csv), or the layouts of STL-10 and LibriSpeech; give the folder that holds the "
        "data: --data DIR"
    )


def test_a_folder_of_images_and_sound_is_refused(tmp_path: Path) -> None:
    (tmp_path / "both").mkdir()
    for name in ("a.png", "b.png", "c.wav"):
        (tmp_path / "both" / name).touch()
    assert refused("mine", "--data", "both") == (
        "both: several kinds of data: 2 .png files, 1 .wav file; expected one kind; give a folder "
        "with one kind of data: --data DIR"
    )
