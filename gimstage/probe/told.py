"""What labels a probe can tell: which classes training lacks, and what nobody could learn."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np

from gimstage.data.splits import Split
from gimstage.errors import DataError, NoLabelsError
from gimstage.specs import ProbeSpec
from gimstage.views import Ints

MOST_CLASSES = 20_000  # whose scores for as many samples take 3 GB
NAMED = 5  # classes that a message names

_log = logging.getLogger(__name__)


def title_of(spec: ProbeSpec) -> str:
    """What the rows of a probe call what it tells: its task, or the label that the task names."""
    return spec.label if spec.task in ("label", "frames") else spec.task


def unseen_classes(train: Ints, test: Ints) -> Ints:
    """The classes of test labels that no training label is of, ascending."""
    return np.setdiff1d(test, train)


def share_of_commonest(train: Ints, test: Ints) -> float:
    """Accuracy of always naming the class that is most frequent in training."""
    return float((test == np.bincount(train).argmax()).mean())


def refuse_untold(label: str, splits: Mapping[str, Split], labels: Mapping[str, Ints]) -> None:
    """Refuse labels of which nothing could be learned and told.

    Args:
        label: what they are called.
        splits: the splits by role, "train" and "test".
        labels: what each has of labels, (N,) int64, by role.

    Raises:
        NoLabelsError: a split has none, or the two share no class.
        DataError: there is one class only, or more than can be told apart.
    """
    root, names = splits["train"].root, {role: split.name for role, split in splits.items()}
    for role, own in labels.items():
        if not len(own):
            where, found = f"{root}, split '{names[role]}'", f"no sample has a label '{label}'"
            cure = "label some, or probe another split"
            raise NoLabelsError(where, found, "one at least, long enough for a crop", cure)
    classes, where = np.unique(labels["train"]), f"{root}, split '{names['train']}'"
    if len(classes) < 2:
        cure = "probe another label, or more samples"
        raise DataError(where, f"one {label} only", "two at least", cure)
    if len(classes) > MOST_CLASSES:
        found = f"{len(classes):,} classes of '{label}' for {len(labels['train']):,} samples"
        cure = "probe a label that samples share"
        raise DataError(where, found, f"{MOST_CLASSES:,} at most", cure)
    if not np.isin(labels["test"], classes).any():
        found = f"no {label} of '{names['test']}' is one of '{names['train']}'"
        cure = "probe a label that the splits share; other probes need not"
        raise NoLabelsError(str(root), found, "some that are in both", cure)


def refuse_unseen(label: str, splits: Mapping[str, Split], names: list[str]) -> None:
    """Refuse classes of the test that nobody could learn from the training samples.

    Args:
        label: what the classes are called.
        splits: the splits by role, "train" and "test".
        names: the classes that training lacks, in order.

    Raises:
        NoLabelsError: there is one.
    """
    if names:
        train, test = (splits[role].name for role in ("train", "test"))
        found = f"{label}s of '{test}' that '{train}' lacks: {len(names):,}, first '{names[0]}'"
        expected = f"every {label} of '{test}' in '{train}' too"
        cure = f"probe {label}s on lists that share them; other probes need not"
        raise NoLabelsError(str(splits["train"].root), found, expected, cure)


def say_unseen(label: str, classes: tuple[str, ...], *, unseen: Ints, tested: Ints) -> None:
    """Say which classes of the test training lacks, so that none of their samples is told right.

    Args:
        label: what they are called.
        classes: their names.
        unseen: those that training lacks.
        tested: the labels of the test, (N,) int64.
    """
    if len(unseen):
        names = [classes[each] for each in unseen[:NAMED]] + ["…"] * (len(unseen) > NAMED)
        _log.warning(
            "label '%s': training lacks %s of the classes tested (%s), so %s of %s are told wrong",
            *(label, f"{len(unseen):,}", ", ".join(names)),
            *(f"{int(np.isin(tested, unseen).sum()):,}", f"{len(tested):,}"),
        )
