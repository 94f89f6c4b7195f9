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
from gimstage.train.metrics import Line

Notes = list[str]


@dataclass(frozen=True)
class ProbeRun:
    """A finished probe: all that decided its numbers, and its rows."""

    identity: Mapping[str, Any]
    rows: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Run:
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


def read_run(path: Path, notes: Notes) -> Run | None:
    """What lies in a recipe's folder; None where nothing of it is finished."""
    recipe, _, seed = path.name.partition("@")
    if "@" in path.name and not seed.isdigit():
        notes.append(f"{path}: '{seed}' is no seed; left out")
        return None
    stages: dict[int, StageRun] = {}
    probes: dict[str, ProbeRun] = {}
    for folder in sorted(p for p in path.iterdir() if p.is_dir()):
        manifest = _manifest(RunFolder(folder), notes)
        if manifest is None:
            continue
        try:
            if "stage" in manifest:
                stages[int(folder.name)] = _stage(RunFolder(folder), manifest, notes)
            else:
                probes[folder.name] = _probe(manifest)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"{type(error).__name__}: {error}"
            notes.append(f"{folder / 'manifest.json'}: not as gimstage writes it ({reason})")
    if not stages and not probes:
        return None
    return Run(recipe, int(seed) if seed else None, dict(sorted(stages.items())), probes)


def _manifest(folder: RunFolder, notes: Notes) -> dict[str, Any] | None:
    try:
        manifest = folder.manifest()
    except CacheError as error:
        notes.append(str(error))
        return None
    if manifest is None:
        notes.append(f"{folder.path}: not finished; left out")
    return manifest


def _stage(folder: RunFolder, manifest: Mapping[str, Any], notes: Notes) -> StageRun:
    training, memory = manifest["training"], manifest.get("memory") or {}
    features = manifest["features"] or {}
    manifest["identity"]["data_sha256"].lower()  # what is grouped by must be there
    manifest["identity"]["data"].keys()
    return StageRun(
        folder=folder,
        number=int(folder.path.name),
        identity=manifest["identity"],
        weights_sha256=manifest["weights_sha256"],
        steps=training["steps"],
        seconds=training["seconds"],
        samples=_samples(folder, training, features),
        disk_bytes=int(features.get("bytes", 0)),
        predicted_bytes=memory.get("predicted_reserved_bytes"),
        measured_bytes=memory.get("measured_reserved_bytes"),
        device=manifest.get("device"),
        lines=read_metrics(folder.metrics, notes),
    )


def _samples(
    folder: RunFolder, training: Mapping[str, Any], features: Mapping[str, Any]
) -> int | None:
    """Samples trained on; of an older manifest N of the split, from what was stored of it."""
    if (counted := training.get("samples")) is not None:
        return int(counted)
    shape = features.get("shape", [])
    if len(shape) > 2:  # of images, whose first axis counts them
        return int(shape[0])
    try:
        return int(FeatureReader(folder.features).small("source_sample").max()) + 1
    except (CacheError, OSError):
        return None


def _probe(manifest: Mapping[str, Any]) -> ProbeRun:
    rows = tuple(dict(row) for row in manifest["rows"])
    for row in rows:
        for key in ("stage", "task", "protocol"):
            row[key].lower()
        for key in ("accuracy", "chance", "random_init", "train_samples", "test_samples"):
            if row[key] is not None or key != "random_init":
                float(row[key])
    dict(manifest["identity"])["data_sha256"].items()
    return ProbeRun(manifest["identity"], rows)


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
