"""All runs below a folder, the seeds of one recipe together, what cannot be averaged apart.

    runs/RECIPE[@SEED]/STAGE-or-PROBE/manifest.json ─► runs ─► groups ─► report

Runs of one group differ in nothing but their seeds: same data, same stages, same probes.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from gimstage.data.kinds import Kind
from gimstage.errors import GimstageError, nearest
from gimstage.errors.commands import on_recipe, pasted
from gimstage.recipe.identity import differences, seedless
from gimstage.recipe.names import ModuleKey, RunName
from gimstage.report.counted import completed, counted_once, repeated
from gimstage.report.datasets import is_own, joined, title_of
from gimstage.report.folders import Notes, RecipeRun, read_run
from gimstage.report.published import base_of
from gimstage.report.stageruns import StageRun
from gimstage.runs.manifest import Manifest, ProbeManifest
from gimstage.specs import DATA_SPECS

_SHOWN_DIFFERENCES = 3
_NO_FORM = {"source", "mean", "std", "stored_views"}


@dataclass(frozen=True)
class Group:
    """Runs of one recipe that differ in their seeds only.

    Args:
        recipe: its name.
        runs: the recipe's own seeds first, then ascending.
        apart: in what they differ from the recipe's first group; empty for that one.
    """

    recipe: str
    runs: tuple[RecipeRun, ...]
    apart: tuple[str, ...] = ()

    @cached_property
    def base(self) -> str:
        """The recipe its rows belong beside."""
        return base_of(self.recipe)[0]

    @property
    def label(self) -> str:
        """The recipe, and the runs where it has several groups."""
        return f"{self.recipe} ({', '.join(self.names)})" if self.apart else self.recipe

    @property
    def names(self) -> list[str]:
        """The names of its runs, in order."""
        return [run.name for run in self.runs]

    @property
    def kind(self) -> Kind | None:
        """Whether its data is images or speech; None where no run says."""
        return DATA_SPECS[self.source].kind if self.source in DATA_SPECS else None

    @cached_property
    def source(self) -> str:
        """The source of its data; empty where no run says."""
        return next((manifest.data.get("source", "") for manifest in self._manifests()), "")

    @cached_property
    def data_title(self) -> str | None:
        """What its data is called; None where nothing tells."""
        return joined(map(title_of, self._manifests()))

    @property
    def plain(self) -> bool:
        """Whether each of its stages trains one module."""
        return all(stage.mode is None for run in self.runs for stage in run.stages.values())

    @property
    def training_data(self) -> str | None:
        """SHA-256 of the split its stages were trained on; None without stages."""
        stages = [stage for run in self.runs for stage in run.stages.values()]
        return next((stage.manifest.data_sha256 for stage in stages), None)

    @property
    def training_split(self) -> str | None:
        """The name of the split its stages were trained on; None without stages."""
        stages = [stage for run in self.runs for stage in run.stages.values()]
        return next((stage.manifest.data.get("train_split") for stage in stages), None)

    @property
    def training_form(self) -> Mapping[str, Any]:
        """Split, channels and crops its first stage was trained on; empty without stages.

        Not the bytes of the data, and not the scale of its channels, which follows from them.
        """
        stage = next((s for run in self.runs for s in run.stages.values()), None)
        if stage is None:
            return {}
        data = {k: v for k, v in stage.manifest.data.items() if k not in _NO_FORM}
        views = stage.chain.last.spec.views if stage.chain else None
        return data if views is None else data | {"views": views.model_dump()}

    @property
    def probe_data(self) -> str | None:
        """SHA-256 of the probes' splits, train and test in one word; None without probes."""
        for run in self.runs:
            for probe in run.probes.values():
                shas = probe.manifest.data_sha256
                return f"{shas.get('train', '')}{shas.get('test', '')}"
        return None

    def _manifests(self) -> list[Manifest | ProbeManifest]:
        stages = [stage.manifest for run in self.runs for stage in run.stages.values()]
        return [*stages, *(probe.manifest for run in self.runs for probe in run.probes.values())]


@dataclass(frozen=True)
class Report:
    """What the runs have to tell.

    Args:
        root: the runs folder.
        groups: by recipe, then by first run.
        notes: on what was left out or kept apart.
    """

    root: Path
    groups: tuple[Group, ...]
    notes: tuple[str, ...]

    def of(self, recipe: str) -> list[Group]:
        """The groups of runs of a recipe."""
        return [group for group in self.groups if group.recipe == recipe]

    def data_title(self, base: str | None) -> str | None:
        """What the data of a base's recipes is called; None without runs."""
        return joined(group.data_title for group in self.groups if group.base == base)

    def is_own(self, base: str | None) -> bool:
        """Whether a base's recipes, or all where it is None, have data of somebody's own only.

        What the paper compares was not run on such data, and nobody means to.
        """
        groups = [group for group in self.groups if base in (None, group.base)]
        return all(is_own(group.source) for group in groups)

    def bases(self, kind: Kind) -> list[str]:
        """The bases whose recipes have data of a kind, in order of name.

        A recipe that is its own base trains one module after another; others stand in no table.
        """
        of_kind = [group for group in self.groups if group.kind == kind]
        return sorted(
            {group.base for group in of_kind if group.recipe != group.base or group.plain}
        )

    @cached_property
    def samples(self) -> Mapping[str, int]:
        """Samples of the splits trained on, by SHA-256, where any run tells; the most of them."""
        stages = [s for group in self.groups for run in group.runs for s in run.stages.values()]
        told = [(s.samples, s.manifest.data_sha256) for s in stages if s.samples is not None]
        return {sha: samples for samples, sha in sorted(told)}


def collect(
    runs_root: Path, names: Sequence[str] | None = None, *, also: Collection[str] = ()
) -> Report:
    """Read every finished stage and probe.

    Args:
        runs_root: the runs folder.
        names: the names of recipes, each with all of its seeds, or of single runs as `RECIPE@SEED`;
            None or none of them for every run there is, unless others are named by `also`.
        also: the names of further folders, each without the other seeds of its recipe.

    Raises:
        GimstageError: there is no such run, or none at all.
    """
    notes: Notes = []
    folders = sorted(p for p in _subfolders(runs_root) if _holds_runs(p))
    every = not names and not also
    chosen = [p for p in folders if every or p.name in also or _names_of(p) & {*(names or ())}]
    known = {name for path in folders for name in _names_of(path)}
    for name in names or []:
        if known and name not in known and not also:
            raise GimstageError(f"run '{name}'", f"not in {runs_root}", cure=nearest(name, known))
    runs = [run for run in (read_run(path, notes) for path in chosen) if run is not None]
    if not runs:
        raise GimstageError(
            str(runs_root),
            "no finished run in it" if runs_root.is_dir() else "no such folder",
            "a folder RECIPE/STAGE with a manifest.json",
            f"run {pasted(on_recipe('run', root=runs_root))} first, or name another folder of runs",
        )
    runs = sorted(_without_stale_rows(runs, runs_root, notes), key=_plain_first)
    others = [read_run(path, []) for path in folders if path not in chosen]
    stages = _by_weights([*runs, *(run for run in others if run is not None)])
    trained = {sha: stage.manifest.identity for sha, stage in stages.items()}
    groups: list[Group] = []
    for recipe in sorted({run.recipe for run in runs}):
        own = [completed(run, stages) for run in runs if run.recipe == recipe]
        groups += _grouped(recipe, counted_once(own, trained, notes), trained)
    notes += repeated(run for group in groups for run in group.runs)
    return Report(runs_root, tuple(groups), (*notes, *_apart_notes(groups)))


def _by_weights(runs: Sequence[RecipeRun]) -> dict[str, StageRun]:
    """The stages of some runs by the SHA-256 of their weights; of several the first."""
    stages = [stage for run in reversed(runs) for stage in run.stages.values()]
    return {stage.manifest.weights_sha256: stage for stage in stages}


def _subfolders(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []


def _holds_runs(path: Path) -> bool:
    # A folder of data lies there too; one that has only begun holds a lock or a metrics file.
    return any(path.glob("*/manifest.json")) or any(path.glob("*/lock"))


def _names_of(folder: Path) -> set[str]:
    """What a folder of runs is asked for by: its own name, and its recipe's."""
    with suppress(ValueError):
        return {folder.name, RunName.parse(folder.name).recipe}
    return {folder.name}


def _plain_first(run: RecipeRun) -> tuple[bool, int]:
    return run.key.seed is not None, run.key.seed or 0


def _without_stale_rows(runs: list[RecipeRun], root: Path, notes: Notes) -> list[RecipeRun]:
    """The runs without probes that were fitted to other weights than lie there now."""
    now = {
        ModuleKey(run.key, stage.number): stage.manifest.weights_sha256
        for run in runs
        for stage in run.stages.values()
    }
    kept = []
    for run in runs:
        probes = {}
        for name, probe in run.probes.items():
            fitted = probe.weights.items()
            moved = [str(key) for key, sha in fitted if now.get(key.whole_stage, sha) != sha]
            if moved:
                notes.append(
                    f"{root / run.name / name / 'manifest.json'}: fitted to other weights of "
                    f"{', '.join(moved)} than lie there now; left out until its probe is run again"
                )
            else:
                probes[name] = probe
        kept.append(replace(run, probes=probes))
    return [run for run in kept if run.stages or run.probes]


def _grouped(recipe: str, runs: list[RecipeRun], trained: Mapping[str, Any]) -> list[Group]:
    """Put each run to the first group that it differs from in nothing but seeds.

    Args:
        recipe: their name.
        runs: the runs of that recipe.
        trained: identities of all stages, by the SHA-256 of their weights.
    """
    parts = {run.name: _parts(run, trained) for run in runs}

    def apart(one: RecipeRun, other: RecipeRun) -> list[str]:
        """In what two runs differ among what both have finished."""
        common = [key for key in parts[one.name] if key in parts[other.name]]
        return differences(*({key: parts[r.name][key] for key in common} for r in (one, other)))

    groups: list[list[RecipeRun]] = []
    for run in runs:
        home = next((group for group in groups if not any(apart(o, run) for o in group)), None)
        if home is None:
            groups.append([run])
        else:
            home.append(run)
    return [Group(recipe, tuple(g), _short(apart(groups[0][0], g[0]))) for g in groups]


def _parts(run: RecipeRun, trained: Mapping[str, Any]) -> dict[str, Any]:
    """The identities of a run's stages and probes without seeds."""
    identities = {
        f"stage {number}": stage.manifest.identity for number, stage in run.stages.items()
    }
    identities |= {name: probe.manifest.identity for name, probe in run.probes.items()}
    return {key: seedless(_comparable(identity, trained)) for key, identity in identities.items()}


def _comparable(tree: Any, trained: Mapping[str, Any]) -> Any:
    """An identity that tells weights by what trained them, not by their bits."""
    if isinstance(tree, list) and any(isinstance(value, Mapping) for value in tree):
        tree = {str(number): value for number, value in enumerate(tree, start=1)}
    if not isinstance(tree, Mapping):
        return tree
    # Own classifiers came out of the same training as the weights, by which they are told apart.
    plain = {key: value for key, value in tree.items() if key != "classifiers"}
    if isinstance(weights := plain.get("weights"), Mapping):
        plain["weights"] = {
            str(ModuleKey.parse(key).seedless()): trained.get(value)
            if isinstance(value, str)
            else value
            for key, value in weights.items()
        }
    return {key: _comparable(value, trained) for key, value in plain.items()}


def _short(lines: Sequence[str]) -> tuple[str, ...]:
    """Differences of identities, each once, though every stage's identity repeats those below."""
    inner = r"^.*?((?:data_sha256|data\.|algorithms\.).*)$", r"^.*(stage \d+\..*)$"
    for pattern in inner:
        lines = [re.sub(pattern, r"\1", line) for line in lines]
    return tuple(dict.fromkeys(lines))


def _apart_notes(groups: Sequence[Group]) -> list[str]:
    notes = []
    for group in groups:
        if group.apart:
            more = len(group.apart) - _SHOWN_DIFFERENCES
            shown = "; ".join(group.apart[:_SHOWN_DIFFERENCES])
            shown += f" (and {more} more)" if more > 0 else ""
            first = next(other for other in groups if other.recipe == group.recipe)
            names = ", ".join(group.names), ", ".join(first.names)
            notes.append(f"{names[0]} is not averaged with {names[1]}: {shown}")
    return notes
