"""Whether what a command left, and what it said, is as it should be."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from trust.warm import Outcome

# What two runs that are equal to the bit may differ in: when they ran, how fast, on what.
_OF_THE_MOMENT = {"seconds", "samples_per_s", "waiting_share", "versions", "sha256", "device"}
_OF_THE_MACHINE = {"lock", "fingerprints.json", "predictions.json", "calibration.json"}


def bits(runs: Path) -> dict[str, str]:
    """Digests of all below a runs folder that must be the same in every run."""
    return {name: digest(runs / name) for name in files(runs) if not _beside(name)}


def files(folder: Path) -> set[str]:
    """The names of all files below a folder, behind links too, and of whatever else lies there."""
    found = [Path(at, name) for at, _, names in os.walk(folder, followlinks=True) for name in names]
    return {str(path.relative_to(folder)) for path in found}


def _beside(name: str) -> bool:
    return Path(name).name in _OF_THE_MACHINE


def digest(path: Path) -> str:
    """SHA-256 of a file; of JSON without what is of the moment."""
    if not path.is_file():
        return "no regular file"  # and perhaps a pipe, which would be waited for
    try:
        data = path.read_bytes()
        if path.name in ("manifest.json", "memory.json"):
            data = _canonical(lasting(json.loads(data)))
        if path.name == "metrics.jsonl":
            data = _canonical([lasting(json.loads(line)) for line in data.splitlines()])
    except (OSError, ValueError, RecursionError) as error:
        return f"unreadable: {type(error).__name__}"
    return hashlib.sha256(data).hexdigest()


def lasting(document: Any) -> Any:
    """A document without what is of the moment."""
    if isinstance(document, dict):
        kept = {key: lasting(value) for key, value in document.items()}
        return {key: value for key, value in kept.items() if key not in _OF_THE_MOMENT}
    if isinstance(document, list):
        # Of a listed file of metrics the size and the digest are of the moment too.
        return [lasting(each) for each in document if not _of_metrics(each)]
    return document


def _of_metrics(entry: Any) -> bool:
    return isinstance(entry, dict) and entry.get("path") == "metrics.jsonl"


def _canonical(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True).encode()


def same(path: Path, before: bytes) -> bool:
    """Whether a file still says what it said: the same bytes, or the same document."""
    try:
        now = path.read_bytes()
        if path.suffix == ".json":
            return bool(json.loads(now) == json.loads(before))
    except (OSError, ValueError, RecursionError):
        return False
    return now == before


def other_bits(
    folder: Path, expected: dict[str, str], left: Callable[[Path], dict[str, str]] = bits
) -> list[str]:
    """What differs from an undisturbed run; nothing where nothing does.

    Args:
        folder: the runs folder, or whatever `left` looks at.
        expected: what `left` gave of an undisturbed one.
        left: gives digests by name.
    """
    now = left(folder)
    lost = [f"{name} is lost" for name in sorted(expected.keys() - now.keys())]
    both = sorted(expected.keys() & now.keys())
    return _together(lost + [f"{name} differs" for name in both if now[name] != expected[name]])


def less(expected: dict[str, str], path: Path, home: Path, outcome: Outcome) -> dict[str, str]:
    """What is expected, less a file that a command goes on without, if it said so."""
    if path.exists() or path.name not in outcome.text:
        return expected
    return {name: value for name, value in expected.items() if home / "runs" / name != path}


def litter(folder: Path, allowed: Iterable[str]) -> list[str]:
    """Files that an undisturbed run does not leave."""
    surplus = sorted(name for name in files(folder) - set(allowed) if Path(name).name != "lock")
    return _together([f"{name} is left over" for name in surplus])


def _together(sentences: list[str]) -> list[str]:
    """One sentence for many of a kind."""
    more = [f"and {len(sentences) - 3} more"] if len(sentences) > 3 else []
    return [", ".join(sentences[:3] + more)] if sentences else []


def manners(outcome: Outcome) -> list[str]:
    """What is wrong with how a command ended, whatever it was to do."""
    if "Traceback" in outcome.text:
        return [f"a traceback: {_last_line(outcome.err)}"]
    if outcome.code == 1 and not _says_why(outcome):
        return [f"a message without its parts: {outcome.text.strip()[-200:]!r}"]
    if outcome.code not in (0, 1, 2, 129, 130, 143) and outcome.code >= 0:
        return [f"exit {outcome.code}"]
    return []


def _says_why(outcome: Outcome) -> bool:
    """Whether a refusal says where, what was found, and at least one thing that is expected."""
    return bool(re.search(r"(^|\n)error .*?: .+; .+", outcome.text, re.DOTALL)) or (
        '"error"' in outcome.out
    )


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")[:200]


def complaint(outcome: Outcome) -> str:
    """The message of a command that refused."""
    _, _, message = outcome.text.rpartition("error ")
    return " ".join(message.split())[:300]
