"""How loud speech is at every time and frequency."""

import numpy as np
import pytest

from gimstage.data.spectrogram import spectrogram

TONE = np.sin(2 * np.pi * 1000 / 16_000 * np.arange(8_000)).astype(np.float32)


def test_a_tone_is_loudest_in_the_row_of_its_frequency() -> None:
    level = spectrogram(TONE, hop_samples=160)
    assert level.shape == (257, 51)
    assert set(level[:, 2:-2].argmax(0)) == {32}  # 1000 Hz in steps of 31.25


def test_ten_times_the_amplitude_is_20_db_more() -> None:
    quiet, loud = (spectrogram(wave, hop_samples=80) for wave in (TONE, 10 * TONE))
    assert loud.max() - quiet.max() == pytest.approx(20, abs=0.01)


@pytest.mark.parametrize("beyond", ["reflect", "constant"])
def test_silence_has_a_level_too(beyond: str) -> None:
    level = spectrogram(np.zeros(1_600, np.float32), hop_samples=160, beyond=beyond)
    assert np.all(level == pytest.approx(-80))


def test_beyond_the_ends_are_zeros_where_asked_for() -> None:
    wave = np.ones(1_600, np.float32)
    mirrored, padded = (
        spectrogram(wave, hop_samples=160, beyond=beyond)[0] for beyond in ("reflect", "constant")
    )
    assert mirrored[0] == pytest.approx(mirrored[5], abs=0.01)
    assert padded[0] == pytest.approx(mirrored[0] - 6, abs=0.1)  # half of the window
