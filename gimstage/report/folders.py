"""One recipe's folder below the runs folder, read as far as it can be read.

What is damaged or unfinished is left out with a note that names the file; nothing here fails.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gimstage.cache import FeatureReader
from gimstage.errors import CacheError, DamagedCacheError, StaleCacheError
from gimstage.files import UnreadableError, parse_json, read_regular
from gimstage.recipe.chain import Chain
from gimstage.recipe.names import ModuleKey, RunName
from gimstage.report.stageruns import StageRun, is_finite
from gimstage.runs.folder import RunFolder, check_digest
from gimstage.runs.manifest import Manifest, ProbeManifest, ProbeRow
from gimstage.train.metrics import METRICS_BYTES, Line

Notes = list[str]


@dataclass(frozen=True)
class ProbeRun:
    """A finished probe.

    Args:
        manifest: its commit record.
        weights: SHA-256 of the trained weights it was fitted to, by stage or module.
    """

    manifest: ProbeManifest
    weights: Mapping[ModuleKey, str]

    @property
    def rows(self) -> list[ProbeRow]:
        """The rows of accuracies that it found."""
        return self.manifest.rows


@dataclass(frozen=True)
class RecipeRun:
    """One recipe with one seed.

    Args:
        key: the recipe, and the seed that replaced its own.
        stages: by number, ascending.
        probes: by name.
        copies: the names of other folders that hold the same.
    """

    key: RunName
    stages: Mapping[int, StageRun]
    probes: Mapping[str, ProbeRun]
    copies: tuple[str, ...] = ()

    @property
    def recipe(self) -> str:
        """The recipe's name, without seed."""
        return self.key.recipe

    @property
    def name(self) -> str:
        """The name of its folder below the runs folder."""
        return str(self.key)

    @property
    def folders(self) -> tuple[str, ...]:
        """The names of all folders that it lies in."""
        return self.name, *self.copies

    @property
    def rows(self) -> list[ProbeRow]:
        """The rows of its probes, one of each input, task and protocol: of several, the last."""
        rows = [row for probe in self.probes.values() for row in probe.rows]
        return list({(row.task, row.protocol, row.stage): row for row in rows}.values())


def read_run(path: Path, notes: Notes) -> RecipeRun | None:
    """What lies in a recipe's folder; None where nothing of it is finished."""
    try:
        key = RunName.parse(path.name)
    except ValueError as error:
        notes.append(f"{path}: {error}; left out")
        return None
    stages: dict[int, StageRun] = {}
    probes: dict[str, ProbeRun] = {}
    for folder in sorted(p for p in path.iterdir() if p.is_dir()):
        record = _record(RunFolder(folder), notes)
        if isinstance(record, ProbeManifest):
            if (probe := _probe(folder, record, notes)) is not None:
                probes[folder.name] = probe
        elif record is not None and folder.name.isdigit():
            stages[int(folder.name)] = _stage(RunFolder(folder), record, notes)
        elif record is not None:
            notes.append(f"{folder}: holds {record.stage}, but is no number of a stage; left out")
    if not stages and not probes:
        return None
    return RecipeRun(key, dict(sorted(stages.items())), probes)


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
    lines = read_metrics(folder.metrics, notes)
    _note_damage(folder, manifest, notes)
    return StageRun(
        folder=folder,
        number=int(folder.path.name),
        manifest=manifest,
        chain=_chain(folder, manifest, notes),
        samples=_samples(folder, manifest),
        lines=lines,
    )


def _note_damage(folder: RunFolder, manifest: Manifest, notes: Notes) -> None:
    """Note which of the small files that are shown is not what the manifest vouches for."""
    lost = not folder.metrics.is_file()  # which has a note already
    for path in [folder.memory] if lost else [folder.metrics, folder.memory]:
        if digest := manifest.digests.get(path.name):
            try:
                check_digest(path, digest)
            except (DamagedCacheError, OSError) as error:
                notes.append(str(error))


def _chain(folder: RunFolder, manifest: Manifest, notes: Notes) -> Chain | None:
    try:
        return manifest.chain()
    except StaleCacheError as error:
        notes.append(f"{folder.manifest_path}: {error.found}; its modules are not named")
        return None


def _probe(folder: Path, manifest: ProbeManifest, notes: Notes) -> ProbeRun | None:
    weights = manifest.identity.get("weights", {})
    try:
        _ = manifest.nameless  # its own key names a run
        fitted = {ModuleKey.parse(k): sha for k, sha in weights.items() if isinstance(sha, str)}
    except ValueError as error:
        notes.append(f"{folder / 'manifest.json'}: {error}; left out")
        return None
    return ProbeRun(manifest, fitted)


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
        data = read_regular(path, most_bytes=METRICS_BYTES)
    except FileNotFoundError:
        notes.append(f"{path}: missing; its stage has no curve")
        return ()
    except (OSError, UnreadableError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        notes.append(f"{path}: cannot be read ({reason}); its stage has no curve")
        return ()
    lines: list[Line] = []
    bad: list[int] = []
    for number, written in enumerate(data.splitlines(), start=1):
        line = _line(written)
        if line is None or (lines and line["step"] <= lines[-1]["step"]):
            bad.append(number)
        else:
            lines.append(line)
    if bad:
        count = f"{len(bad)} of {len(lines) + len(bad)} lines"
        notes.append(f"{path}: {count} not readable, first line {bad[0]}; left out")
    return tuple(lines)


def _line(text: bytes) -> Line | None:
    try:
        line: Line = parse_json(text)
        whole = type(line["step"]) is int and is_finite(line["loss"])
    except (UnreadableError, TypeError, KeyError, IndexError):
        return None
    return line if whole else None
