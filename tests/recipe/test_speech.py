"""Recipes of speech that are refused."""

from pathlib import Path

import pytest
from helpers.homes import at, edit, recipe_of

from gimstage.errors import RecipeError


@pytest.fixture(scope="module")
def finished(finished_speech: Path) -> Path:
    """The small recipe is that of speech."""
    return finished_speech


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "4_*.toml",
            'kind = "conv1d"\nchannels = 8\nkernel = 4\nstride = 2\npadding = 2',
            'kind = "resnet"\nblock = "basic"\nwidth = 8\nblocks = 1\nstride = 2',
            'stage tiny_audio/4 [module] kind: "resnet" on source = "demo_speech"; expected '
            '"conv1d", "gru" or "conv1d_gru"',
        ),
        (
            "4_*.toml",
            "codes = false",
            "codes = true",
            "stage tiny_audio/4 [output] codes: true, but the features of a sequence are its "
            "codes; expected false",
        ),
        (
            "4_*.toml",
            "stride = 2",
            "stride = 3",
            "stage tiny_audio/4 [module] stride: a row every 120 samples, all strides multiplied; "
            "expected a divisor of 160, the samples of 10 ms at which crops begin",
        ),
        (
            "3_*.toml",
            "[module]",
            "[views]\ncrop_frames = 129\n\n[module]",
            "stage tiny_audio/3 [views] crop_frames: 129 frames; expected at most 128, the "
            "crop_frames of data.toml",
        ),
        (
            "data.toml",
            "crop_frames = 128",
            "crop_frames = 4",
            "stage tiny_audio/5 [objective]: prediction_steps = 4 with prediction_gap = 0 on crops "
            "of 4 rows; expected at least 5 rows, in [views] and window; enlarge crop_frames, or "
            "predict fewer steps",
        ),
    ],
)
def test_recipes_that_do_not_fit_speech_are_refused(
    fresh: Path, file: str, old: str, new: str, message: str
) -> None:
    edit(fresh, file, old, new)
    with pytest.raises(RecipeError) as caught:
        at(fresh)
    assert str(caught.value) == message


def test_a_recurrent_stage_that_is_not_stored_cannot_be_built_on(home: Path) -> None:
    edit(home, "6_*.toml", '"features"', '"none"')
    text = (recipe_of(home) / "6_gru.toml").read_text()
    (recipe_of(home) / "7_more.toml").write_text(text.replace("input = 5", "input = 6"))
    with pytest.raises(RecipeError) as caught:
        at(home)
    assert str(caught.value) == (
        'stage tiny_audio/6 [output] store: "none", but stage tiny_audio/7 reads it and a '
        'recurrent module cannot be run again for parts of utterances; expected "features"'
    )
