"""What a data set is called, and how a real one is known."""

from pathlib import Path

import pytest

from gimstage.data.titles import images_title, speech_title
from gimstage.inputs import find_data
from gimstage.recipe.recipe import Recipe
from gimstage.runs.folder import RunFolder

STL10 = {"unlabeled": 100_000, "train": 5_000, "test": 8_000}


@pytest.mark.parametrize(
    ("counts", "title"),
    [
        (STL10, "STL-10"),
        ({"train": 5_000, "test": 8_000}, "STL-10"),
        (STL10 | {"unlabeled": 99_999}, "own images"),
        ({}, "own images"),
        (dict.fromkeys(STL10, 400), "own images"),
    ],
)
def test_stl10_is_known_by_the_sizes_of_its_splits(counts: dict[str, int], title: str) -> None:
    assert images_title(counts) == title


@pytest.mark.parametrize(
    ("utterances", "speakers", "title"),
    [
        (28_539, 251, "LibriSpeech"),
        (28_538, 251, "LibriSpeech"),
        (28_540, 251, "own speech"),
        (28_539, 250, "own speech"),
        (35, 14, "own speech"),
    ],
)
def test_librispeech_is_known_by_its_utterances_and_speakers(
    utterances: int, speakers: int, title: str
) -> None:
    assert speech_title(utterances, speakers) == title


@pytest.mark.parametrize(
    ("data", "title"), [(None, "synthetic images (demo)"), ("given", "own images")]
)
def test_data_that_is_given_is_not_synthetic(
    finished_images: Path, data: str | None, title: str
) -> None:
    runs = finished_images / "runs"
    folder = next((runs / "data").glob("demo-*"))
    recipe = Recipe.load(finished_images / "tiny")
    assert find_data(recipe.data, folder if data else None, runs).title == title


def test_a_run_records_what_its_data_is_called(
    finished_images: Path, finished_speech: Path
) -> None:
    manifests = [
        RunFolder(finished_images / "runs/tiny/1").manifest(),
        RunFolder(finished_images / "runs/tiny/probe").probe_manifest(),
        RunFolder(finished_speech / "runs/tiny_audio/1").manifest(),
    ]
    assert [each and each.data_title for each in manifests] == [
        "synthetic images (demo)",
        "synthetic images (demo)",
        "synthetic speech (demo)",
    ]
