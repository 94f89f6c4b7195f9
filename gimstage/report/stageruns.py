"""A finished stage: what its manifest and metrics tell of the modules it trained.

A stage trains one module; or several, "isolated", each with a loss of its own; or several "end to
end", with one loss behind the last of them.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

from gimstage.runs.folder import RunFolder
from gimstage.train.metrics import Line

# What a loss chooses among: a count in its TOML, and how many come on top of it.
_CHOICES = {"infonce": ("num_negatives", 1), "supervised": ("num_classes", 0)}
_MODES = {"isolated": ", isolated", "end_to_end": ", end to end"}


@dataclass(frozen=True)
class StageRun:
    """A finished stage, as its manifest tells it; what it does not tell is None.

    Args:
        folder: its place.
        number: of the stage in its recipe.
        identity: all that decided its numbers.
        weights_sha256: of its weights.
        samples: that it was trained on.
        steps: of training.
        seconds: of training.
        disk_bytes: of its features; 0 where it stores none.
        predicted_bytes: GPU memory reserved by its step, predicted.
        measured_bytes: likewise, measured.
        device: that trained it.
        lines: of metrics.jsonl.
    """

    folder: RunFolder
    number: int
    identity: Mapping[str, Any]
    weights_sha256: str
    samples: int | None
    steps: int | None
    seconds: float | None
    disk_bytes: int
    predicted_bytes: int | None
    measured_bytes: int | None
    device: str | None
    lines: tuple[Line, ...]

    @cached_property
    def own(self) -> Mapping[str, Any]:
        """Its own TOML; empty where the manifest has none."""
        return self._chain[-1] if self._chain else {}

    @cached_property
    def modules(self) -> tuple[Mapping[str, Any], ...]:
        """What its TOML says of each of its modules, one at least."""
        return _modules(self.own)

    @property
    def isolated(self) -> bool:
        """Whether each of its modules is listed with a loss of its own."""
        return self.own.get("mode") == "isolated"

    @cached_property
    def positions(self) -> range:
        """Where its modules stand in the network, counted from 1 at the data."""
        below = sum(len(_modules(stage)) for stage in self._chain[:-1])
        return range(below + 1, below + 1 + len(self.modules))

    @property
    def kind(self) -> str:
        """The kinds of its modules in order, neighbours counted, and what losses they have."""
        words = []
        for kind, same in groupby(map(module_kind, self.modules)):
            count = len(list(same))
            words.append(kind if count == 1 else f"{count} × {kind}")
        return ", ".join(words) + _MODES.get(str(self.own.get("mode")), "")

    @cached_property
    def chances(self) -> Mapping[int, float | None]:
        """What guessing costs at every module that ends in a loss, by position, as `_chance`."""
        ends = list(zip(self.positions, self.modules, strict=True))
        ends = ends if self.isolated else ends[-1:]
        shared = self.own.get("objective")
        return {at: _chance(module.get("objective") or shared) for at, module in ends}

    @property
    def chance_loss(self) -> float | None:
        """What guessing costs, where all of its losses agree on it; else None."""
        levels = set(self.chances.values())
        return levels.pop() if len(levels) == 1 else None

    def points(self, position: int, key: str) -> Iterator[tuple[int, float]]:
        """Step and value, where finite, of a module's own loss or accuracy.

        Args:
            position: of the module; one without a loss of its own has no points.
            key: `loss`, `validation_loss`, …
        """
        for line in self.lines if position in self.chances else ():
            value = self._entry(line, position).get(key)
            if isinstance(value, int | float) and math.isfinite(value):
                yield line["step"], value

    def _entry(self, line: Line, position: int) -> Mapping[str, Any]:
        """What a line of metrics says of one module."""
        if not self.isolated:
            return line
        entries, at = line.get("modules"), position - self.positions.start
        entry = entries[at] if isinstance(entries, list) and at < len(entries) else None
        return entry if isinstance(entry, Mapping) else {}

    @cached_property
    def _chain(self) -> list[Mapping[str, Any]]:
        """The TOML of every stage from the data up to this one."""
        stages = [value for key, value in self.identity.items() if key.startswith("stage ")]
        return [stage if isinstance(stage, Mapping) else {} for stage in stages]


def module_kind(module: Mapping[str, Any]) -> str:
    """A module's kind, and how often it is updated if not at every step."""
    kind, every = module.get("kind"), module.get("update_every")
    seldom = f" (every {every} steps)" if isinstance(every, int) and every > 1 else ""
    return f"{kind}{seldom}" if isinstance(kind, str) else "–"


def _modules(stage: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    several = stage.get("modules")
    found = several if isinstance(several, list) and several else [stage.get("module")]
    return tuple(module if isinstance(module, Mapping) else {} for module in found)


def _chance(objective: Any) -> float | None:
    """Loss in nats of a guess: InfoNCE ln(1 + N), supervised ln(classes), None for others."""
    if not isinstance(objective, Mapping):
        return None
    key, more = _CHOICES.get(str(objective.get("kind")), ("", 0))
    count = objective.get(key)
    return math.log(count + more) if isinstance(count, int) and count + more > 0 else None
