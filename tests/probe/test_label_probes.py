"""Probes of labels by name: what they tell, what they pass over, and what they refuse."""

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.homes import CPU, RECIPES

from gimstage.data.splits import Column
from gimstage.data.stl10 import Stl10Split
from gimstage.errors import DataError, GimstageError, NoLabelsError
from gimstage.inputs import Stl10Images
from gimstage.modules import ResNetModule
from gimstage.probe import open_probe
from gimstage.probe.crops import CropProbe
from gimstage.probe.told import MOST_CLASSES
from gimstage.progress import Watch
from gimstage.recipe.recipe import Recipe
from gimstage.specs import LabelProbeSpec
from gimstage.stack import Stack

SETTINGS: dict[str, Any] = {"device": CPU, "workers": 1, "watch": Watch()}
SPEC = LabelProbeSpec.model_validate(
    {
        "inputs": [1],
        "weights": "random",
        "task": "label",
        "label": "kind",
        "train_split": "train",
        "test_split": "test",
        "converged": {"views": 1, "l2": [0.1], "validation_share": 0.2, "seed": 1},
    }
)


class Kinds(Stl10Images):
    """Images whose classes are a label "kind" too, and of which some have none."""

    kinds: dict[str, list[int]] = {}
    classes: tuple[str, ...] = ()

    def split(self, name: str) -> Stl10Split:
        split = super().split(name)
        own = self.kinds.get(name, [])
        values = np.array([*own, *([-1] * (len(split) - len(own)))], np.int64)
        split.column = lambda label: Column(label, self.classes, values)  # type: ignore[method-assign]
        return split


@pytest.fixture
def images(tmp_path: Path) -> Kinds:
    """Synthetic images, of which some are labelled: a, b and c for training, d for the test."""
    made = Kinds.find(Recipe.load(RECIPES / "tiny").data, None, tmp_path)
    made.make(Watch())
    made.classes = ("a", "b", "c", "d")
    made.kinds = {"train": [0, 1, 1, 2] * 5, "test": [1, 1, 0, 3]}
    return made


def opened(images: Kinds) -> CropProbe:
    probe = open_probe(SPEC, images, **SETTINGS)
    assert isinstance(probe, CropProbe)
    return probe


def refusal(images: Kinds) -> tuple[type[GimstageError], str]:
    with pytest.raises(GimstageError) as error:
        opened(images)
    return type(error.value), str(error.value).replace(str(images.root), "DIR")


def rows(probe: CropProbe) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    module = ResNetModule(
        in_channels=1, block="basic", stem_channels=None, width=2, blocks=1, stride=2
    )
    return probe.rows("x", "probe", {"x/1": (Stack([module], ["x/1"]),)})


def test_samples_without_a_label_are_neither_learned_from_nor_told(images: Kinds) -> None:
    (row,) = rows(opened(images))
    assert (row["train_samples"], row["test_samples"]) == (20, 4)


def test_the_rows_are_called_as_the_label_and_chance_is_the_commonest_class(images: Kinds) -> None:
    (row,) = rows(opened(images))
    assert row["task"] == "kind"
    assert math.isclose(row["chance"], 2 / 4)  # b, of which two of the four tested are


def test_classes_that_training_lacks_are_named_and_cannot_be_told(
    images: Kinds, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        (row,) = rows(opened(images))
    assert caplog.messages == [
        "label 'kind': training lacks 1 of the classes tested (d), so 1 of 4 are told wrong"
    ]
    assert row["accuracy"] <= 3 / 4


def test_splits_that_share_no_class_have_no_labels_to_tell(images: Kinds) -> None:
    images.kinds["test"] = [3, 3]
    assert refusal(images) == (
        NoLabelsError,
        "DIR: no kind of 'test' is one of 'train'; expected some that are in both; "
        "probe a label that the splits share; other probes need not",
    )


def test_a_split_without_a_label_is_refused(images: Kinds) -> None:
    images.kinds["test"] = []
    assert refusal(images) == (
        NoLabelsError,
        "DIR, split 'test': no sample has a label 'kind'; "
        "expected one at least, long enough for a crop; label some, or probe another split",
    )


def test_one_class_alone_is_refused(images: Kinds) -> None:
    images.kinds["train"] = [1, 1]
    assert refusal(images) == (
        DataError,
        "DIR, split 'train': one kind only; expected two at least; "
        "probe another label, or more samples",
    )


def test_more_classes_than_can_be_told_apart_are_refused(images: Kinds, monkeypatch) -> None:
    monkeypatch.setattr("gimstage.probe.told.MOST_CLASSES", 2)
    assert MOST_CLASSES == 20_000
    assert refusal(images) == (
        DataError,
        "DIR, split 'train': 3 classes of 'kind' for 20 samples; expected 2 at most; "
        "probe a label that samples share",
    )
