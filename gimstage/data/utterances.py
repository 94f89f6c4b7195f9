"""One audio file: what its header says, and any stretch of its samples at 16 kHz.

Imports `errors` and `data.files` only; torchaudio when a file has to be resampled.
"""

from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from gimstage.data.files import reading, require_file
from gimstage.errors import DataError

SAMPLE_RATE_HZ = 16_000

RESTORE = "restore the file from its source"
CALLER = "correct the recipe or the caller"

_MARK = b"fLaC"
_CONVERT = "convert it, or move it away"
_IMPOSTORS = (
    (b"RIFF", "it is a RIFF file, as .wav are", _CONVERT),
    (b"OggS", "it is an Ogg file", _CONVERT),
    (b"version https://git-lfs", "it is a pointer of git-lfs", "run `git lfs pull` where it lies"),
)


@dataclass(frozen=True)
class Utterance:
    """An audio file and who speaks in it."""

    id: str  # its name without the ending, "2911-12359-0007"
    speaker: str  # the first part of it, "2911"
    path: Path
    samples: int  # at 16 kHz, so after resampling where the file has another rate
    rate_hz: int  # of the file


def read_header(id_: str, path: Path) -> Utterance:
    """What the header of a FLAC file says; read here, as libsndfile takes ten times as long.

    What has something before its header, such as an ID3 tag, libsndfile reads.

    Args:
        id_: of the utterance, which begins with its speaker.
        path: of the file.

    Raises:
        DataError: it is not FLAC, not mono, empty, or of a rate that cannot be resampled.
    """
    with reading(path):
        require_file(path)
        with path.open("rb", buffering=0) as file:
            head = file.read(42)  # the mark "fLaC" and the block that describes the sound
    if not head:
        raise DataError(str(path), "it is empty", "a FLAC file", RESTORE)
    if len(head) == 42 and head[:4] == _MARK and not head[4] & 0x7F:
        bits = int.from_bytes(head[18:26])  # rate 20, channels - 1 in 3, bits - 1 in 5, samples 36
        rate_hz, channels, samples = bits >> 44, (bits >> 41 & 7) + 1, bits & (1 << 36) - 1
    else:
        rate_hz, channels, samples = _asked(path, head)
    if channels != 1:
        raise DataError(str(path), f"it has {channels} channels", "1", "mix it down to one first")
    if not samples:
        raise DataError(str(path), "its header counts no samples", "at least one", RESTORE)
    if not rate_hz or rate_hz % 25:  # the filter of any other rate would fill the memory
        raise DataError(str(path), f"it has {rate_hz:,} Hz", "a multiple of 25 Hz", "resample it")
    speaker = id_.partition("-")[0]
    return Utterance(id_, speaker, path, -(-samples * SAMPLE_RATE_HZ // rate_hz), rate_hz)


def _asked(path: Path, head: bytes) -> tuple[int, int, int]:
    """Rate in Hz, channels and samples as libsndfile finds them.

    Raises:
        DataError: it does not find FLAC; says what else the file is known to be by its beginning.
    """
    for beginning, found, cure in _IMPOSTORS:
        if head.startswith(beginning):
            raise DataError(str(path), found, "a FLAC file, as its name says", cure)
    with suppress(soundfile.LibsndfileError):
        if head[:4] != _MARK and (info := soundfile.info(path)).format == "FLAC":
            return info.samplerate, info.channels, info.frames
    found = f"it is not FLAC; it begins with {head[:4]!r}"
    raise DataError(str(path), found, "a whole FLAC header", "convert it, or move it away")


def read_samples(utterance: Utterance, start: int, out: NDArray[np.float32]) -> None:
    """Fill `out` with consecutive samples of an utterance, on the scale -1 … 1.

    Args:
        utterance: the file.
        start: the first sample, at 16 kHz.
        out: (n,) float32.

    Raises:
        DataError: the request lies outside, or the file cannot be decoded as its header says.
    """
    stop = start + len(out)
    if start < 0 or stop > utterance.samples:
        found, inside = f"samples {start:,} to {stop:,}", f"within 0 to {utterance.samples:,}"
        raise DataError(str(utterance.path), found, inside, CALLER)
    if utterance.rate_hz == SAMPLE_RATE_HZ:
        out[...] = _decode(utterance.path, start, len(out))
    else:
        out[...] = _resampled(utterance)[start:stop]


def _decode(path: Path, start: int, count: int | None) -> NDArray[np.float32]:
    """So many samples as stored, (count,) float32; to the end where `count` is None."""
    cause = None
    try:
        with soundfile.SoundFile(path) as file:
            wanted = file.frames - start if count is None else count
            file.seek(start)
            samples: NDArray[np.float32] = file.read(wanted, dtype="float32")
        if len(samples) == wanted:
            return samples
    except soundfile.LibsndfileError as error:
        cause = error
    with reading(path):
        path.open("rb").close()  # says whether the system is the trouble
    found = "its sound is cut short or damaged"
    raise DataError(str(path), found, "every sample its header counts", RESTORE) from cause


@lru_cache(maxsize=8)
def _resampled(utterance: Utterance) -> NDArray[np.float32]:
    """A whole file at 16 kHz, (samples,) float32."""
    import torch
    from torchaudio.functional import resample

    stored = torch.from_numpy(_decode(utterance.path, 0, None))
    # torchaudio rounds the length in float32 and may lose a sample; what it pads with is zero too.
    padded = torch.nn.functional.pad(stored, (0, utterance.rate_hz // 100))
    samples: NDArray[np.float32] = resample(padded, utterance.rate_hz, SAMPLE_RATE_HZ).numpy()
    return samples[: utterance.samples]
