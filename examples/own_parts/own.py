"""Two parts of one's own: a plain convolution on patches, and Barlow Twins between rows of them.

The keyword arguments of a constructor are the keys of its table in the TOML files beside this one.
"""

import torch
from torch import Tensor, nn

import gimstage


class Conv2d(gimstage.EncoderModule):
    """A strided convolution on every patch, then ReLU."""

    algorithm = 1  # raise it when the same table would give other numbers
    reads = "patch"
    rectified = True  # its features are never negative

    def __init__(self, *, in_channels: int, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = self.code_channels = channels
        self.stride = stride
        self.conv = nn.Conv2d(in_channels, channels, kernel, stride, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        """The features (…, C', y', x') of patches (…, C, y, x)."""
        return self.conv(x.flatten(0, -4)).relu().unflatten(0, x.shape[:-3])

    def pool(self, features: Tensor) -> Tensor:
        """The code of every patch, (…, C')."""
        return features.mean((-2, -1))

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(C', y', x') for a patch (C, y, x); the kernel is odd."""
        return (self.out_channels, *(-(-side // self.stride) for side in shape[1:]))


class BarlowTwins(gimstage.Objective):
    """The codes of two neighbouring rows of patches are two views (Zbontar et al. 2021)."""

    algorithm = 1

    def __init__(self, *, code_channels: int, channels: int, redundancy: float) -> None:
        super().__init__()
        self.project = nn.Linear(code_channels, channels)
        self.redundancy = redundancy

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> int:
        """The upper one of two rows of codes (B, L, S, C)."""
        return int(torch.randint(shape[1] - 1, (), generator=generator))

    def forward(
        self, z: Tensor, c: Tensor, draws: int, labels: Tensor | None = None
    ) -> gimstage.Result:
        """The loss of codes z (B, L, S, C): correlations one on the diagonal, zero beside it."""
        upper, lower = (self._normalised(z[:, row]) for row in (draws, draws + 1))
        correlation = upper.T @ lower / len(upper)
        on = correlation.diagonal()
        off = correlation.square().sum() - on.square().sum()
        loss = (1 - on).square().sum() + self.redundancy * off
        return gimstage.Result(loss, loss.detach()[None], on.detach().mean().clamp(0, 1))

    def _normalised(self, codes: Tensor) -> Tensor:
        rows = self.project(codes.flatten(0, 1)).float()
        return (rows - rows.mean(0)) / (rows.std(0) + 1e-5)
