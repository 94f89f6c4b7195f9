"""What images and sequences answer to the same questions."""

import pytest
import torch
from helpers.homes import RECIPES

from gimstage.modality import (
    ImageModality,
    Modality,
    SequenceModality,
    modality_of,
    samples_per_row,
    sequence_modules,
)
from gimstage.modules import Conv1dModule, EncoderModule, Identity, PixelCNNModule, joined
from gimstage.recipe.recipe import Recipe
from gimstage.specs import DATA_SPECS
from gimstage.specs.stage import StageCropSpec


def asked(recipe: str, number: int = 1) -> Modality:
    """What a stage of a tiny recipe owns."""
    return Recipe.load(RECIPES / recipe).chain(number).modality


def conv(channels: int = 1, *, kernel: int = 4, stride: int = 2) -> Conv1dModule:
    return Conv1dModule(in_channels=channels, channels=2, kernel=kernel, stride=stride, padding=1)


def test_images_are_grids_of_patches() -> None:
    modality = asked("tiny")
    assert isinstance(modality, ImageModality)
    assert modality.unit_shape == (1, 16, 16)
    assert (modality.crop_patches, modality.units_per_crop) == (6, 36)
    assert modality.crop_shape((2, 8, 8)) == (6, 6, 2, 8, 8)
    assert modality.crop_text((2, 8, 8)) == "6 × 6 patches"
    assert modality.length((2, 8, 8)) == 6
    assert modality.raw_bytes == 3 * 56 * 56
    assert modality.crop_frames is None


def test_a_crop_of_speech_is_one_unit() -> None:
    modality = asked("tiny_audio")
    assert isinstance(modality, SequenceModality)
    assert modality.unit_shape == (128 * 160, 1)
    assert (modality.crop_frames, modality.units_per_crop) == (128, 1)
    assert modality.crop_shape((128, 6)) == (128, 6)
    assert modality.crop_text((128, 6)) == "128 rows"
    assert modality.length((128, 6)) == 128
    assert modality.raw_bytes == 2 * 128 * 160
    assert modality.crop_patches is None


def test_a_stage_may_train_on_shorter_crops_of_speech() -> None:
    data = Recipe.load(RECIPES / "tiny_audio").data
    modality = modality_of(data, StageCropSpec(crop_frames=20))
    assert (modality.crop_frames, modality.unit_shape) == (20, (20 * 160, 1))


def test_a_module_on_whole_grids_encodes_the_patches_of_a_crop_together() -> None:
    modality, shape = asked("tiny"), (4, 2, 2)
    alone = modality.unit_of(Identity(in_channels=4), shape)
    together = modality.unit_of(PixelCNNModule(in_channels=4, layers=1), shape)
    assert (alone, together) == ((4, 2, 2), (6, 6, 4, 2, 2))


def test_a_module_on_whole_grids_runs_once_for_a_crop() -> None:
    modules = [Identity(in_channels=4), PixelCNNModule(in_channels=4, layers=1)]
    assert [asked("tiny").encoded_alone(module) for module in modules] == [36, 1]
    assert asked("tiny_audio").encoded_alone(conv()) == 1


def test_modules_are_suited_to_one_kind_of_data() -> None:
    images, speech = asked("tiny"), asked("tiny_audio")
    suits = [(images.suits(part), speech.suits(part)) for part in (Identity, Conv1dModule)]
    assert suits == [(True, False), (False, True)]
    assert images.suited == "one for images"
    assert speech.suited == '"conv1d", "gru" or "conv1d_gru"'


def test_patches_are_read_alike_however_many_stages_are_run_again() -> None:
    shapes = [(1, 16, 16), (8, 8, 8), (16, 4, 4)]
    below: list[EncoderModule] = [Identity(in_channels=1), Identity(in_channels=8)]
    assert asked("tiny").input_shape(shapes, below) == (6, 6, 1, 16, 16)


def test_speech_is_read_with_the_reach_of_the_stages_that_are_run_again() -> None:
    below = [conv(), conv(2)]
    shapes = [(64, 1), (32, 2), (16, 2)]
    first, second = below
    rows = first.reach(0, second.reach(0, 16).rows).rows
    assert asked("tiny_audio").input_shape(shapes, below) == (rows, 1)
    x = torch.zeros(1, rows, 1)
    assert second.unpadded(first.unpadded(x)).shape == (1, 16, 2)


def test_what_is_read_from_a_store_is_as_long_as_the_crop() -> None:
    assert asked("tiny_audio").input_shape([(128, 8)], []) == (128, 8)


@pytest.mark.parametrize(
    ("recipe", "module", "reason"),
    [
        ("tiny", Identity(in_channels=4), ""),
        (
            "tiny",
            PixelCNNModule(in_channels=4, layers=1),
            "a module that encodes whole grids, a crop's not being part of a larger one's",
        ),
        ("tiny_audio", conv(), ""),
        (
            "tiny_audio",
            joined([conv(), conv(2)]),
            "several modules on sequences in a row, which encode whole sequences only",
        ),
    ],
)
def test_modules_that_depend_on_where_a_crop_ends_are_named(
    recipe: str, module: EncoderModule, reason: str
) -> None:
    assert asked(recipe).whole_only(module) == reason


def test_strides_are_multiplied() -> None:
    assert samples_per_row([conv(stride=5), conv(2, stride=4)]) == 20


def test_a_module_on_patches_is_none_on_sequences() -> None:
    with pytest.raises(TypeError) as caught:
        sequence_modules([conv(), Identity(in_channels=2)])
    assert str(caught.value) == "Identity; expected a SequenceModule"


def test_every_source_of_data_knows_its_kind_and_its_layout() -> None:
    assert {source: (spec.kind, spec.layout) for source, spec in DATA_SPECS.items()} == {
        "stl10": ("images", "stl10"),
        "demo_images": ("images", "stl10"),
        "librispeech": ("speech", "librispeech"),
        "demo_speech": ("speech", "librispeech"),
        "images": ("images", "images"),
        "image_array": ("images", "image_array"),
        "sound": ("speech", "sound"),
        "array": ("speech", "array"),
        "demo_large": ("images", "demo_large"),
        "demo_series": ("speech", "demo_series"),
    }
