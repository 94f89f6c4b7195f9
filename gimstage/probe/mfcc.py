"""Mel-frequency cepstral coefficients: the row of table 3 that nothing trained.

The paper copied its figure and published no settings; ours stand in the probe's TOML.
"""

import torch
from torch import Tensor, nn

from gimstage.data.librispeech import FRAME_SAMPLES
from gimstage.data.utterances import SAMPLE_RATE_HZ
from gimstage.specs import MFCCSpec


class MFCC(nn.Module):
    """Coefficients of every 10 ms with their first and second differences.

    Vector t is of the samples from 160 t to 160 t + `window_samples`; nothing is padded.

    Args:
        spec: its TOML.
    """

    def __init__(self, spec: MFCCSpec) -> None:
        super().__init__()
        from torchaudio.transforms import MFCC as TorchMFCC  # noqa: N811
        from torchaudio.transforms import ComputeDeltas

        self.coefficients = TorchMFCC(
            sample_rate=SAMPLE_RATE_HZ,
            n_mfcc=spec.coefficients,
            melkwargs={
                "n_fft": spec.window_samples,
                "hop_length": FRAME_SAMPLES,
                "n_mels": spec.mel_bands,
                "center": False,
            },
        )
        self.deltas = ComputeDeltas(win_length=spec.delta_frames)

    @torch.no_grad()
    def forward(self, waves: Tensor) -> Tensor:
        """Vectors (B, T', 3 · coefficients) of samples (B, T)."""
        # Each wave as a sample of one channel: torchaudio floors a spectrogram 80 dB below the
        # loudest of its channels, and would take a batch of waves for the channels of one sample.
        first = self.coefficients(waves.cpu()[:, None])[:, 0]
        second = self.deltas(first)
        return torch.cat([first, second, self.deltas(second)], dim=1).transpose(1, 2)
