"""How loud speech is at every time and frequency, for drawings.

Imports nothing of gimstage; torch when a spectrogram is computed.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

WINDOW_SAMPLES = 400  # 25 ms
_BINS = 512
_SILENCE = 1e-4  # digital silence has a logarithm too


def spectrogram(
    wave: NDArray[np.float32],
    *,
    hop_samples: int,
    beyond: Literal["reflect", "constant"] = "reflect",
) -> NDArray[np.float32]:
    """Level in dB, (257 frequencies from 0 to 8 kHz, t) float32.

    Args:
        wave: samples at 16 kHz, (n,) float32.
        hop_samples: from one column to the next; column t is centred on sample t · hop_samples.
        beyond: what windows see beyond the ends: the wave mirrored, or zeros.
    """
    import torch

    window = torch.hann_window(WINDOW_SAMPLES)
    spectrum = torch.stft(
        torch.from_numpy(wave),
        _BINS,
        hop_samples,
        WINDOW_SAMPLES,
        window,
        pad_mode=beyond,
        return_complex=True,
    )
    level: NDArray[np.float32] = (20 * torch.log10(spectrum.abs() + _SILENCE)).numpy()
    return level
