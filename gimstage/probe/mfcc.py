"""Mel-frequency cepstral coefficients: the row of table 3 that nothing trained.

The paper copied its figure and published no settings; ours stand in the probe's TOML.
"""

import torch
from torch import Tensor, nn

from gimstage.specs import MFCCSpec, SequenceDataSpec


class MFCC(nn.Module):
    """Coefficients of every frame with their first and second differences.

    Vector t is of the samples from the beginning of frame t on, `window_samples` of them; nothing
    is padded.

    Args:
        spec: its TOML.
        rate_hz: samples in a second.
        frame_rows: samples in a frame.
    """

    def __init__(self, spec: MFCCSpec, *, rate_hz: float, frame_rows: int) -> None:
        super().__init__()
        from torchaudio.transforms import MFCC as TorchMFCC  # noqa: N811
        from torchaudio.transforms import ComputeDeltas

        self.coefficients = TorchMFCC(
            sample_rate=int(rate_hz),
            n_mfcc=spec.coefficients,
            melkwargs={
                "n_fft": spec.window_samples,
                "hop_length": frame_rows,
                "n_mels": spec.mel_bands,
                "center": False,
            },
        )
        self.deltas = ComputeDeltas(win_length=spec.delta_frames)
        self.window_samples = spec.window_samples
        self.margin = 2 * (spec.delta_frames // 2)  # frames at each side that differences are of

    @torch.no_grad()
    def forward(self, waves: Tensor) -> Tensor:
        """Vectors (B, T', 3 · coefficients) of samples (B, T)."""
        # Each wave as a sample of one channel: torchaudio floors a spectrogram 80 dB below the
        # loudest of its channels, and would take a batch of waves for the channels of one sample.
        first = self.coefficients(waves.cpu()[:, None])[:, 0]
        second = self.deltas(first)
        return torch.cat([first, second, self.deltas(second)], dim=1).transpose(1, 2)


def mfcc_of(spec: MFCCSpec | None, data: SequenceDataSpec) -> MFCC | None:
    """The coefficients that a probe asks for, of the data's samples; None where it asks for none.

    Of several channels they are those of the first.
    """
    if spec is None:
        return None
    assert data.rate_hz is not None, "a recipe whose data has no rate was refused"
    return MFCC(spec, rate_hz=data.rate_hz, frame_rows=data.frame_rows)
