"""Mean and standard deviation of each channel of some data, gathered piece by piece.

Imports nothing of gimstage. Shapes: C channels.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


@dataclass
class Moments:
    """The moments of every value seen so far, in float64, merged so that no large sums cancel.

    Attributes:
        count: values seen of each channel.
        mean: their mean, (C,) float64; empty before the first piece.
        spread: their squared distances from the mean, summed, (C,) float64.
    """

    count: int = 0
    mean: Doubles = field(default_factory=lambda: np.zeros(0))
    spread: Doubles = field(default_factory=lambda: np.zeros(0))

    def add(self, values: NDArray[Any]) -> None:
        """Count a piece in.

        Args:
            values: (C, …) of any real dtype, the same C every time.
        """
        flat = np.asarray(values, np.float64).reshape(len(values), -1)
        if not flat.size:
            return
        count, mean = flat.shape[1], flat.mean(1)
        spread = np.square(flat - mean[:, None]).sum(1)
        if not self.count:
            self.count, self.mean, self.spread = count, mean, spread
            return
        total, apart = self.count + count, mean - self.mean
        self.spread = self.spread + spread + apart**2 * (self.count * count / total)
        self.mean = self.mean + apart * (count / total)
        self.count = total

    @property
    def std(self) -> Doubles:
        """Standard deviation of each channel, (C,) float64."""
        return np.sqrt(self.spread / max(self.count, 1))
