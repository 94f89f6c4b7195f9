"""What a module is trained on: each objective turns codes into a loss."""

from gimstage.objectives.base import Objective, Result
from gimstage.objectives.infonce import Draws, InfoNCE

__all__ = ["Draws", "InfoNCE", "Objective", "Result"]
