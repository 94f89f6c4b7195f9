"""Mel-frequency cepstral coefficients, held against their definition written out in numpy."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gimstage.probe.mfcc import MFCC
from gimstage.specs import MFCCSpec

SPEC = MFCCSpec(coefficients=6, mel_bands=20, window_samples=400, delta_frames=5)
SAMPLE_RATE_HZ = 16_000
Floats = NDArray[np.float64]


def mfcc() -> MFCC:
    return MFCC(SPEC, rate_hz=SAMPLE_RATE_HZ, frame_rows=160)


def wave(samples: int) -> torch.Tensor:
    return torch.randn(1, samples, generator=torch.Generator().manual_seed(4))


def mel(hz: Floats) -> Floats:
    return 2595 * np.log10(1 + hz / 700)


def plain(samples: Floats) -> Floats:
    """Coefficients (T, 6): windowed power, mel triangles, decibels within 80, cosine transform."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = [samples[at : at + 400] * window for at in range(0, len(samples) - 399, 160)]
    power = np.abs(np.fft.rfft(frames)) ** 2
    bins = np.linspace(0, SAMPLE_RATE_HZ // 2, 201)
    edges = 700 * (10 ** (np.linspace(0, mel(np.array(8000.0)), 22) / 2595) - 1)
    low, mid, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    bands = np.minimum((bins - low) / (mid - low), (high - bins) / (high - mid)).clip(0)
    decibels = 10 * np.log10((power @ bands.T).clip(1e-10))
    decibels = decibels.clip(decibels.max() - 80)
    cosine = np.cos(np.pi / 20 * (np.arange(20) + 0.5) * np.arange(6)[:, None]) * np.sqrt(2 / 20)
    cosine[0] /= np.sqrt(2)
    result: Floats = decibels @ cosine.T
    return result


def difference(rows: Floats) -> Floats:
    """The slope over five frames, those at the ends repeated beyond them."""
    padded = np.pad(rows, ((2, 2), (0, 0)), mode="edge")
    count = len(rows)
    slopes = [n * (padded[2 + n : 2 + n + count] - padded[2 - n : 2 - n + count]) for n in (1, 2)]
    result: Floats = sum(slopes) / 10
    return result


def test_coefficients_and_their_differences_are_as_defined() -> None:
    x = wave(4_000)
    first = plain(x[0].double().numpy())
    second = difference(first)
    wanted = np.concatenate([first, second, difference(second)], axis=1)
    np.testing.assert_allclose(mfcc()(x)[0].numpy(), wanted, rtol=1e-3, atol=5e-3)


@pytest.mark.parametrize(("samples", "rows"), [(400, 1), (559, 1), (560, 2), (16_000, 98)])
def test_there_is_a_vector_for_every_whole_window(samples: int, rows: int) -> None:
    assert mfcc()(wave(samples)).shape == (1, rows, 18)


def test_a_vector_is_of_the_samples_from_its_frame_on() -> None:
    x = wave(4_000)
    moved = torch.cat([x[:, 160:], x[:, :160]], dim=1)
    rows, later = mfcc()(x)[0, :, :6], mfcc()(moved)[0, :, :6]
    torch.testing.assert_close(later[:20], rows[1:21], rtol=1e-3, atol=1e-3)


def test_no_gradient_is_kept() -> None:
    assert not mfcc()(wave(800).requires_grad_()).requires_grad
