"""What the rows of a probe name: what was probed, and by which protocol.

"3"           stage 3 of the recipe itself
"1.3"         module 3 of its stage 1
"OTHER/1.3"   the same of another recipe
"pixels"      no module at all, but the data
"""

from collections.abc import Mapping
from contextlib import suppress

from gimstage.recipe.names import ModuleKey, RunName
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
    """A key to sort by: inputs of other recipes first, as they lie below; numbers by value."""
    key = _key(stage)
    if key is None:
        return True, ()
    return key.run == _OWN, (key.stage,) if key.module is None else (key.stage, key.module)


def input_words(stage: str) -> str:
    """What was probed, in words."""
    key = _key(stage)
    if key is None or key.run != _OWN:
        return stage
    return f"stage {stage}" if key.module is None else f"module {stage}"


def position(stage: str, stages: Mapping[int, StageRun]) -> int:
    """Where what was probed stands in its network, counted from 1 at the data.

    Args:
        stage: the name of an input, no baseline.
        stages: the stages of the row's recipe by number; one that is not there is taken to hold one
            module, and one module each before it.
    """
    key = _key(stage) or ModuleKey(_OWN, 1)
    known = stages.get(key.stage) if key.run == _OWN else None
    places = known.positions if known else range(key.stage, key.stage + 1)
    return places[-1] if key.module is None else places.start + key.module - 1


_OWN = RunName("")  # the run whose row it is, whatever it is called


def _key(stage: str) -> ModuleKey | None:
    """What was probed; None for what no module made."""
    with suppress(ValueError):
        return ModuleKey.parse(stage, within=_OWN)
    return None
