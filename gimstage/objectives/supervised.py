"""Supervised learning: one linear classifier on codes, trained with what makes them.

Per sample, codes are averaged over all their positions, as for the speaker of a crop or the class
of an image; per frame, over stretches of time, as for the phones of a crop.
This file imports nothing of gimstage but the bases of modules and objectives.
"""

import math
from typing import Annotated, Any

import torch
import torch.nn.functional as F  # noqa: N812
from annotated_types import Ge, Le
from torch import Tensor, nn

from gimstage.modules.base import Shape
from gimstage.objectives.base import Labels, Objective, Result
from gimstage.sizes.bounds import MOST, Natural

Classes = Annotated[int, Ge(2), Le(MOST)]


def checked_labels(labels: Tensor | None, shape: tuple[int, ...], num_classes: int) -> Tensor:
    """The labels, once they are known to be classes and of that shape.

    To look at them waits for their device: leave them on the CPU.

    Raises:
        ValueError: there are none, or of another shape, or one is not in 0 … num_classes − 1.
    """
    if labels is None:
        raise ValueError(f"no labels; expected {shape}")
    if labels.shape != shape:
        raise ValueError(f"labels {tuple(labels.shape)}; expected {shape}")
    fit = (labels >= 0) & (labels < num_classes)
    if not bool(fit.all()):
        raise ValueError(f"label {labels[~fit][0].item()}; expected 0 to {num_classes - 1}")
    return labels


class Supervised(Objective, kind="supervised"):
    """Cross-entropy of a linear classifier.

    What it reads are the contexts, the last thing a module makes: for a GRU its states, not the
    codes it is given. Elsewhere they are the codes.

    Args:
        context_channels: the channels of the contexts.
        num_classes: classes to tell apart.
        per: what has a label: an image or an utterance ("sample"), or every 10 ms of speech, a
            phone ("frame").
        frames: frames of a sample, over each of which contexts are averaged; not looked at for
            "sample".
        offset: label t is that of frame t + `offset`, as in a phone probe; for "frame" only.
    """

    algorithm = 1
    code_layouts = frozenset({"positions", "none"})

    def __init__(
        self,
        context_channels: int,
        num_classes: Classes,
        *,
        per: Labels,
        frames: int | None,
        offset: Natural | None = None,
    ) -> None:
        super().__init__()
        if per == "frame" and frames is None:
            raise ValueError("no number of frames per 'frame'; expected one")
        self.label_kind, self.num_classes, self.offset = per, num_classes, offset or 0
        self.frames = frames if per == "frame" else None
        self.head = nn.Linear(context_channels, num_classes)

    @classmethod
    def check_keys(cls, **keys: Any) -> None:
        """Refuse an offset of labels that are not per frame, and the other way round.

        Raises:
            ValueError: says which of both it is.
        """
        per, offset = keys["per"], keys["offset"]
        if (per == "frame") != (offset is not None):
            found = f'per = "{per}" {"without" if offset is None else "with"} offset'
            raise ValueError(f'{found}; expected offset with per = "frame", and only there')

    @classmethod
    def chance_loss_for(cls, **keys: Any) -> float:
        """ln(classes): every class is as likely."""
        return math.log(keys["num_classes"])

    @classmethod
    def labels_for(cls, **keys: Any) -> Labels:
        """What its labels are of, which the key `per` says."""
        labels: Labels = keys["per"]
        return labels

    @property
    def classifier(self) -> nn.Module | None:
        """The classifier, where it is of samples."""
        return self.head if self.frames is None else None

    def multiply_adds(self, shape: Shape) -> int:
        """Those of the classifier, at every position for labels per frame, else once a sample."""
        times = 1 if self.frames is None else math.prod(shape[:-1])
        return times * self.head.weight.numel()

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> None:
        """Nothing: no part of it is random."""

    def forward(self, z: Tensor, c: Tensor, draws: Any, labels: Tensor | None = None) -> Result:
        """The loss of classifying contexts, with gradient into them and into the classifier.

        Args:
            z: not used.
            c: (B, …, C), or (B, T, C) with labels per frame; any floating dtype.
            draws: not used.
            labels: int64 classes, (B,) or (B, frames), best on the CPU.

        Returns:
            Mean loss and share of right labels, over samples or frames; one step.

        Raises:
            ValueError: as `checked_labels`, or contexts of another layout.
        """
        self._check(c)
        shape = (len(c),) if self.frames is None else (len(c), self.frames)
        right = checked_labels(labels, shape, self.head.out_features)
        right = right.flatten().to(c.device, non_blocking=True)
        # Averaging frames commutes with the classifier, behind which there is less to average.
        logits = self.head(c.flatten(1, -2).mean(1) if self.frames is None else c)
        with torch.autocast(c.device.type, enabled=False):
            logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
            if self.frames is not None:
                logits = _averaged(logits, self.frames).flatten(0, 1)
            loss = F.cross_entropy(logits, right)
        return Result(loss, loss.detach()[None], (logits.argmax(1) == right).float().mean())

    def _check(self, c: Tensor) -> None:
        axes = c.ndim == 3 if self.frames is not None else c.ndim > 2
        if not axes or c.shape[-1] != self.head.in_features:
            layout = "(B, …, C)" if self.frames is None else "(B, T, C)"
            raise ValueError(
                f"contexts {tuple(c.shape)}; "
                f"expected {layout} with {self.head.in_features} channels"
            )


def _averaged(x: Tensor, frames: int) -> Tensor:
    """Rows (B, T, C) averaged to (B, F, C): frame f over rows ⌊f T / F⌋ to before ⌈(f + 1) T / F⌉.

    This is torch's adaptive average pooling, whose gradient on CUDA adds in no fixed order.
    """
    rows = x.shape[1]
    if rows == frames:
        return x
    frame = torch.arange(frames, device=x.device)[:, None]
    row = torch.arange(rows, device=x.device)
    begins, ends = frame * rows // frames, -(-(frame + 1) * rows // frames)
    inside = ((begins <= row) & (row < ends)).to(x.dtype)
    return inside / (ends - begins) @ x
