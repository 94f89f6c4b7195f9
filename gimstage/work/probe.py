"""One probe from start to finish: what decides its rows, whether they are there, how they come."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

from torch import nn

from gimstage.device import module_to_device
from gimstage.errors import CacheError, DataError
from gimstage.inputs import DataSet
from gimstage.inputs.reread import Reread
from gimstage.probe import CropProbe, FrameProbe, Row, Stacks, open_probe
from gimstage.progress import Watch
from gimstage.recipe.chain import Chain
from gimstage.recipe.identity import (
    Identity,
    differences,
    fingerprint,
    known_fingerprint,
    supplemented,
)
from gimstage.recipe.names import ModuleKey, RunName, nameless
from gimstage.recipe.recipe import Recipe
from gimstage.runs.folder import RunFolder
from gimstage.runs.manifest import ProbeManifest, ProbeRow
from gimstage.runs.state import Runs, Status, record_or_verdict, was_set_aside
from gimstage.stack import Stack, own_classifiers, random_stack, trained_stack
from gimstage.work.base import Settings, Work, versions


class ProbeWork(Work[list[Row]]):
    """Fitting classifiers on the codes of the stages that a probe of a recipe names.

    Args:
        recipe: the recipe.
        name: the name of the probe.
        data: the data set.
        runs: all runs.
        settings: how to compute.
        watch: hears of progress, asks to stop.

    Raises:
        RecipeError: there is no such probe.
    """

    def __init__(
        self,
        recipe: Recipe,
        name: str,
        *,
        data: DataSet,
        runs: Runs,
        settings: Settings,
        watch: Watch,
    ) -> None:
        self.recipe, self.name, self.spec = recipe, name, recipe.probe(name)
        self.chains = [recipe.chain(ref) for ref in self.spec.inputs]
        self.key, self.run = f"{recipe.name}/{name}", RunName.parse(recipe.name)
        trained = self.chains if self.spec.weights == "trained" else []
        reads = [part for chain in trained for part in [*chain.below(), chain]]
        super().__init__(f"probe {self.key}", runs.folder(self.key), reads=reads, runs=runs)
        self.data, self.settings, self.watch = data, settings, watch
        self._record: ProbeManifest | None = None  # as the last look has found it

    def identity(self) -> Identity:
        """Everything that decides the probe's rows, down to the bits of the weights.

        Raises:
            StaleCacheError: a stage it reads is not done.
            DamagedCacheError: a stage it reads is damaged.
            DataError: a split it reads is not there.
        """
        stages = [stage for chain in self.chains for stage in chain.stages]
        algorithms = {"views": self.recipe.data.algorithm}
        algorithms |= {part.kind: part.algorithm() for stage in stages for part in stage.spec.parts}
        weights = self._weights()  # first: where a stage is not done, no data need be read
        return {
            "algorithms": algorithms | {"probe": self.spec.algorithm},
            "probe": self.spec.identity(),
            "data": self.recipe.data.as_probed(),
            "data_sha256": self._data_sha256(),
            "weights": weights,
            **self._labels(),
            **self._classifiers(),
        }

    @property
    def _splits(self) -> tuple[str, ...]:
        return tuple(sorted({self.spec.train_split, self.spec.test_split}))

    def _data_sha256(self) -> Identity:
        root = self.runs.root
        digests: Identity = {name: self.data.fingerprint(name, root) for name in self._splits}
        if self._reads_phones:
            digests["phones"] = self.data.phones_fingerprint(root)
        return digests

    @property
    def _reads_phones(self) -> bool:
        """Whether it reads labels of frames that lie in a file of phones."""
        return self.spec.per == "frame" and self.data.keeps_labels

    def _labels(self) -> Identity:
        """What its labels tell of each split, where fingerprints do not count them."""
        asked = {
            name: self.data.labels_sha256(self.spec.label, self.spec.per, name)
            for name in self._splits
        }
        known = {name: sha for name, sha in asked.items() if sha is not None}
        return {"labels_sha256": known} if known else {}

    def _weights(self) -> Identity:
        """What decides the weights of every stack that is probed, by the key of its last stage."""
        return {chain.last.key: self._weights_of(chain) for chain in self.chains}

    def _weights_of(self, chain: Chain) -> Any:
        if self.spec.weights == "trained":
            return self.runs.require(chain).weights_sha256
        return [
            {
                "seed": stage.spec.train.seed,
                **part.model_dump(exclude={"objective", "update_every"}),
            }
            for stage in chain.stages
            for part in stage.spec.parts
        ]

    def _classifiers(self) -> Identity:
        """What decides the stages' own classifiers, where the probe asks for them."""
        if not getattr(self.spec, "own", None):
            return {}
        digests = {each.last.key: self.runs.require(each).objective_sha256 for each in self.chains}
        return {"classifiers": digests}

    def status(self) -> Status:
        """The state of the probe, and why."""
        self.place, self._record = self.folder, None
        self._record, (state, why) = record_or_verdict(self.folder.probe_manifest)
        if self._record is None:
            why = (*why, *was_set_aside(self.folder))
        try:
            if self._record is None and not self._others():
                return Status(self.name, state, why, "")
            wanted = self.identity()
            if self._record is not None:
                wanted = supplemented(wanted, self._record.identity)
        except (CacheError, DataError) as error:  # a stage it reads is not done, or a split lacks
            verdict = ("stale", (str(error),)) if self._record else (state, why)
            return Status(self.name, *verdict, "")
        if self._record is not None:
            why = tuple(differences(self._record.identity, wanted))
            state = "stale" if why else "done"
        if state != "done" and (same := self._same(wanted)):
            self.place, self._record = same
            state, why = "done", (f"as {self.place.path}",)
        return Status(self.name, state, why, known_fingerprint(wanted))

    def _others(self) -> list[RunFolder]:
        """Other folders that may hold the same; none where nothing mentions the weights."""
        digests = [each for each in self._weights().values() if isinstance(each, str)]
        return self.runs.finished.mentioning(digests, beside=self.folder)

    def _same(self, identity: Identity) -> tuple[RunFolder, ProbeManifest] | None:
        """The first other folder of a finished probe that was asked for exactly the same."""
        wanted = nameless(identity, self.run)
        for folder in self._others():
            with suppress(CacheError, ValueError):
                record = folder.probe_manifest()
                if record and not differences(record.nameless, wanted):
                    return folder, record
        return None

    def open(self) -> CropProbe | FrameProbe:
        """The probe, its splits and labels read and checked.

        Raises:
            DataError: a split cannot be read, or has no labels that it could use.
        """
        return open_probe(
            self.spec,
            self.data,
            device=self.settings.device,
            workers=self.settings.workers,
            watch=self.watch,
        )

    def work(self) -> list[Row]:
        """Fit the classifiers; the rows of how they do.

        Raises:
            GimstageError: a stage it reads is not done, or the data has no labels for it.
            Interrupted: a stop was asked for; the next call begins anew.
        """
        reread = Reread(self.data, self._splits, self._reads_phones, self.runs.root)
        reread.compare(self.watch, f"{self.key} verify")
        self.folder.withdraw()
        with self.watch.breaking_off():  # a classifier is fitted in one go, and rows come last
            rows = self._rows()
        reread.recheck()
        return rows

    def _rows(self) -> list[Row]:
        stacks, probe = self._stacks(), self.open()
        rows = probe.rows(self.recipe.name, self.name, stacks)
        if isinstance(probe, CropProbe) and getattr(self.spec, "own", None):
            classifiers: dict[str, nn.Module] = {}
            for chain in self.chains:
                classifiers |= own_classifiers(self.runs, chain)
            rows += probe.own_rows(self.recipe.name, stacks, classifiers)
        return rows

    def commit(self, rows: list[Row]) -> None:
        """Write the manifest; the probe is done."""
        identity = self.identity()
        self._record = ProbeManifest(
            probe=self.key,
            fingerprint=fingerprint(identity),
            identity=identity,
            rows=[ProbeRow(**row) for row in rows],
            data_title=self.data.title,
            versions=versions(),
        )
        self.folder.commit(self._record)

    def rows(self) -> list[Row]:
        """The rows as the last look at its status has found them; none where there were none."""
        rows = [row.model_dump() for row in self._record.rows] if self._record else []
        return rows if self.place == self.folder else [self._named_here(row) for row in rows]

    def _named_here(self, row: Row) -> Row:
        """A row of another run's, whose stages of other recipes have that run's seed."""
        if "/" not in row["stage"]:
            return row
        key = ModuleKey.parse(row["stage"])
        return row | {"stage": str(replace(key, run=replace(key.run, seed=self.run.seed)))}

    def _stacks(self) -> Stacks:
        """The stacks to probe, by key of module.

        A stack has the codes of all stages below its last, so the longest serve the others too.
        """
        built: list[tuple[Stack, ...]] = []
        for chain in sorted(self.chains, key=lambda chain: len(chain.stages), reverse=True):
            if not any(chain.last.module_keys[-1] in pair[0].names for pair in built):
                built.append(self._pair(chain))
        keys = [key for chain in self.chains for key in chain.last.module_keys]
        return {key: next(pair for pair in built if key in pair[0].names) for key in keys}

    def _pair(self, chain: Chain) -> tuple[Stack, ...]:
        """The stack to probe; then, where it is trained, the same before training."""
        stacks = [random_stack(chain)]
        if self.spec.weights == "trained":
            stacks.insert(0, trained_stack(self.runs, chain))
        return tuple(module_to_device(stack, self.settings.device) for stack in stacks)
