"""Synthetic speech in LibriSpeech's layout, for trying the whole pipeline without a download.

Invented speakers say words of a small lexicon. Pulses and noise pass through resonances, the
formants, which glide from phone to phone (a source and a filter, after Fant). A speaker is a length
of the vocal tract, which scales every formant, an accent, which shifts those of each phone, and a
pitch, breath, tilt and rate. Mood, which moves the pitch, loudness, the recording's colour and
noise behind it are drawn anew for every utterance, so no band's level alone tells who speaks.

Measured with three seeds (12 speakers of 16 utterances to learn from and 24 to test; widths 64,
300 steps a module, batch 8, Adam at 0.003), a linear classifier is right, in per cent: on speakers,
where chance is 8, 11 to 12 from raw samples and 75 to 87 from mean MFCCs; from means of conv5 39 to
46 untrained and 66 to 78 after Greedy InfoMax, of the GRU 38 to 40 and 64 to 67; on phones, where
22 is silence, from a frame of conv5 34 and 62 to 63, of the GRU 37 to 39 and 70 to 72. On speakers
the first three modules gain little or lose: conv2 76 to 83 untrained, 66 to 70 trained.

Shapes: t frames of 5 ms, f frequencies from 0 to half the sampling rate.
Imports `bounds`, `data.files`, `draws` and `errors` only.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from gimstage.data.files import new_folder, require_room
from gimstage.draws import stream_seed
from gimstage.errors import DataError
from gimstage.sizes.bounds import MOST_UTTERANCES

Floats = NDArray[np.float32]

RATE_HZ = 16_000
_HOP, _FRAME = 80, 480  # samples; a frame holds a window of two hops and what rings after it
_LABEL_HOP, _LABEL_WINDOW = 160, 400  # samples
_PER_CHAPTER = 8  # utterances
_FREQUENCIES = np.arange(_FRAME // 2 + 1, dtype=np.float32) * np.float32(RATE_HZ / _FRAME)  # Hz
_OCTAVES = np.log2(np.maximum(_FREQUENCIES, 100) / 1000)  # above 1 kHz


class Phone(NamedTuple):
    """How a phone sounds in a vocal tract of middle length.

    Args:
        label: its number, 1 to 39 in the alphabet of the phones of English; 0 for silence.
        f1: first formant, Hz.
        f2: second formant, Hz.
        f3: third formant, Hz.
        voice: amplitude of the pulses, 1 in a vowel.
        hiss: amplitude of the noise that the narrowest place makes.
        hiss_hz: where that noise is strongest.
        ms: mean duration.
        plosive: the sound is a burst, after a closure.
    """

    label: int
    f1: float
    f2: float
    f3: float
    voice: float
    hiss: float
    hiss_hz: float
    ms: float
    plosive: bool = False


PHONES = {
    "": Phone(0, 500, 1500, 2500, 0, 0, 2000, 60),
    "AA": Phone(1, 730, 1090, 2440, 1, 0, 2000, 120),
    "AE": Phone(2, 660, 1720, 2410, 1, 0, 2000, 120),
    "AO": Phone(4, 570, 840, 2410, 1, 0, 2000, 120),
    "B": Phone(7, 250, 850, 2200, 0.7, 0.4, 900, 75, True),
    "D": Phone(9, 250, 1750, 2600, 0.7, 0.6, 3800, 75, True),
    "EH": Phone(11, 530, 1840, 2480, 1, 0, 2000, 100),
    "ER": Phone(12, 490, 1350, 1690, 1, 0, 2000, 110),
    "F": Phone(14, 350, 1100, 2300, 0, 0.3, 6500, 90),
    "IY": Phone(18, 270, 2290, 3010, 1, 0, 2000, 100),
    "K": Phone(20, 300, 2000, 2400, 0, 1, 1900, 90, True),
    "L": Phone(21, 360, 1000, 2700, 0.7, 0, 2000, 65),
    "M": Phone(22, 260, 1000, 2200, 0.5, 0, 2000, 70),
    "N": Phone(23, 260, 1500, 2500, 0.5, 0, 2000, 70),
    "P": Phone(27, 300, 850, 2200, 0, 0.8, 900, 90, True),
    "R": Phone(28, 400, 1200, 1600, 0.7, 0, 2000, 65),
    "S": Phone(29, 350, 1700, 2600, 0, 1, 5800, 100),
    "SH": Phone(30, 350, 1900, 2500, 0, 1.2, 3000, 100),
    "T": Phone(31, 300, 1750, 2600, 0, 1, 4500, 80, True),
    "UW": Phone(34, 300, 870, 2240, 1, 0, 2000, 110),
    "W": Phone(36, 300, 650, 2200, 0.7, 0, 2000, 60),
    "Y": Phone(37, 270, 2200, 3000, 0.7, 0, 2000, 60),
    "Z": Phone(38, 300, 1700, 2600, 0.4, 0.6, 5800, 80),
}
_NUMBER = {name: number for number, name in enumerate(PHONES)}
# The earlier a word stands, the more often it is said.
_WORDS = """
    M-UW-N S-IY-D D-AA-R-K W-AO-T-ER L-EH-T-ER F-IY-L-D N-EH-S-T T-R-IY P-EH-P-ER B-ER-D
    SH-EH-D S-AO-L-T B-UW-T Y-AA-R-D Z-UW SH-IY-P S-T-AA-P W-IY-Z-L M-EH-R-IY F-AA-R
    R-AE-K-UW-N F-AE-M-L-IY Y-IY-R IY-Z-IY AE-P-L W-AO-K K-EH-T-L N-ER-S M-AE-SH K-AE-N-D-L
"""
_LEXICON = _WORDS.split()


class Speaker(NamedTuple):
    """Whose voice it is.

    Args:
        pitch: its middle, Hz.
        tract: what every formant is multiplied by: the larger, the shorter the vocal tract.
        breath: amplitude of the noise that joins the pulses.
        tilt: the tilt of the pulses' spectrum, dB per octave.
        rate: what every duration is multiplied by.
        swing: how far the pitch moves within an utterance, octaves.
        accent: what each phone's f1, f2, f3 and hiss_hz are multiplied by, (phones, 4).
    """

    pitch: float
    tract: float
    breath: float
    tilt: float
    rate: float
    swing: float
    accent: Floats


_TRAITS = np.array(
    [(105, 195), (0.88, 1.15), (0.03, 0.25), (-2, 0), (0.85, 1.2), (0.05, 0.2)], np.float32
)
_ACCENT = np.array([0.3, 0.3, 0.15, 0.7], np.float32)  # octaves
# Of an utterance.
SECONDS = (2.0, 3.5)  # how long it is, unless a recipe says otherwise
_SILENCE_S = (0.1, 0.25)  # before the first word, and at least after the last
_PAUSE = 0.2  # probability, before each word
_MOOD = 0.4  # octaves of pitch, up or down
_LOUDNESS_DB = 3  # about an rms of 0.06, up or down
_COLOUR_DB = 1  # per octave, up or down
_NOISE_DB = (-32, -22)  # where the pulses are 0, at 1 kHz


def write_demo_speech(
    root: Path,
    *,
    seed: int,
    speakers: int,
    train: int,
    test: int,
    seconds: Sequence[float] | None = None,
) -> None:
    """Write a folder of synthetic speech in LibriSpeech's layout; it appears whole or not at all.

    The same numbers give the same bytes. Utterances are 16 kHz mono 16-bit sound that begins and
    ends in silence. Every 10 ms has the label of the phone in the middle of a window
    of 25 ms.

    Args:
        root: the folder to make; it must not exist, or be empty.
        seed: the seed of every draw.
        speakers: how many, at least 1.
        train: utterances of each speaker in that split, at least 1.
        test: utterances of each speaker in that split, at least 1.
        seconds: the shortest and the longest that an utterance may be; 2.0 and 3.5 where None.

    Raises:
        DataError: a count is below 1, the disk is too small, the folder holds something, or cannot
            be written.
    """
    for name, count in {"speakers": speakers, "train": train, "test": test}.items():
        if count < 1:
            raise DataError(f"'{name}'", f"{count}", "at least 1", "ask for more")
    if (utterances := speakers * (train + test)) > MOST_UTTERANCES:
        expected = f"at most {MOST_UTTERANCES:,}"
        raise DataError(str(root), f"{utterances:,} utterances", expected, "ask for fewer")
    seconds = seconds or SECONDS
    most_bytes = 2 * int(RATE_HZ * seconds[1])  # 16 bits a sample; FLAC makes it less
    require_room(root, utterances * most_bytes, "the utterances")
    with new_folder(root) as folder:
        _write_tree(folder, seed=seed, speakers=speakers, counts=(train, test), seconds=seconds)


def _write_tree(
    root: Path, *, seed: int, speakers: int, counts: tuple[int, int], seconds: Sequence[float]
) -> None:
    lists: dict[str, list[str]] = {"train_split": [], "test_split": []}
    phones, (train, test) = [], counts
    for number, speaker in enumerate(draw_speakers(seed, speakers)):
        for utterance in range(train + test):
            name = utterance_id(number, utterance)
            draws = utterance_draws(seed, number, utterance)
            samples, labels = draw_utterance(draws, speaker, seconds)
            _write_flac(root / "LibriSpeech" / "train-clean-100", name, samples=samples)
            lists["train_split" if utterance < train else "test_split"].append(name)
            phones.append(" ".join([name, *map(str, labels)]))
    folder = root / "LibriSpeech100_labels_split"
    folder.mkdir()
    for stem, lines in {**lists, "converted_aligned_phones": phones}.items():
        (folder / f"{stem}.txt").write_text("\n".join(lines) + "\n")


def utterance_id(speaker: int, utterance: int) -> str:
    """The name of an utterance of a speaker, both counted from 0."""
    chapter, place = divmod(utterance, _PER_CHAPTER)
    return f"{100 + 7 * speaker}-{10_000 + 100 * speaker + chapter}-{place:04d}"


def utterance_draws(seed: int, speaker: int, utterance: int) -> np.random.Generator:
    """What an utterance of a speaker, both counted from 0, is drawn from."""
    return np.random.default_rng(stream_seed(seed, "demo speech", speaker, utterance))


def _write_flac(folder: Path, name: str, *, samples: NDArray[np.int16]) -> None:
    speaker, chapter, _ = name.split("-")
    path = folder / speaker / chapter / f"{name}.flac"
    path.parent.mkdir(parents=True, exist_ok=True)
    file = io.BytesIO()  # a full disk is then an OSError, which one of libsndfile's is not
    soundfile.write(file, samples, RATE_HZ, format="FLAC", subtype="PCM_16")
    path.write_bytes(file.getvalue())


def draw_speakers(seed: int, count: int) -> list[Speaker]:
    """Speakers, each trait spread evenly over its range, so that no two are alike in all."""
    rng = np.random.default_rng(stream_seed(seed, "demo speakers"))
    order = rng.permuted(np.tile(np.arange(count), (len(_TRAITS), 1)), axis=1)
    places = (order + rng.random(order.shape)) / count
    low, high = _TRAITS.T[..., None]
    traits = (low + (high - low) * places).T.tolist()
    accents = rng.standard_normal((count, len(PHONES), len(_ACCENT)), np.float32) * _ACCENT
    return [Speaker._make([*own, a]) for own, a in zip(traits, 2**accents, strict=True)]


def draw_utterance(
    rng: np.random.Generator, speaker: Speaker, seconds: Sequence[float] = SECONDS
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Samples, (T,), and labels 0 to 40, one for every whole window: floor((T − 400)/160) + 1."""
    names, ends = draw_words(rng, speaker, seconds)
    length = ends[-1]
    speech = _synthesise(rng, speaker, tracks=_tracks(names, ends, accent=speaker.accent))[:length]
    speech *= 0.06 * _ratio(rng.uniform(-_LOUDNESS_DB, _LOUDNESS_DB)) / speech.std()
    samples = (speech.clip(-1, 1) * 32767).round().astype(np.int16)
    return samples, phone_labels(names, ends)


def phone_labels(names: list[str], ends: list[int]) -> NDArray[np.int64]:
    """The labels, as of `draw_utterance`, of what `draw_words` drew."""
    middles = np.arange(0, ends[-1] - _LABEL_WINDOW + 1, _LABEL_HOP) + _LABEL_WINDOW // 2
    labels = np.array([PHONES[name].label for name in names], np.int64)
    return labels[np.searchsorted(ends, middles, side="right")]


def draw_words(
    rng: np.random.Generator, speaker: Speaker, seconds: Sequence[float] = SECONDS
) -> tuple[list[str], list[int]]:
    """What an utterance says: its phones, and the sample at which each ends, the last one last."""
    length = int(RATE_HZ * rng.uniform(seconds[0], seconds[1]))
    before, after = (RATE_HZ * rng.uniform(*_SILENCE_S, 2)).astype(int).tolist()
    names, ends = [""], [before]
    often = 1 / np.arange(3, 3 + len(_LEXICON))
    while True:
        word = rng.choice(_LEXICON, p=often / often.sum()).split("-")
        if rng.random() < _PAUSE:
            word = ["", *word]
        ms = [PHONES[name].ms * speaker.rate * rng.uniform(0.75, 1.3) for name in word]
        stops = ends[-1] + (RATE_HZ / 1000 * np.cumsum(np.clip(ms, 40, 160))).astype(int)
        if stops[-1] > length - after:
            return [*names, ""], [*ends, length]
        names += word
        ends += stops.tolist()


def _tracks(names: list[str], ends: list[int], *, accent: Floats) -> Floats:
    """Formants, voice, hiss and hiss_hz, gliding from phone to phone, (6, t)."""
    targets, stops = [], []
    for name, begin, end in zip(names, [0, *ends], ends, strict=False):
        phone, shift = PHONES[name], accent[_NUMBER[name]]
        f1, f2, f3, hiss_hz = np.array([*phone[1:4], phone.hiss_hz]) * shift
        formants, hiss_hz = (f1, max(f2, f1 + 200), f3), min(hiss_hz, 7000)
        if phone.plosive:
            targets.append((*formants, 0.12 if phone.voice else 0.0, 0.0, hiss_hz))
            stops.append(begin + (end - begin) * 7 // 10)
        targets.append((*formants, phone.voice, phone.hiss, hiss_hz))
        stops.append(end)
    times = np.arange(0, ends[-1] + _HOP, _HOP)
    said = np.searchsorted(stops[:-1], times, side="right")
    tracks = np.array(targets, np.float32)[said].T
    return np.stack([_smooth(row, 4 if n < 3 else 1) for n, row in enumerate(tracks)])


def _smooth(row: Floats, reach: int) -> Floats:
    weights = np.hanning(2 * reach + 3)[1:-1].astype(np.float32)
    smooth: Floats = np.convolve(np.pad(row, reach, mode="edge"), weights / weights.sum(), "valid")
    return smooth


def _synthesise(rng: np.random.Generator, speaker: Speaker, *, tracks: Floats) -> Floats:
    """Sound of the tracks, float32, a little longer than they are."""
    formants, (voice, hiss, hiss_hz) = tracks[:3, :, None], tracks[3:, :, None]
    frames = tracks.shape[1]
    pulses = np.fft.rfft(_cut(_pulses(rng, speaker, frames=frames)) * voice)
    noise = np.fft.rfft(_cut(rng.standard_normal((frames + 1) * _HOP, np.float32)))

    breath = speaker.breath * voice + np.float32(0.07) * hiss
    throat = _resonances(speaker, formants) * (
        pulses * _ratio(speaker.tilt * _OCTAVES) + noise * breath
    )
    centre = np.log2(hiss_hz * np.float32(speaker.tract**0.5) / 1000)  # a mouth varies less
    teeth = noise * hiss * np.exp(-2 * (_OCTAVES - centre) ** 2)
    behind = noise * _ratio(rng.uniform(*_NOISE_DB) - rng.uniform(0, 6) * _OCTAVES)
    colour = _ratio(rng.uniform(-_COLOUR_DB, _COLOUR_DB) * _OCTAVES)
    colour *= _FREQUENCIES / (_FREQUENCIES + 60)  # a microphone hears no constant pressure
    sound: Floats = np.fft.irfft((throat + teeth + behind) * colour, _FRAME)  # type: ignore[assignment]
    return _join(sound)


def _pulses(rng: np.random.Generator, speaker: Speaker, *, frames: int) -> Floats:
    """What the vocal folds let through, differentiated, of unit variance, (samples,)."""
    at = np.arange(frames + 1)
    seconds = at * (_HOP / RATE_HZ)
    octaves = 0.5 - seconds / seconds[-1]  # the voice sinks
    for _ in range(2):
        turns = rng.uniform(0.5, 3) * seconds + rng.random()
        octaves += rng.uniform(0.3, 1) * np.sin(2 * np.pi * turns)
    jitter = rng.normal(0, 0.02, frames + 1)
    hz = speaker.pitch * 2 ** (rng.uniform(-_MOOD, _MOOD) + speaker.swing * octaves + jitter)
    phase = np.cumsum(np.interp(np.arange(len(at) * _HOP), at * _HOP, hz) / RATE_HZ) % 1
    rise, fall = 0.4, 0.16  # of a period; the folds are closed for the rest
    opening = np.sin(np.pi * phase / rise) / rise
    closing = -np.sin(np.pi / 2 * (phase - rise) / fall) / fall
    flow = np.where(phase < rise, opening, np.where(phase < rise + fall, closing, 0))
    pulses: Floats = (flow / flow.std()).astype(np.float32)
    return pulses


def _resonances(speaker: Speaker, formants: Floats) -> NDArray[np.complex64]:
    """Response of the vocal tract, 1 at 0 Hz, (t, f)."""
    fixed = np.array([3500, 4500, 5500, 6500], np.float32)[:, None, None]
    # One pair of poles is one resonance; z is a delay of a sample.
    z = np.exp(-2j * np.pi / RATE_HZ * _FREQUENCIES).astype(np.complex64)

    def inverse(hz: Floats, width: float) -> Any:
        square = np.float32(np.exp(-2 * np.pi * width / RATE_HZ))
        turn = np.float32(2 * np.pi / RATE_HZ * speaker.tract) * hz
        linear = -2 * np.sqrt(square) * np.cos(turn)
        return (1 + linear * z + square * z**2) / (1 + linear + square)

    product = inverse(fixed, 250).prod(axis=0)
    for formant, width in zip(formants, (80, 100, 150), strict=True):
        product = product * inverse(formant, width)
    response: NDArray[np.complex64] = 1 / product
    return response


def _cut(signal: Floats) -> Floats:
    """Windowed frames of (t + 1) · 80 samples, the middle of the first at sample 80, (t, 480)."""
    blocks = signal.reshape(-1, _HOP)
    window = np.hanning(2 * _HOP + 1)[:-1].astype(np.float32)
    out = np.zeros((len(blocks) - 1, _FRAME), np.float32)
    out[:, _HOP : 2 * _HOP] = blocks[:-1] * window[:_HOP]  # a hop of room for what rings before
    out[:, 2 * _HOP : 3 * _HOP] = blocks[1:] * window[_HOP:]
    return out


def _join(frames: Floats) -> Floats:
    """The sum of overlapping frames; the middle of the first falls on sample 0."""
    parts = frames.reshape(len(frames), -1, _HOP).swapaxes(0, 1)
    total = np.zeros((len(frames) + len(parts), _HOP), np.float32)
    for late, part in enumerate(parts):
        total[late : late + len(part)] += part
    return total[2:].reshape(-1)


def _ratio(decibel: float | Floats) -> Floats:
    ratio: Floats = np.power(10, np.asarray(decibel, np.float32) / 20)
    return ratio
