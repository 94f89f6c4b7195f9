"""Deep InfoMax: tell which local and global codes come from the same image.

Two small nets take local and global codes to one space; a pair scores their dot product. All pairs
of one image are positives; the negatives of a global code are the local codes of all other images
of the batch (Hjelm et al. 2019). Nothing is drawn.

Shape letters: B batch, I local codes of an image, J global ones, C channels.
This file imports nothing of gimstage but the bases of modules and objectives.
"""

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from gimstage.modules.base import Shape
from gimstage.objectives.base import Objective, Result
from gimstage.sizes.bounds import Positive

_OWN_LOGIT = -10.0  # what the original writes over same-image entries instead of leaving them out


def dim_infonce(local_codes: Tensor, global_codes: Tensor) -> Result:
    """Each pair of one image against the same global code with all local codes of other images.

    The own image's I local codes stay among the negatives with a score of −10, as in the original.

    Args:
        local_codes: (B, I, C), float32 or float64.
        global_codes: (B, J, C), of the same dtype.

    Returns:
        The mean over all B · I · J pairs, with gradient into both; one step; contrastive accuracy,
        the share of pairs that no local code of another image beats.

    Raises:
        ValueError: fewer than two images, or shapes that do not fit together.
    """
    own, others = _scores(local_codes, global_codes, own_becomes=_OWN_LOGIT)
    negatives = others.logsumexp(1).view(*own.shape[:2], 1)
    # −ln of the positive's share of exp(own) + exp(negatives), without a copy for every pair.
    return _result(-F.logsigmoid(own - negatives).mean(), own, others)


def dim_jsd(local_codes: Tensor, global_codes: Tensor) -> Result:
    """The Jensen–Shannon form: every pair for itself, is it of one image or of two.

    Args, Returns, Raises: as `dim_infonce`; the loss is the mean of softplus(−score) over pairs of
    one image, plus that of softplus(score) over pairs of two, minus 2 ln 2.
    """
    own, others = _scores(local_codes, global_codes, own_becomes=-torch.inf)
    # A score of −∞ adds nothing to the sum, and no gradient.
    unlike = F.softplus(others).sum() / (others.numel() - own.numel())
    return _result(unlike - F.logsigmoid(own).mean() - 2 * math.log(2), own, others)


class DeepInfoMax(Objective, kind="deep_infomax"):
    """Deep InfoMax on a grid of local codes z and one of global codes c.

    Args:
        code_channels: the channels of the local codes z.
        context_channels: the channels of the global codes c.
        hidden_channels: the channels of the space they are compared in, and of the nets' hidden
            layer.
        loss: "infonce", which the published numbers come from, or "jsd".
    """

    algorithm = 1
    code_layouts = frozenset({"local and global"})

    def __init__(
        self,
        code_channels: int,
        context_channels: int,
        *,
        hidden_channels: Positive,
        loss: Literal["infonce", "jsd"],
    ) -> None:
        super().__init__()
        self.channels = code_channels, context_channels, hidden_channels
        self.local_net = _ScoringNet(code_channels, hidden_channels)
        self.global_net = _ScoringNet(context_channels, hidden_channels)
        self.loss = {"infonce": dim_infonce, "jsd": dim_jsd}[loss]

    def multiply_adds(self, shape: Shape) -> int:
        """Those of the scoring nets, and of an image's codes (G, G, C) with each other."""
        local_channels, global_channels, hidden = self.channels
        near, far = math.prod(shape[:2]), math.prod(side - 2 for side in shape[:2])
        nets = near * local_channels + far * global_channels
        return 2 * hidden * nets + (near + far) * hidden**2 + near * far * hidden

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> None:
        """Nothing: all pairs are compared."""

    def forward(self, z: Tensor, c: Tensor, draws: Any, labels: Tensor | None = None) -> Result:
        """The loss of local codes z (B, …, C) and global codes c (B, …, C of globals).

        Args:
            z: local codes; any floating dtype.
            c: global codes.
            draws: not used.
            labels: not used.

        Returns:
            As `dim_infonce`, in float32 at least, with gradient into both and into the nets.
        """
        local_codes, global_codes = self.local_net(z), self.global_net(c)
        # Scores run to hundreds: in bfloat16 they would be rounded to whole numbers.
        with torch.autocast(z.device.type, enabled=False):
            return self.loss(_wide(local_codes), _wide(global_codes))


class _ScoringNet(nn.Module):
    """One hidden layer, beside a shortcut that starts as a noisy copy; normalised over channels.

    Args:
        in_channels: channels of the codes.
        channels: that come out, and of the hidden layer.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.shortcut = nn.Linear(in_channels, channels, bias=False)
        self.hidden = nn.Linear(in_channels, channels, bias=False)
        self.hidden_norm = nn.BatchNorm1d(channels)
        self.out = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels)
        with torch.no_grad():
            self.shortcut.weight.uniform_(-0.01, 0.01).fill_diagonal_(1)

    def forward(self, codes: Tensor) -> Tensor:
        """Codes (B, …, C) in the common space, (B, number of codes, channels)."""
        rows = codes.flatten(0, -2)
        # All codes of all images are one batch to the normalisation.
        hidden = self.hidden_norm(self.hidden(rows)).relu_()
        y = self.norm(self.out(hidden) + self.shortcut(rows))
        compared: Tensor = y.unflatten(0, (len(codes), -1))
        return compared


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _scores(
    local_codes: Tensor, global_codes: Tensor, *, own_becomes: float
) -> tuple[Tensor, Tensor]:
    """Scores within images, (B, J, I), and of all pairs, (B · J, B · I), the same-image ones gone.

    The second is by far the largest tensor here; it is written over in place.
    """
    images, near, channels = local_codes.shape
    if images < 2 or (len(global_codes), global_codes.shape[-1]) != (images, channels):
        raise ValueError(
            f"local codes {tuple(local_codes.shape)}, global codes {tuple(global_codes.shape)}; "
            "expected 2 images or more, the same number of them and of channels"
        )
    own = torch.bmm(global_codes, local_codes.mT)
    others = global_codes.flatten(0, 1) @ local_codes.flatten(0, 1).T
    same = torch.eye(images, dtype=torch.bool, device=own.device)
    same = same.repeat_interleave(own.shape[1], 0).repeat_interleave(near, 1)
    return own, others.masked_fill_(same, own_becomes)


def _result(loss: Tensor, own: Tensor, others: Tensor) -> Result:
    best = others.detach().amax(1).view(*own.shape[:2], 1)
    return Result(loss, loss.detach()[None], (own >= best).float().mean())
