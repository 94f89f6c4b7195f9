"""Files of sound of every kind: decoded in blocks, resampled in pieces, refused with a reason."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from torchaudio.transforms import Resample

from gimstage.data import soundfiles
from gimstage.data.files import BadFileError
from gimstage.data.soundfiles import as_stored, decoded, read_header, resampled

KINDS = [  # ending, libsndfile's name of the samples, the largest error of a decoded one
    ("wav", "PCM_U8", 1 / 128),
    ("wav", "PCM_16", 1 / 32_768),
    ("wav", "PCM_24", 1e-6),
    ("wav", "PCM_32", 1e-6),
    ("wav", "FLOAT", 0),
    ("wav", "DOUBLE", 0),
    ("flac", "PCM_16", 1 / 32_768),
    ("aiff", "PCM_16", 1 / 32_768),
    ("ogg", "VORBIS", 0.2),
    ("opus", "OPUS", 0.2),
    ("mp3", "MPEG_LAYER_III", 0.2),
]


def tone(rows: int, *, channels: int = 1, rate_hz: int = 48_000) -> NDArray[np.float32]:
    """Two tones a channel, (rows, channels) float32."""
    time = np.arange(rows)[:, None] / rate_hz * (1 + np.arange(channels))
    wave = 0.4 * np.sin(2 * np.pi * 330 * time) + 0.2 * np.sin(2 * np.pi * 2_750 * time)
    return wave.astype(np.float32)


def write(path: Path, wave: NDArray[np.float32], *, kind: str, rate_hz: int = 48_000) -> Path:
    form = {".opus": "OGG"}.get(path.suffix, path.suffix[1:].upper())
    soundfile.write(path, wave, rate_hz, format=form, subtype=kind)
    return path


def whole(path: Path, *, rate_hz: int = 48_000, channels: int = 1) -> NDArray[np.float32]:
    header = read_header(path, rate_hz=rate_hz, channels=channels)
    return np.concatenate([*decoded(path, header, rate_hz=rate_hz, channels=channels)])


@pytest.mark.parametrize(("ending", "kind", "error"), KINDS)
def test_every_kind_of_file_is_decoded(
    tmp_path: Path, ending: str, kind: str, error: float
) -> None:
    wave = tone(48_000)
    path = write(tmp_path / f"x.{ending}", wave, kind=kind)
    header = read_header(path, rate_hz=48_000, channels=1)
    assert (header.rate_hz, header.channels, header.rows) == (48_000, 1, 48_000)
    assert header.wide == (kind in {"PCM_24", "PCM_32", "FLOAT", "DOUBLE"})
    wrong = np.abs(whole(path) - wave)
    assert wrong[:-500].max() <= error  # libsndfile's own encoder of Opus loses the end


def test_samples_of_16_bits_are_stored_as_they_are(tmp_path: Path) -> None:
    stored = np.random.default_rng(2).integers(-32_768, 32_768, (5_000, 2), np.int16)
    soundfile.write(tmp_path / "x.wav", stored, 8_000, subtype="PCM_16")
    wave = whole(tmp_path / "x.wav", rate_hz=8_000, channels=2)
    assert (as_stored(wave, np.dtype("<i2")) == stored).all()


def test_what_is_louder_than_16_bits_can_say_is_cut_off() -> None:
    wave = np.array([[-1.5], [1.5], [0.5]], np.float32)
    assert as_stored(wave, np.dtype("<i2")).tolist() == [[-32_768], [32_767], [16_384]]
    assert as_stored(wave, np.dtype("<f4")) is wave


def test_one_channel_is_the_mean_of_all(tmp_path: Path) -> None:
    wave = tone(4_000, channels=6)
    path = write(tmp_path / "x.wav", wave, kind="FLOAT")
    assert np.allclose(whole(path), wave.mean(1, keepdims=True), atol=1e-6)
    assert (whole(path, channels=6) == wave).all()


@pytest.mark.parametrize(("from_hz", "to_hz"), [(44_100, 16_000), (8_000, 16_000), (2_000, 250)])
@pytest.mark.parametrize("rows", [1, 7, 1_000, 100_003])
def test_pieces_of_any_length_are_resampled_to_the_same_bits_and_as_the_whole(
    from_hz: int, to_hz: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soundfiles, "BLOCK_VALUES", 1 << 13)  # so that there are many pieces
    wave = np.random.default_rng(rows).standard_normal((rows, 2), np.float32)
    cuts = [wave[:3], wave[3:4_000], wave[4_000:4_001], wave[4_001:]]
    once = np.concatenate([*resampled([wave], from_hz, to_hz)])
    assert (np.concatenate([*resampled(cuts, from_hz, to_hz)]) == once).all()
    padded = torch.nn.functional.pad(torch.from_numpy(wave.T.copy()), (0, from_hz // 10))
    expected = Resample(from_hz, to_hz)(padded).T.numpy()[: -(-rows * to_hz // from_hz)]
    assert once.shape == expected.shape
    assert np.abs(once - expected).max() < 2e-6


def test_a_file_has_as_many_rows_as_its_header_says_at_any_rate(tmp_path: Path) -> None:
    path = write(tmp_path / "x.flac", tone(44_101), kind="PCM_16", rate_hz=44_100)
    header = read_header(path, rate_hz=16_000, channels=1)
    assert len(whole(path, rate_hz=16_000)) == header.rows_at(16_000) == 16_001


@pytest.mark.parametrize(("ending", "kind", "error"), KINDS)
def test_a_file_that_was_cut_is_bad(tmp_path: Path, ending: str, kind: str, error: float) -> None:
    path = write(tmp_path / f"x.{ending}", tone(480_000), kind=kind)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BadFileError, match=r"^cut short or damaged$"):
        whole(path)


BEGINNINGS = {
    b"": "empty",
    b"version https://git-lfs.github.com/spec/v1\n": (
        "a pointer of git-lfs, not the file: `git lfs pull` fetches it"
    ),
    b"\xff\xd8\xff\xe0 a photograph": "no sound that libsndfile knows",
    b"RIFF\x10\0\0\0WAVEfmt ": "no sound that libsndfile knows",
}


@pytest.mark.parametrize("content", BEGINNINGS)
def test_what_is_no_sound_is_bad(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.wav").write_bytes(content)
    with pytest.raises(BadFileError) as caught:
        whole(tmp_path / "x.wav")
    assert str(caught.value) == BEGINNINGS[content]


def test_a_file_with_another_ending_than_its_kind_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "x.flac", tone(1_000), kind="PCM_16")
    assert len(whole(path.rename(tmp_path / "x.mp3"))) == 1_000


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_no_number_is_bad(tmp_path: Path, value: float) -> None:
    wave = tone(1_000)
    wave[700] = value
    path = write(tmp_path / "x.wav", wave, kind="FLOAT")
    with pytest.raises(BadFileError, match=r"^with samples that are infinite or no numbers$"):
        whole(path)


def test_other_channels_than_are_asked_for_are_bad(tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", tone(1_000), kind="PCM_16")
    with pytest.raises(BadFileError, match=r"^of 1 channel, where channels = 2$"):
        whole(path, channels=2)


def test_a_rate_whose_filter_would_fill_the_memory_is_bad(tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", tone(1_000), kind="PCM_16", rate_hz=44_101)
    with pytest.raises(BadFileError) as caught:
        whole(path, rate_hz=16_000)
    assert str(caught.value) == (
        "of 44,101 Hz, which cannot become 16,000 Hz: they have too few divisors in common"
    )


def test_a_file_without_a_sample_is_bad(tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", tone(0), kind="PCM_16")
    with pytest.raises(BadFileError, match=r"^without a single sample$"):
        whole(path)


def test_the_length_of_sound_that_was_piped_is_not_believed(tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", tone(1_000), kind="PCM_16")
    content = path.read_bytes()
    at = content.index(b"data") + 4
    path.write_bytes(content[:at] + b"\xff\xff\xff\xff" + content[at + 4 :])
    assert len(whole(path)) == 1_000
