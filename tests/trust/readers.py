"""Everything that reads what a run left, and what it shows of it."""

import hashlib
import json
import re
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from trust.homes import on
from trust.judge import lasting
from trust.warm import Outcome, Patience, call, command

LOOKING = ("status", "verify", "inspect", "plan", "report", "load", "open")
_TOLD = re.compile(
    r"damaged|other bytes|not readable|unreadable|stale|missing|partial|left out|not what|"
    r"cannot be read|is not|lacks|no such|newer|not drawn"
)


@dataclass(frozen=True)
class Reading:
    """What a reader came to.

    Args:
        outcome: how it ended.
        shown: what it showed, without what is of the moment.
    """

    outcome: Outcome
    shown: Any

    @property
    def told(self) -> bool:
        """Whether it says that something is not as it should be."""
        return self.outcome.code != 0 or bool(
            _TOLD.search(self.outcome.text) or _TOLD.search(json.dumps(self.shown))
        )


def read(reader: str, home: Path, recipe: str, patience: Patience | None) -> Reading:
    """What one of the readers shows of the runs of a home, of its second stage where one is asked.

    Args:
        reader: one of `LOOKING`.
        home: where the recipe and its runs lie.
        recipe: the recipe's name.
        patience: how long it may take.
    """
    if reader in ("load", "open"):
        function = _load if reader == "load" else _open
        stage = Path("runs") / recipe / "2"
        outcome = call(partial(function, stage), folder=home, patience=patience)
        return Reading(outcome, outcome.out)
    number = ["2"] if reader == "inspect" else []
    options = ["--runs", "runs", "--out", "report"] if reader == "report" else on(recipe)
    outcome = command(reader, *number, *options, "--json", folder=home, patience=patience)
    return Reading(outcome, _shown(reader, home, outcome))


def _shown(reader: str, home: Path, outcome: Outcome) -> Any:
    try:
        if reader == "report":
            return lasting(json.loads((home / "report/report.json").read_text()))
        document = json.loads(outcome.out)
    except (OSError, ValueError):
        return outcome.out
    document.pop("free_bytes", None)
    return lasting(document)


def _load(stage: Path) -> None:
    """Print a digest of the codes of a fixed input."""
    import torch

    import gimstage
    from gimstage.errors import GimstageError

    try:
        stack = gimstage.load(stage)
    except GimstageError as error:
        _refuse(error)
    shape = (1, 6, 6, 1, 16, 16) if stack.unit_axes == 3 else (1, 4000, 1)
    x = torch.sin(torch.arange(torch.Size(shape).numel()).float()).reshape(shape)
    codes = b"".join(code.numpy().tobytes() for code in stack.codes(x).values())
    sys.stdout.write(hashlib.sha256(codes).hexdigest())


def _open(stage: Path) -> None:
    """Print a digest of what is stored beside the features, and of their first window."""
    import torch

    import gimstage
    from gimstage.errors import GimstageError

    try:
        reader = gimstage.open_features(stage)
        array = reader.array("features")
        axes = 1 if len(array.shape) == 2 else 4  # frames, or samples, views, rows and columns
        values = torch.empty((1, 1, *array.shape[1:]), dtype=torch.float16)
        reader.read("features", values, torch.zeros(1, axes, dtype=torch.int64))
        small = [reader.small(each.name).tobytes() for each in reader.layout.small]
    except GimstageError as error:
        _refuse(error)
    everything = values.numpy().tobytes() + b"".join(small)
    sys.stdout.write(hashlib.sha256(everything).hexdigest())


def _refuse(error: Exception) -> None:
    sys.stderr.write(f"error {error}\n")
    raise SystemExit(1)
