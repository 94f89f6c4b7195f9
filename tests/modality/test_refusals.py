"""Keys that only one kind of data has, given for the other: one message, whatever the command."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.homes import RECIPES, edit

from gimstage.cli import main

CLASS_KEYS = "choose from: converged, hidden, inputs, own, paper, pixels, task, test_split, "
CLASS_KEYS += "train_split, weights"
SPEAKER_KEYS = "choose from: converged, inputs, mfcc, own, paper, task, test_split, train_split, "
SPEAKER_KEYS += "weights"
PHONE_KEYS = "choose from: converged, inputs, mfcc, offset, paper, task, test_split, train_split, "
PHONE_KEYS += "weights"

IMAGES = [
    (
        "1_first.toml",
        "[module]",
        "[views]\ncrop_frames = 20\n\n[module]",
        "stage tiny/1 [views]: given for images cut into patches; expected it with sequences, or "
        "whole maps (no patch_px in data.toml), only; remove the table",
    ),
    (
        "2_second.toml",
        "[module]",
        "[views]\ncrop_px = 20\n\n[module]",
        "stage tiny/2 [views]: given for images cut into patches; expected it with sequences, or "
        "whole maps (no patch_px in data.toml), only; remove the table",
    ),
    (
        "data.toml",
        "crop_px = 56",
        "crop_px = 56\ncrop_frames = 56",
        "{recipe}/data.toml [views] crop_frames: unknown key; choose from: crop_px, cutout_px, "
        "flip, patch_px, stride_px",
    ),
    (
        "data.toml",
        'kind = "grid"',
        'kind = "utterances"',
        "{recipe}/data.toml [stored_views] kind: \"utterances\"; expected 'grid' or 'crops'",
    ),
    (
        "data.toml",
        "unlabeled = 48",
        "unlabeled = 48\nspeakers = 3",
        "{recipe}/data.toml [demo] speakers: unknown key; choose from: seed, test, train, "
        "unlabeled",
    ),
    (
        "probe.toml",
        "pixels = true",
        "pixels = true\noffset = 1",
        "{recipe}/probe.toml offset: unknown key; " + CLASS_KEYS,
    ),
    (
        "probe.toml",
        "[paper]",
        "[mfcc]\ncoefficients = 13\n\n[paper]",
        "{recipe}/probe.toml [mfcc]: unknown key; " + CLASS_KEYS,
    ),
    (
        "probe.toml",
        'task = "class"',
        'task = "speaker"',
        "{recipe}/probe.toml pixels: unknown key; " + SPEAKER_KEYS,
    ),
]
SPEECH = [
    (
        "1_conv1.toml",
        "[module]",
        "[views]\ncrop_px = 20\n\n[module]",
        "stage tiny_audio/1 [views] crop_px: not a key here; expected crop_frames instead",
    ),
    (
        "data.toml",
        "crop_frames = 128",
        "crop_frames = 128\ncutout_px = 16",
        "{recipe}/data.toml [views] cutout_px: unknown key; choose from: crop_frames",
    ),
    (
        "data.toml",
        "[views]",
        'channels = "gray"\n\n[views]',
        "{recipe}/data.toml channels: unknown key; choose from: demo, join, mean, source, std, "
        "stored_views, subsets, train_split, validation, views",
    ),
    (
        "data.toml",
        'kind = "utterances"',
        'kind = "utterances"\npatches = 8',
        "{recipe}/data.toml [stored_views] patches: unknown key; choose from: count, kind, seed",
    ),
    (
        "1_conv1.toml",
        "codes = false",
        "codes = true",
        "stage tiny_audio/1 [output] codes: true, but the features of a sequence are its codes; "
        "expected false",
    ),
    (
        "probe_speaker.toml",
        "[mfcc]",
        "pixels = true\n\n[mfcc]",
        "{recipe}/probe_speaker.toml pixels: unknown key; " + SPEAKER_KEYS,
    ),
    (
        "probe_speaker.toml",
        "[paper]",
        "[hidden]\nviews = 1\n\n[paper]",
        "{recipe}/probe_speaker.toml [hidden]: unknown key; " + SPEAKER_KEYS,
    ),
    (
        "probe_phone.toml",
        "[mfcc]",
        "own = true\n\n[mfcc]",
        "{recipe}/probe_phone.toml own: unknown key; " + PHONE_KEYS,
    ),
]
MAPS = [
    (
        "1_fine.toml",
        "crop_px = 32",
        "crop_frames = 32",
        "stage tiny_maps/1 [views] crop_frames: not a key here; expected crop_px instead",
    ),
    (
        "1_fine.toml",
        "crop_px = 32",
        "crop_px = 80",
        "stage tiny_maps/1 [views] crop_px: 80 px; expected at most 64, the crop_px of data.toml; "
        "set crop_px = 80 in data.toml, or a smaller one here",
    ),
    (
        "2_middle.toml",
        "crop_px = 48",
        "crop_px = 49",
        "stage tiny_maps/2 [views] crop_px: 49 px; expected a multiple of 2, the pixels between "
        "two positions of what it reads; try crop_px = 48",
    ),
    (
        "2_middle.toml",
        "crop_px = 48",
        "crop_px = 16",
        "stage tiny_maps/2 [views] crop_px: 16 px, where the stage before has 32; expected windows "
        "that stay or grow from stage to stage; set crop_px = 32, or a smaller one in the stage "
        "before",
    ),
    (
        "data.toml",
        "crop_px = 64",
        "crop_px = 128",
        "data.toml [views] crop_px: 128 px is larger than the image; expected at most 96; choose "
        "a smaller crop",
    ),
    (
        "data.toml",
        "crop_px = 64",
        "crop_px = 64\npatch_px = 16",
        "{recipe}/data.toml [views]: patch_px alone; expected patch_px and stride_px, or neither "
        "for whole maps",
    ),
    (
        "data.toml",
        "crop_px = 64",
        "crop_px = 64\npatch_px = 16\nstride_px = 8",
        "{recipe}/data.toml: [views] with patch_px, and without [stored_views]; expected both, or "
        "neither: maps are stored whole",
    ),
    (
        "1_fine.toml",
        "codes = false",
        "codes = true",
        "stage tiny_maps/1 [output] codes: true, but the features of a map are its codes; "
        "expected false",
    ),
    (
        "1_fine.toml",
        'kind = "conv2d"',
        'kind = "conv1d"',
        'stage tiny_maps/1 [module] kind: "conv1d" on source = "demo_images"; expected "conv2d" '
        'or "masked_conv2d"',
    ),
    (
        "3_context.toml",
        "crop_px = 64",
        "crop_px = 64\nflip = false",
        "{recipe}/3_context.toml [views] flip: unknown key; choose from: crop_px",
    ),
]
CASES = [("tiny", *case) for case in IMAGES] + [("tiny_audio", *case) for case in SPEECH]
CASES += [("tiny_maps", *case) for case in MAPS]


@pytest.mark.parametrize("command", ["plan", "run", "status"])
@pytest.mark.parametrize(("recipe", "file", "old", "new", "message"), CASES)
def test_a_key_of_the_other_kind_of_data_is_one_message(
    command: str, recipe: str, file: str, old: str, new: str, message: str, tmp_path: Path
) -> None:
    folder = shutil.copytree(RECIPES / recipe, tmp_path / recipe)
    edit(tmp_path, file, old, new)
    result = CliRunner().invoke(
        main, [command, "--recipe", str(folder), "--runs", str(tmp_path / "runs")]
    )
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == f"error {message.format(recipe=folder)}\n"


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "tiny_audio/2_conv2.toml",
            "input = 1",
            'input = "tiny/1"',
            'stage tiny_audio/2 [module] kind: "conv1d" on source = "demo_images"; expected one '
            "for images",
        ),
        (
            "tiny/2_second.toml",
            "input = 1",
            'input = "tiny_audio/1"',
            'stage tiny/2 [module] kind: "resnet" on source = "demo_speech"; expected "conv1d", '
            '"gru" or "conv1d_gru"',
        ),
        (
            "tiny/1_first.toml",
            'input = "data"',
            'input = "tiny_audio/1"',
            'stage tiny/1 [module] kind: "resnet" on source = "demo_speech"; expected "conv1d", '
            '"gru" or "conv1d_gru"',
        ),
        (
            "tiny/probe.toml",
            "[1, 2, 3]",
            '["tiny_audio/1"]',
            '{home}/tiny/probe.toml task: "class" of stage tiny_audio/1, on source = '
            '"demo_speech"; expected "speaker", "phone", "label" or "frames"',
        ),
    ],
)
def test_a_recipe_that_mixes_images_and_speech_is_one_message(
    tmp_path: Path, file: str, old: str, new: str, message: str
) -> None:
    for recipe in ("tiny", "tiny_audio"):
        shutil.copytree(RECIPES / recipe, tmp_path / recipe)
    path = tmp_path / file
    path.write_text(path.read_text().replace(old, new))
    result = CliRunner().invoke(main, ["plan", "--recipe", str(path.parent)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"error {message.format(home=tmp_path)}\n"


def test_a_stage_below_that_cannot_read_the_data_is_named(tmp_path: Path) -> None:
    for recipe in ("tiny", "tiny_audio"):
        shutil.copytree(RECIPES / recipe, tmp_path / recipe)
    below, above = tmp_path / "tiny/1_first.toml", tmp_path / "tiny_audio/1_conv1.toml"
    below.write_text(below.read_text().replace('input = "data"', 'input = "tiny_audio/data"'))
    above.write_text(above.read_text().replace('input = "data"', 'input = "tiny/1"'))
    result = CliRunner().invoke(main, ["plan", "--recipe", str(above.parent)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        'error stage tiny/1 [module] kind: "resnet" on source = "demo_speech"; expected "conv1d", '
        '"gru" or "conv1d_gru"\n'
    )
