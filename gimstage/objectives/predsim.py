"""Predsim: the supervised local loss of one hidden layer, from predicting and from similarity.

A layer's output h should let a linear classifier tell the classes (pred), and make two samples as
similar as their labels are (sim), each measured through weights of its own that are then discarded
(Nøkland and Eidnes 2019). Nothing is drawn.

Shape letters: B batch, C channels, y x map.
This file imports nothing of gimstage but objectives: the base, and how labels are checked.
"""

import math
from itertools import cycle
from typing import Annotated, Any

import torch
import torch.nn.functional as F  # noqa: N812
from annotated_types import Ge, Le
from torch import Tensor, nn

from gimstage.modules.base import Shape
from gimstage.objectives.base import Objective, Result
from gimstage.objectives.supervised import Classes, checked_labels
from gimstage.sizes.bounds import Positive


def similarity_matrix(h: Tensor) -> Tensor:
    """How similar each two samples are, (B, B) from −1 to 1.

    Args:
        h: (B, …), float32 or float64. Of a map (B, C, y, x) of more than 3 channels and one row,
            each channel counts with its standard deviation over the map; of all else every value.
    """
    spread = h.ndim == 4 and h.shape[1] > 3 and h.shape[2] > 1
    rows = h.flatten(2).std(2) if spread else h.flatten(1)
    rows = rows - rows.mean(1, keepdim=True)
    rows = rows / (rows.norm(dim=1, keepdim=True) + 1e-8)
    similarity: Tensor = (rows @ rows.T).clamp(-1, 1)
    return similarity


def similarity_loss(h: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Mean squared difference of the similarities of h (B, …) and of one-hot labels (B,)."""
    classes = F.one_hot(labels, num_classes).to(h.dtype)
    return F.mse_loss(similarity_matrix(h), similarity_matrix(classes))


class Predsim(Objective, kind="predsim"):
    """The loss of one hidden layer.

    Args:
        code_shape: rows, columns and channels of h, (y, x, C); one row and column for vectors.
        num_classes: classes to tell apart.
        similarity_share: weight of the similarity loss; the rest is that of cross-entropy.
        head_inputs: most inputs of the classifier, down to which maps are averaged.
    """

    algorithm = 1
    code_layouts = frozenset({"map"})
    whole_images = True
    isolates = True
    label_kind = "sample"

    def __init__(
        self,
        *,
        code_shape: Shape,
        num_classes: Classes,
        similarity_share: Annotated[float, Ge(0), Le(1)],
        head_inputs: Positive,
    ) -> None:
        super().__init__()
        self.shape, self.similarity_share = code_shape, similarity_share
        self.num_classes, self.head_inputs = num_classes, head_inputs
        height, width, channels = code_shape
        kernel = 1 if height == width == 1 else 3
        self.mix = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False)
        self.average, positions = _averaging(channels, (height, width), head_inputs)
        self.head = nn.Linear(channels * positions, num_classes)
        nn.init.zeros_(self.head.weight)

    def multiply_adds(self, shape: Shape) -> int:
        """Those of the classifier at its widest, and of the convolution before similarities.

        For the codes (L, S, y, x, C) of one sample.
        """
        *maps, y, x, _ = shape
        mixing = y * x * self.mix.weight.numel()
        return math.prod(maps) * (mixing + self.head_inputs * self.head.out_features)

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> None:
        """Nothing: no part of it is random."""

    def forward(self, z: Tensor, c: Tensor, draws: Any, labels: Tensor | None = None) -> Result:
        """The loss of a layer's output, with gradient into it and into both auxiliary parts.

        Args:
            z: h as codes, (B, …, y, x, C) with one map an image; any floating dtype.
            c: not used.
            draws: not used.
            labels: int64 classes (B,), best on the CPU.

        Returns:
            Loss, in float32 at least, one step, and the classifier's share of right labels.

        Raises:
            ValueError: there are no labels, or they are no classes, or z is of another shape.
        """
        if z.shape[-3:] != self.shape:
            expected = ", ".join(map(str, self.shape))
            raise ValueError(f"codes {tuple(z.shape)}; expected (B, {expected})")
        h = z.flatten(0, -4).movedim(-1, 1)
        right = checked_labels(labels, (len(h),), self.head.out_features)
        right = right.to(z.device, non_blocking=True)
        mixed, logits = self.mix(h), self.head(self.average(h).flatten(1))
        wide = torch.promote_types(mixed.dtype, torch.float32)
        with torch.autocast(z.device.type, enabled=False):
            similarity = similarity_loss(mixed.to(wide), right, self.head.out_features)
            prediction = F.cross_entropy(logits.to(wide), right)
        loss = self.similarity_share * similarity + (1 - self.similarity_share) * prediction
        return Result(loss, loss.detach()[None], (logits.argmax(1) == right).float().mean())


def _averaging(channels: int, size: tuple[int, int], most: int) -> tuple[nn.AvgPool2d, int]:
    """Average pooling of a map (y, x) to `most` values or fewer, and the positions it leaves.

    Its window is doubled in height and in width by turns. Where it does not divide the map, half a
    window of zeros is put at either side, and counted.
    """
    window = [1, 1]
    for axis in cycle((0, 1)):
        y, x = (-(-side // step) for side, step in zip(size, window, strict=True))
        if channels * y * x <= most or y * x == 1:
            break
        window[axis] *= 2 if window[axis] < size[axis] else 1
    along_y, along_x = (
        step // 2 if side % step else 0 for side, step in zip(size, window, strict=True)
    )
    pool = nn.AvgPool2d((window[0], window[1]), padding=(along_y, along_x), count_include_pad=True)
    return pool, y * x
