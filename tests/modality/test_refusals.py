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
        "stage tiny/1 [views]: given for images; expected it with speech only; remove the table",
    ),
    (
        "2_second.toml",
        "[module]",
        "[views]\ncrop_px = 20\n\n[module]",
        "{recipe}/2_second.toml [views] crop_px: unknown key; choose from: crop_frames",
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
        "{recipe}/1_conv1.toml [views] crop_px: unknown key; choose from: crop_frames",
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
        "{recipe}/data.toml channels: unknown key; choose from: demo, mean, source, std, "
        "stored_views, train_split, validation, views",
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
CASES = [("tiny", *case) for case in IMAGES] + [("tiny_audio", *case) for case in SPEECH]


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
