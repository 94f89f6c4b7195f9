"""How golden tests translate fixtures, and what they allow."""

import torch
from torch import Tensor

from gimstage.objectives import Draws, InfoNCE

F64 = {"rtol": 1e-8, "atol": 1e-12}
DTYPES = [torch.float64, torch.float32]


def loss_tolerance(dtype):
    return F64 if dtype == torch.float64 else {"rtol": 1e-5, "atol": 0}


def vision_draws(g, prefix: str, gap: int) -> Draws:
    """The negatives of all steps; the fixture counts (row, column, image) in a step's targets."""
    negatives = []
    while (key := f"{prefix}{len(negatives) + 1}") in g:
        rows_left, side, images, _ = g[key].shape
        assert rows_left == side - len(negatives) - 1 - gap
        row, column, image = g[key] // images // side, g[key] // images % side, g[key] % images
        negatives.append((image * side + row + side - rows_left) * side + column)
    return Draws(0, tuple(negatives))


def vision_objective(weights: Tensor, gap: int, num_negatives: int) -> InfoNCE:
    """An objective as the vision fixtures use it, of weights (K, C, C)."""
    steps, channels, _ = weights.shape
    objective = InfoNCE(
        code_channels=channels,
        context_channels=channels,
        prediction_steps=steps,
        prediction_gap=gap,
        num_negatives=num_negatives,
        projection="target",
        negative_source="targets",
        exclude_positive=False,
        probability_floor=1e-11,
        window=None,
    ).to(weights.dtype)
    objective.projections.data.copy_(weights)
    return objective
