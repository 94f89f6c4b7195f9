"""Probes: how much of a label a frozen stack's codes hold, for a small classifier.

    classifiers   the protocols, on arrays
    crops         one label a sample, from the codes of a crop
    labels        of images and of sequences; image classes and speakers are two such labels
    frames        one label a frame, such as phones
    told          which labels can be told, and which classes training lacks
    mfcc          the features of sound that nothing trained

Two linear protocols. *paper*: Adam on raw codes for a number of epochs (Löwe et al. 2019).
*converged*: standardised codes, logistic regression until it no longer improves, L2 chosen on
held-out samples; it does not depend on the scale of the codes, which differs between modules by a
factor of fifty. Both see a crop's mean code. Image classes have a third, not linear, that sees the
codes of all positions: *hidden*, as the authors of Deep InfoMax evaluate it (Hjelm et al. 2019).
"""

from collections.abc import Callable
from typing import Any

from gimstage.inputs import DataSet
from gimstage.probe.base import Row, Stacks
from gimstage.probe.crops import CropProbe
from gimstage.probe.frames import FrameProbe
from gimstage.probe.labels import ClassProbe, SpeakerProbe, label_probe
from gimstage.specs import ProbeSpec

__all__ = ["ClassProbe", "CropProbe", "FrameProbe", "Row", "SpeakerProbe", "Stacks", "open_probe"]

# By task; a recipe was refused whose data a task does not suit.
PROBES: dict[str, Callable[..., CropProbe | FrameProbe]] = {
    "class": ClassProbe,
    "speaker": SpeakerProbe,
    "phone": FrameProbe,
    "label": label_probe,
    "frames": FrameProbe,
}


def open_probe(spec: ProbeSpec, data: DataSet, **settings: Any) -> CropProbe | FrameProbe:
    """A probe with its splits and labels read and checked; `rows` does its work.

    Args:
        spec: its TOML.
        data: the data set.
        settings: device, workers and watch.

    Raises:
        DataError: a split cannot be read, has no labels, or all the same.
    """
    return PROBES[spec.task](spec, data, **settings)
