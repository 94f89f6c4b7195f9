"""What a module is trained on: each objective turns codes into a loss."""

from gimstage.objectives.base import (
    GIVEN,
    Objective,
    Result,
    empty_labels,
    objective_multiply_adds,
)
from gimstage.objectives.deep_infomax import DeepInfoMax
from gimstage.objectives.infonce import Draws, InfoNCE
from gimstage.objectives.predsim import Predsim
from gimstage.objectives.supervised import Supervised

__all__ = [
    "GIVEN",
    "DeepInfoMax",
    "Draws",
    "InfoNCE",
    "Objective",
    "Predsim",
    "Result",
    "Supervised",
    "empty_labels",
    "objective_multiply_adds",
]
