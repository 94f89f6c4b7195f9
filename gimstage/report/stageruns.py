"""A finished stage: what its manifest and metrics tell of the modules it trained.

A stage trains one module; or several, "isolated", each with a loss of its own; or several "end to
end", with one loss behind the last of them.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any, TypeGuard

from gimstage.recipe.chain import Chain
from gimstage.runs.folder import RunFolder
from gimstage.runs.manifest import Manifest
from gimstage.specs import EncoderTable
from gimstage.train.metrics import Line

_MODES = {None: "", "isolated": ", isolated", "end_to_end": ", end to end"}


@dataclass(frozen=True)
class StageRun:
    """A finished stage; what it does not tell is None.

    Args:
        folder: its place.
        number: the number of the stage in its recipe.
        manifest: its commit record.
        chain: it and the stages below; None where this release cannot read them.
        samples: that it was trained on.
        lines: the lines of metrics.jsonl.
    """

    folder: RunFolder
    number: int
    manifest: Manifest
    chain: Chain | None
    samples: int | None
    lines: tuple[Line, ...]

    @property
    def disk_bytes(self) -> int:
        """Bytes of its features; 0 where it stores none."""
        return self.manifest.features.bytes if self.manifest.features else 0

    @property
    def predicted_bytes(self) -> int | None:
        """GPU memory reserved by its step, as it was predicted."""
        return self.manifest.memory.predicted_reserved_bytes if self.manifest.memory else None

    @property
    def measured_bytes(self) -> int | None:
        """GPU memory reserved by its step, as it was measured."""
        return self.manifest.memory.measured_reserved_bytes if self.manifest.memory else None

    @property
    def modules(self) -> tuple[EncoderTable, ...]:
        """The tables of its modules; none where they cannot be read."""
        return self.chain.last.spec.parts if self.chain else ()

    @property
    def mode(self) -> str | None:
        """How it trains several modules, "isolated" or "end_to_end"; None of a single one."""
        return self.chain.last.spec.mode if self.chain else None

    @property
    def positions(self) -> range:
        """Where its modules stand in the network, counted from 1 at the data.

        A stage whose modules cannot be read is taken to hold one, like those before it.
        """
        first = self.chain.first_position if self.chain else self.number
        return range(first, first + max(1, len(self.modules)))

    @property
    def kind(self) -> str:
        """The kinds of its modules in order, neighbours counted, and what losses they have."""
        words = []
        for kind, same in groupby(map(module_kind, self.modules)):
            count = len(list(same))
            words.append(kind if count == 1 else f"{count} × {kind}")
        return ", ".join(words) + _MODES[self.mode] or "–"

    @cached_property
    def chances(self) -> Mapping[int, float | None]:
        """What guessing costs in nats at every module that ends in a loss, by position."""
        if self.chain is None:
            return dict.fromkeys(self.positions)
        losses = zip(self.positions, self.chain.last.spec.losses, strict=True)
        return {at: loss.chance_loss for at, loss in losses if loss is not None}

    @property
    def chance_loss(self) -> float | None:
        """What guessing costs, where all of its losses agree on it; else None."""
        levels = set(self.chances.values())
        return levels.pop() if len(levels) == 1 else None

    def points(self, position: int, key: str) -> Iterator[tuple[int, float]]:
        """Step and value, where finite, of a module's own loss or accuracy.

        Args:
            position: the position of the module; one without a loss of its own has no points.
            key: `loss`, `validation_loss`, …
        """
        for line in self.lines if position in self.chances else ():
            value = self._entry(line, position).get(key)
            if is_finite(value):
                yield line["step"], value

    def _entry(self, line: Line, position: int) -> Mapping[str, Any]:
        """What a line of metrics says of one module."""
        if self.mode != "isolated":
            return line
        entries, at = line.get("modules"), position - self.positions.start
        entry = entries[at] if isinstance(entries, list) and at < len(entries) else None
        return entry if isinstance(entry, Mapping) else {}


def module_kind(module: EncoderTable) -> str:
    """A module's kind, and how often it is updated if not at every step."""
    every = module.update_every or 1
    return module.kind if every == 1 else f"{module.kind} (every {every} steps)"


def is_finite(value: Any) -> TypeGuard[float]:
    """Whether a value out of a JSON file is a number, and none too large for a float."""
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:
        return False
