"""Data sets spoiled by one file."""

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import soundfile

from trust.nasty import DEEP, TEXTS, THINGS


def spoil(folder: Path, random: Random) -> str:
    """Change one file of a data set; what was done."""
    path = random.choice(sorted(path for path in folder.rglob("*") if path.is_file()))
    name = path.relative_to(folder)
    if random.random() < 0.2:
        # A file of 1 TB may be what it says it is, and is read for hours.
        thing = random.choice([thing for thing in THINGS if thing != "1 TB of zeros"])
        path.unlink()
        THINGS[thing](path)
        return f"{thing} as {name}"
    if random.random() < 0.2:
        text = random.choice(list(TEXTS))
        path.write_bytes(TEXTS[text])
        return f"{text} as {name}"
    changes = _SOUND if path.suffix == ".flac" else _LINES if path.suffix == ".txt" else _BINARY
    change = random.choice(list(changes))
    changes[change](path, random)
    return f"{change} in {name}"


def _sound(samples: Callable[[Random], np.ndarray], rate: int = 16000, kind: str = "FLAC"):
    def write(path: Path, random: Random) -> None:
        with path.open("wb") as file:
            soundfile.write(file, samples(random), rate, format=kind)

    return write


def _cut(path: Path, random: Random) -> None:
    os.truncate(path, random.randrange(path.stat().st_size))


def _lengthened(path: Path, random: Random) -> None:
    with path.open("ab") as file:
        file.write(bytes(random.randrange(1, 5000)))


def _bytes_changed(path: Path, random: Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(20):
        data[random.randrange(len(data))] = random.choice((0, 255, 200))
    path.write_bytes(data)


def _line(change: Callable[[str, Random], str]) -> Callable[[Path, Random], None]:
    def write(path: Path, random: Random) -> None:
        lines = path.read_text().splitlines() or [""]
        number = random.randrange(len(lines))
        lines[number] = change(lines[number], random)
        path.write_text("\n".join(lines) + "\n", "utf-8", "surrogateescape")

    return write


def _word(word: str) -> Callable[[str, Random], str]:
    def change(line: str, random: Random) -> str:
        words = line.split() or [""]
        words[random.randrange(len(words))] = word
        return " ".join(words)

    return change


_NOISE = np.random.default_rng(1).uniform(-0.5, 0.5, 20000)
_SOUND = {
    "cut": _cut,
    "bytes changed": _bytes_changed,
    "no samples": _sound(lambda random: _NOISE[:0]),
    "one sample": _sound(lambda random: _NOISE[:1]),
    "two channels": _sound(lambda random: np.stack([_NOISE, _NOISE], 1)),
    "8 kHz": _sound(lambda random: _NOISE, 8000),
    "655 kHz": _sound(lambda random: _NOISE, 655350),
    "1 Hz": _sound(lambda random: _NOISE, 1),
    "silence": _sound(lambda random: 0 * _NOISE),
    "another format": _sound(lambda random: _NOISE, kind="WAV"),
}
_LINES = {
    "cut": _cut,
    "lengthened": _lengthened,
    "bytes changed": _bytes_changed,
    "an empty line": _line(lambda line, random: ""),
    "a line twice": _line(lambda line, random: f"{line}\n{line}"),
    "a long line": _line(lambda line, random: line * 2000),
    "many lines": _line(lambda line, random: "\n".join(f"{line}{i}" for i in range(20000))),
    "equal lines": _line(lambda line, random: "\n".join([line] * 20000)),
    "a number of many digits": _line(_word("9" * 5000)),
    "a negative number": _line(_word("-1")),
    "a large number": _line(_word("99999999999")),
    "a word": _line(_word("x")),
    "a path": _line(_word("../../../../etc/passwd")),
    "markup": _line(_word("[/red]")),
    "brackets": _line(lambda line, random: "[" * DEEP),
    "no UTF-8": _line(_word("\udcff\udcfe")),
}
_BINARY = {"cut": _cut, "lengthened": _lengthened, "bytes changed": _bytes_changed}
