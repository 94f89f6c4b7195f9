"""One recipe's folder below the runs folder, read as far as it can be read.

What is damaged or unfinished is left out with a note that names the file; nothing here fails.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gimstage.cache import FeatureReader
from gimstage.errors import CacheError
from gimstage.report.stageruns import StageRun
from gimstage.runs.folder import RunFolder
from gimstage.runs.manifest import Manifest, ProbeManifest, ProbeRow
from gimstage.train.metrics import Line

Notes = list[str]


@dataclass(frozen=True)
class ProbeRun:
    """A finished probe: all that decided its numbers, and its rows."""

    identity: Mapping[str, Any]
    rows: tuple[ProbeRow, ...]


@dataclass(frozen=True)
class RecipeRun:
    """One recipe with one seed.

    Args:
        recipe: without seed.
        seed: the S of `recipe@S`; None for the seeds of the recipe itself.
        stages: by number, ascending.
        probes: by name.
    """

    recipe: str
    seed: int | None
    stages: Mapping[int, StageRun]
    probes: Mapping[str, ProbeRun]

    @property
    def name(self) -> str:
        """As its folder is called."""
        return self.recipe if self.seed is None else f"{self.recipe}@{self.seed}"


def read_run(path: Path, notes: Notes) -> RecipeRun | None:
    """What lies in a recipe's folder; None where nothing of it is finished."""
    recipe, _, seed = path.name.partition("@")
    if "@" in path.name and not seed.isdigit():
        notes.append(f"{path}: '{seed}' is no seed; left out")
        return None
    stages: dict[int, StageRun] = {}
    probes: dict[str, ProbeRun] = {}
    for folder in sorted(p for p in path.iterdir() if p.is_dir()):
        record = _record(RunFolder(folder), notes)
        if isinstance(record, ProbeManifest):
            probes[folder.name] = ProbeRun(record.identity, tuple(record.rows))
        elif record is not None and folder.name.isdigit():
            stages[int(folder.name)] = _stage(RunFolder(folder), record, notes)
        elif record is not None:
            notes.append(f"{folder}: holds {record.stage}, but is no number of a stage; left out")
    if not stages and not probes:
        return None
    return RecipeRun(recipe, int(seed) if seed else None, dict(sorted(stages.items())), probes)


def _record(folder: RunFolder, notes: Notes) -> Manifest | ProbeManifest | None:
    try:
        record = folder.record()
    except CacheError as error:
        notes.append(str(error))
        return None
    if record is None:
        notes.append(f"{folder.path}: not finished; left out")
    return record


def _stage(folder: RunFolder, manifest: Manifest, notes: Notes) -> StageRun:
    training, memory = manifest.training, manifest.memory
    return StageRun(
        folder=folder,
        number=int(folder.path.name),
        identity=manifest.identity,
        weights_sha256=manifest.weights_sha256,
        steps=training.steps,
        seconds=training.seconds,
        samples=_samples(folder, manifest),
        disk_bytes=manifest.features.bytes if manifest.features else 0,
        predicted_bytes=memory.predicted_reserved_bytes if memory else None,
        measured_bytes=memory.measured_reserved_bytes if memory else None,
        device=manifest.device,
        lines=read_metrics(folder.metrics, notes),
    )


def _samples(folder: RunFolder, manifest: Manifest) -> int | None:
    """Samples trained on; of an older manifest N of the split, from what was stored of it."""
    if manifest.training.samples is not None:
        return manifest.training.samples
    shape = manifest.features.shape if manifest.features else []
    if len(shape) > 2:  # of images, whose first axis counts them
        return shape[0]
    try:
        return int(FeatureReader(folder.features).small("source_sample").max()) + 1
    except (CacheError, OSError):
        return None


def read_metrics(path: Path, notes: Notes) -> tuple[Line, ...]:
    """The whole lines of a metrics file, steps ascending; a note says which others there are."""
    try:
        text = path.read_text("utf-8", errors="replace")
    except FileNotFoundError:
        notes.append(f"{path}: missing; its stage has no curve")
        return ()
    except OSError as error:
        notes.append(f"{path}: cannot be read ({error.strerror}); its stage has no curve")
        return ()
    lines: list[Line] = []
    bad: list[int] = []
    for number, written in enumerate(text.splitlines(), start=1):
        line = _line(written)
        if line is None or (lines and line["step"] <= lines[-1]["step"]):
            bad.append(number)
        else:
            lines.append(line)
    if bad:
        count = f"{len(bad)} of {len(lines) + len(bad)} lines"
        notes.append(f"{path}: {count} not readable, first line {bad[0]}; left out")
    return tuple(lines)


def _line(text: str) -> Line | None:
    try:
        line: Line = json.loads(text)
        step, loss = line["step"], line["loss"]
        whole = isinstance(step, int) and math.isfinite(loss)
    except (ValueError, TypeError, KeyError, IndexError):
        return None
    return line if whole else None
