"""What a module is trained on: each objective turns codes into a loss."""

from gimstage.objectives.infonce import Draws, InfoNCE, InfoNCEResult

__all__ = ["Draws", "InfoNCE", "InfoNCEResult"]
