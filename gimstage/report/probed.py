"""What the rows of a probe name: what was probed, and by which protocol.

"3"           stage 3 of the recipe itself
"1.3"         module 3 of its stage 1
"OTHER/1.3"   the same of another recipe
"pixels"      no module at all, but the data
"""

import re
from collections.abc import Mapping

from gimstage.report.stageruns import StageRun

BASELINES = ("pixels", "mfcc")
LINEAR = ("paper", "converged")
PROTOCOLS = {
    "paper": "the paper's linear probe, Adam for a fixed number of epochs",
    "converged": "a linear probe too, regularised logistic regression run until it converges",
    "hidden": "the classifier of Deep InfoMax's authors, which has a hidden layer and so is more "
    "than a linear probe",
    "own": "no probe but the network's own classifier, the head that supervised training leaves or "
    "Predsim's output layer",
}


def protocol_order(protocol: str) -> tuple[int, str]:
    """For sorting: the paper's first, then as they are listed here, then others by name."""
    known = list(PROTOCOLS)
    return (known.index(protocol) if protocol in known else len(known), protocol)


def input_order(stage: str) -> tuple[bool, tuple[int, ...]]:
    """For sorting: those of other recipes first, as they lie below; numbers by value."""
    return "/" not in stage, _numbers(stage)


def input_words(stage: str) -> str:
    """The input that was probed, in words."""
    if "/" in stage or stage in BASELINES:
        return stage
    return f"module {stage}" if "." in stage else f"stage {stage}"


def position(stage: str, stages: Mapping[int, StageRun]) -> int:
    """Where what was probed stands in its network, counted from 1 at the data.

    Args:
        stage: the input named in a row; not a baseline.
        stages: the stages of the row's recipe, by number; one that is not there is taken to hold
            one module, and one module each before it.
    """
    number, *module = _numbers(stage) or (1,)
    known = stages.get(number) if "/" not in stage else None
    places = known.positions if known else range(number, number + 1)
    return places.start + module[0] - 1 if module else places[-1]


def _numbers(stage: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", stage.rpartition("/")[2])))
