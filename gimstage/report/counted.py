"""Each result once: folders of one run, whatever they are called, and stages that lie in others.

    runs of one recipe ─► completed ─► counted_once ─► one run a seed

What two folders hold is *the same* where it has the same identity and bits. Under one identity
there may be several bits, for a seed fixes them on one model of CPU and one number of threads only:
that is one seed still, and the first of them counts.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from gimstage.recipe.identity import Identity, fingerprint
from gimstage.recipe.names import ModuleKey, RunName
from gimstage.report.folders import Notes, ProbeRun, RecipeRun
from gimstage.report.stageruns import StageRun

Tokens = Mapping[str, str]  # what a run has finished, and what each is known by
K = TypeVar("K", int, str)
P = TypeVar("P")


def completed(run: RecipeRun, trained: Mapping[str, StageRun]) -> RecipeRun:
    """A run with those of its stages that lie finished in the folders of others.

    Args:
        run: the run.
        trained: stages by the SHA-256 of their weights.
    """
    stages, open_ends = dict(run.stages), _lent(run)
    while open_ends:
        number, weights = open_ends.pop()
        found = trained.get(weights)
        if number not in stages and found is not None:
            stages[number] = replace(found, number=number)
            open_ends += _below(found)
    return replace(run, stages=dict(sorted(stages.items())))


def _lent(run: RecipeRun) -> list[tuple[int, str]]:
    """Number and weights of every stage that a run's manifests call its own."""
    told = [each for stage in run.stages.values() for each in _below(stage)]
    for probe in run.probes.values():
        own = RunName.parse(probe.manifest.probe.rpartition("/")[0])
        told += [(key.stage, sha) for key, sha in probe.weights.items() if key.run == own]
    return told


def _below(stage: StageRun) -> list[tuple[int, str]]:
    """Number and weights of the stage below, where it is one of the same run."""
    upstream, weights = stage.manifest.upstream, stage.manifest.upstream_weights_sha256
    if upstream is None or weights is None:
        return []
    with suppress(ValueError):  # keys that name no stage
        own, below = ModuleKey.parse(stage.manifest.stage), ModuleKey.parse(upstream.stage)
        return [(below.stage, weights)] if own.run == below.run else []
    return []


def counted_once(
    runs: Sequence[RecipeRun], trained: Mapping[str, Identity], notes: Notes
) -> list[RecipeRun]:
    """One run for each seed of a recipe, those of several folders put together.

    Args:
        runs: of one recipe, in order.
        trained: the identities of stages, by the SHA-256 of their weights.
        notes: told which folders were one result.
    """
    kept = []
    same = [_united(copies, notes) for copies in _alike(runs, _bits)]
    for seed in _alike(same, lambda run: _identities(run, trained)):
        # Neither names nor copies decide which bits count, or a copy would change the figures.
        seed.sort(key=lambda run: (-len(_bits(run)), fingerprint(_bits(run))))
        first, *others = seed
        for other in others:
            notes.append(
                f"{', '.join(other.folders)}: the same stages and seed as {first.name}, but other "
                f"bits, as of another CPU or number of threads; one seed, counted as {first.name}"
            )
        kept.append(first)
        notes += doubled(first)
    order = [run.name for run in runs]
    return sorted(kept, key=lambda run: order.index(run.name))


def _united(copies: Sequence[RecipeRun], notes: Notes) -> RecipeRun:
    """Folders of one result as one run, which is called by the first of them."""
    stages = _each_once(((run.name, run.stages) for run in copies), _stage_bits, notes)
    probes = _each_once(((run.name, run.probes) for run in copies), _probe_bits, notes)
    first, *others = (run.name for run in copies)
    if others:
        notes.append(f"{', '.join(others)}: the same result as {first}, counted once")
    return replace(copies[0], stages=stages, probes=probes, copies=tuple(others))


def _each_once(
    parts: Iterable[tuple[str, Mapping[K, P]]], bits: Callable[[P], str], notes: Notes
) -> dict[K, P]:
    """The stages, or the probes, of some folders by their names; those of the same bits once."""
    kept: dict[K, P] = {}
    seen: dict[str, K] = {}
    for run, named in parts:
        for name, part in named.items():
            first = seen.setdefault(bits(part), name)
            if first == name:
                kept.setdefault(name, part)
            elif name not in kept:
                notes.append(f"{run}/{name}: the same result as {run}/{first}, counted once")
    return {name: kept[name] for name in sorted(kept)}


def _alike(
    runs: Iterable[RecipeRun], tokens: Callable[[RecipeRun], Tokens]
) -> list[list[RecipeRun]]:
    """Runs that share something, and differ in nothing that they share, together."""
    families: list[list[RecipeRun]] = []
    for run in runs:
        own = tokens(run)
        near = [f for f in families if all(_agree(own, tokens(other)) for other in f)]
        families = [family for family in families if family not in near]
        families.append([other for family in near for other in family] + [run])
    return families


def _agree(one: Tokens, other: Tokens) -> bool:
    common = one.keys() & other.keys()
    return bool(common) and all(one[key] == other[key] for key in common)


def _bits(run: RecipeRun) -> Tokens:
    """Everything that a run has finished by what it is, down to the bits."""
    stages = {str(n): _stage_bits(stage) for n, stage in run.stages.items()}
    return {**stages, **{name: _probe_bits(probe) for name, probe in run.probes.items()}}


def _stage_bits(stage: StageRun) -> str:
    identity, weights = stage.manifest.identity, stage.manifest.weights_sha256
    return fingerprint({"identity": identity, "weights": weights})


def _probe_bits(probe: ProbeRun) -> str:
    rows = [row.model_dump() for row in probe.rows]
    return fingerprint({"identity": probe.manifest.nameless, "rows": rows})


def _identities(run: RecipeRun, trained: Mapping[str, Identity]) -> Tokens:
    """Everything that a run has finished by what decided it, weights by what trained them."""
    stages = {str(n): fingerprint(stage.manifest.identity) for n, stage in run.stages.items()}
    probes = {
        name: fingerprint(_told_by_training(probe.manifest.nameless, trained))
        for name, probe in run.probes.items()
    }
    return {**stages, **probes}


def _told_by_training(identity: Identity, trained: Mapping[str, Identity]) -> Identity:
    weights = {
        key: trained.get(value, value) if isinstance(value, str) else value
        for key, value in identity.get("weights", {}).items()
    }
    return {key: v for key, v in identity.items() if key != "classifiers"} | {"weights": weights}


def doubled(run: RecipeRun) -> Iterator[str]:
    """A note on every probe whose rows another probe of the run tells too."""
    told: dict[tuple[str, str, str], str] = {}
    pairs: dict[tuple[str, str], None] = {}
    for name, probe in run.probes.items():
        for row in probe.rows:
            before = told.setdefault((row.task, row.protocol, row.stage), name)
            pairs |= {(before, name): None} if before != name else {}
    for before, name in pairs:
        yield f"{run.name}/{before}: {run.name}/{name} tells the same rows otherwise and is shown"


def repeated(runs: Iterable[RecipeRun]) -> Iterator[str]:
    """A note on every run that is, down to the bits, a run of another recipe."""
    seen: dict[frozenset[tuple[int, str]], str] = {}
    for run in runs:
        stages = frozenset((n, _stage_bits(stage)) for n, stage in run.stages.items())
        first = seen.setdefault(stages, run.name)
        if stages and first != run.name:
            yield f"{run.name}: the same stages as {first}, down to the bits, under another name"
