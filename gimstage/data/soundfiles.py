"""Files of sound of any kind: what their headers say, and all of their rows at a rate asked for.

Whatever libsndfile decodes: WAV, FLAC, Ogg (Vorbis, Opus), MP3, AIFF and others, of any rate, any
number of channels and any length. A file is decoded in blocks, so that an hour takes no more memory
than a second, and resampled in pieces that join exactly: each piece is given the neighbours that
the filter looks at, and all are of one length, so that the numbers never depend on where a block
ended. Shapes: n rows in time, C channels.

Imports `errors` and its neighbours only; torchaudio when a file has to be resampled.
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from gimstage.data.files import BadFileError, reading, refuse_no_content, refuse_no_file

ENDINGS = frozenset(
    {".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".w64", ".wav"}
)
BLOCK_VALUES = 1 << 17  # decoded at a time, of all channels together

Wave = NDArray[np.float32]

_WIDE = frozenset(
    {"PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ALAC_20", "ALAC_24", "ALAC_32", "DWVW_24"}
)
_CUT = re.compile(r"^ *(?:data|SSND|Data Size) *: *(\d+) \(should be (\d+)\)", re.MULTILINE)
_NO_END = "lacks an end-of-stream bit"  # what libsndfile logs of Ogg that was cut
_NO_LENGTH = 0x7FFFF000  # from here on a header says only that its writer could not go back
_FILTER_ZEROS, _ROLLOFF = 6, 0.99  # of torchaudio's filter, as it chooses them
_MOST_FILTER_VALUES = 1 << 24
_MPEG_SHARE = 0.99  # the length of an MPEG stream may be an estimate from its first frames


@dataclass(frozen=True)
class SoundHeader:
    """What a file says of the sound in it.

    Args:
        rate_hz: rows a second.
        channels: how many.
        rows: how many, at its own rate; of MP3 sometimes an estimate.
        wide: whether its samples hold more than 16 bits.
        estimated: whether `rows` may be an estimate.
    """

    rate_hz: int
    channels: int
    rows: int
    wide: bool
    estimated: bool

    def rows_at(self, rate_hz: int) -> int:
        """The rows it has at another rate."""
        return _rows_at(self.rows, self.rate_hz, rate_hz)


def read_header(path: Path, *, rate_hz: int, channels: int) -> SoundHeader:
    """What a file says of its sound; nothing is decoded.

    Args:
        path: of the file.
        rate_hz: the rate it will be asked for at.
        channels: the channels it will be asked for in; 1 takes any number, mixed down.

    Raises:
        BadFileError: it is no sound, or cannot become what is asked for.
        DataError: it cannot be read at all.
    """
    with reading(path):
        refuse_no_file(path)
        with path.open("rb") as file:
            beginning = file.read(64)
    refuse_no_content(beginning)
    try:
        info = soundfile.info(path, verbose=True)
    except soundfile.LibsndfileError as error:
        raise BadFileError("no sound that libsndfile knows") from error
    _refuse(info, rate_hz=rate_hz, channels=channels)
    wide, estimated = info.subtype in _WIDE, info.format == "MP3"
    return SoundHeader(info.samplerate, info.channels, info.frames, wide, estimated)


def decoded(path: Path, header: SoundHeader, *, rate_hz: int, channels: int) -> Iterator[Wave]:
    """All rows of a file in order, on the scale -1 … 1, in pieces (n, C).

    Args:
        path: of the file.
        header: what `read_header` said of it.
        rate_hz: the rate to give them at.
        channels: 1 for the mean of all channels, or as many as there are.

    Raises:
        BadFileError: it is damaged or cut short, or a sample is infinite or no number; what has
            been given so far is not to be used.
        DataError: it cannot be read at all.
    """
    stored = _stored(path, header)
    mixed = (rows.mean(1, keepdims=True) for rows in stored) if channels == 1 else stored
    return resampled(mixed, header.rate_hz, rate_hz)


def resampled(pieces: Iterable[Wave], from_hz: int, to_hz: int) -> Iterator[Wave]:
    """The same sound at another rate, in pieces that join exactly.

    Args:
        pieces: (n, C) each, at `from_hz`.
        from_hz: the rate of those.
        to_hz: the rate of what is given; n rows become ⌈n · to_hz / from_hz⌉.
    """
    if from_hz == to_hz:
        yield from pieces
        return
    span, made = _reduced(from_hz, to_hz)  # so many rows become so many
    side = -(-_filter_rows(span, made) // span)  # spans that the filter looks to either side
    buffer: Wave | None = None
    filled = total = given = 0
    for rows in pieces:
        total += len(rows)
        while len(rows):
            if buffer is None:
                spans = max(1, BLOCK_VALUES // (span * rows.shape[1]))
                buffer = np.zeros(((spans + 2 * side) * span, rows.shape[1]), np.float32)
                filled = side * span  # silence before the beginning
            count = min(len(rows), len(buffer) - filled)
            buffer[filled : filled + count] = rows[:count]
            filled, rows = filled + count, rows[count:]
            if filled == len(buffer):
                yield (new := _filtered(buffer, from_hz, to_hz, side * made))
                given += len(new)
                filled = 2 * side * span
                buffer[:filled] = buffer[-filled:]
    while buffer is not None and (left := _rows_at(total, from_hz, to_hz) - given) > 0:
        buffer[filled:] = 0  # and after the end
        yield (new := _filtered(buffer, from_hz, to_hz, side * made)[:left])
        given += len(new)
        filled = 2 * side * span
        buffer[:filled] = buffer[-filled:]


def as_stored(wave: Wave, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Rows as a raw store keeps them: int16 in steps of 2⁻¹⁵, cut off at -1 and 1, or float32."""
    if dtype == np.float32:
        return wave
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    stored: NDArray[Any] = np.rint(wave * -float(low)).clip(low, high).astype(dtype)
    return stored


def _refuse(info: Any, *, rate_hz: int, channels: int) -> None:
    """Refuse what a header says that cannot become what is asked for; raises as `read_header`."""
    cut = _CUT.search(info.extra_info)
    if _NO_END in info.extra_info or (cut and int(cut[2]) < int(cut[1]) < _NO_LENGTH):
        raise BadFileError("cut short or damaged")
    if not info.frames:
        raise BadFileError("without a single sample")
    if channels not in (1, info.channels):
        counted = f"{info.channels} channel{'s' * (info.channels != 1)}"
        raise BadFileError(f"of {counted}, where channels = {channels}")
    if info.samplerate < 1 or not _can_resample(info.samplerate, rate_hz):
        found = f"of {info.samplerate:,} Hz, which cannot become {rate_hz:,} Hz"
        raise BadFileError(f"{found}: they have too few divisors in common")


def _stored(path: Path, header: SoundHeader) -> Iterator[Wave]:
    """All rows as they are stored, (n, C) each; raises as `decoded`."""
    total = 0
    with reading(path):
        path.open("rb").close()  # says whether the system is the trouble
    try:
        with soundfile.SoundFile(path) as file:
            while len(rows := file.read(_block_rows(header), dtype="float32", always_2d=True)):
                if not np.isfinite(rows).all():
                    raise BadFileError("with samples that are infinite or no numbers")
                total += len(rows)
                yield rows
    except soundfile.LibsndfileError as error:
        raise BadFileError("cut short or damaged") from error
    if total < header.rows * (_MPEG_SHARE if header.estimated else 1):
        raise BadFileError("cut short or damaged")


def _block_rows(header: SoundHeader) -> int:
    return max(1, BLOCK_VALUES // header.channels)


def _rows_at(rows: int, from_hz: int, to_hz: int) -> int:
    return -(-rows * to_hz // from_hz)


def _reduced(from_hz: int, to_hz: int) -> tuple[int, int]:
    common = math.gcd(from_hz, to_hz)
    return from_hz // common, to_hz // common


def _filter_rows(span: int, made: int) -> int:
    """How many rows torchaudio's filter looks to either side."""
    return math.ceil(_FILTER_ZEROS * span / (min(span, made) * _ROLLOFF))


def _can_resample(from_hz: int, to_hz: int) -> bool:
    """Whether the filter, which holds a row of weights for every row it makes, fits the memory."""
    span, made = _reduced(from_hz, to_hz)
    return made * (2 * _filter_rows(span, made) + span) <= _MOST_FILTER_VALUES


def _filtered(rows: Wave, from_hz: int, to_hz: int, side: int) -> Wave:
    """Rows (n, C) at another rate, without so many at either end, which lack neighbours."""
    import torch

    wave = torch.from_numpy(np.ascontiguousarray(rows.T))
    made: Wave = _filter(from_hz, to_hz)(wave).T.numpy()
    return made[side : _rows_at(len(rows), from_hz, to_hz) - side]


@lru_cache(maxsize=8)
def _filter(from_hz: int, to_hz: int) -> Any:
    """Torchaudio's filter between two rates."""
    from torchaudio.transforms import Resample

    return Resample(
        from_hz, to_hz, lowpass_filter_width=_FILTER_ZEROS, rolloff=_ROLLOFF
    ).requires_grad_(False)
