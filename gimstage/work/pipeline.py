"""A recipe on its data: what it costs, what is done, the stages and probes that are still to do."""

import logging
import shutil
from contextlib import ExitStack, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from gimstage.cache import verify
from gimstage.device import module_to_device
from gimstage.errors import (
    CacheError,
    DamagedCacheError,
    DataError,
    NoLabelsError,
    StaleCacheError,
)
from gimstage.inputs import DataSet, find_data
from gimstage.plan.calibration import Calibration, calibrate, read_calibration
from gimstage.plan.cost import (
    StagePlan,
    plan_stage,
    plan_stages,
    probe_hours,
    require_disk,
    stored_bytes,
)
from gimstage.probe import ClassProbe, CropProbe, PhoneProbe, Row, SpeakerProbe, open_probe
from gimstage.progress import Watch
from gimstage.recipe.chain import Chain
from gimstage.recipe.identity import Identity, differences, fingerprint
from gimstage.recipe.recipe import Recipe
from gimstage.runs.folder import check_weights, folder_bytes
from gimstage.runs.manifest import MemoryRecord, ProbeManifest, ProbeRow
from gimstage.runs.state import Runs, Status
from gimstage.specs import ProbeSpec
from gimstage.stack import Stack, own_classifiers, random_stack, trained_stack
from gimstage.work.stage import Settings, StageWork, naming_out_of_memory, versions

_log = logging.getLogger(__name__)


class Pipeline:
    """A recipe on its data, below a runs folder.

    Args:
        recipe: the recipe.
        data: its data.
        root: the runs folder.
        settings: how to compute.
        watch: hears of progress, asks to stop.
    """

    def __init__(
        self, recipe: Recipe, data: DataSet, *, root: Path, settings: Settings, watch: Watch
    ) -> None:
        self.recipe, self.data, self.root = recipe, data, root
        self.settings, self.watch = settings, watch
        fingerprint = data.fingerprint(recipe.data.train_split, root)
        self.runs = Runs(root, fingerprint, data.phones_fingerprint(root))

    @classmethod
    def find(
        cls, recipe: Recipe, data: Path | None, root: Path, *, settings: Settings, watch: Watch
    ) -> Self:
        """A recipe on the data that lies in a folder, or on the demo's own.

        Raises:
            DataError: a recipe on real data without a folder, or the data is not as it should be.
        """
        own = find_data(recipe.data, data, root)
        return cls(recipe, own, root=root, settings=settings, watch=watch)

    def plans(self) -> list[StagePlan]:
        """The cost of every stage of the recipe, in order.

        Raises:
            BudgetError: of all stages that do not fit the budget of GPU memory, the largest.
        """
        return plan_stages(map(self.recipe.chain, self.recipe.stages), self.plan)

    def plan(self, chain: Chain) -> StagePlan:
        """The cost of the chain's last stage."""
        return plan_stage(
            chain,
            self.data,
            cached_bytes=folder_bytes(self.runs.stage_folder(chain).features),
            budget=self.settings.budget,
            calibration=self._calibration([chain]),
        )

    def probe_hours(self, name: str) -> float | None:
        """Of a probe's encoding, by the last calibration; None without one.

        Raises:
            DataError: the data has no labels for it.
        """
        spec = self.recipe.probe(name)
        chains = [self.recipe.chain(ref) for ref in spec.inputs]
        calibration = self._calibration(chains)
        if calibration is None:
            return None
        crops = self._open_probe(spec).crops
        stacks = 2 if spec.weights == "trained" else 1
        return probe_hours(chains, crops, stacks=stacks, calibration=calibration)

    def _calibration(self, chains: list[Chain]) -> Calibration | None:
        """The last calibration, if it was of this device and of these chains."""
        found = read_calibration(self.calibration_path)
        device = self.settings.device
        return found if found and all(found.covers(chain, device) for chain in chains) else None

    @property
    def calibration_path(self) -> Path:
        """Where the measured speeds of this machine are kept."""
        return self.root / "calibration.json"

    def calibrate(self, *, again: bool = True) -> Calibration:
        """Measure this device and the disk of the runs folder for every stage, trained or probed.

        Args:
            again: whether what was measured before on this device is measured again.
        """
        refs = [*self.recipe.stages, *(r for p in self.recipe.probes.values() for r in p.inputs)]
        chains = [self.recipe.chain(ref) for ref in refs]
        return calibrate(chains, self.settings.device, self.calibration_path, again=again)

    def require_disk(self, numbers: list[int]) -> None:
        """Refuse before a byte is written if what these stages store would not fit."""
        chains = {number: self.recipe.chain(number) for number in self.recipe.stages}
        cached = {n: folder_bytes(self.runs.stage_folder(c).features) for n, c in chains.items()}
        pending = {number: stored_bytes(chains[number], self.data) for number in numbers}
        require_disk(
            f"recipe {self.recipe.name}",
            sum(max(0, count - cached[number]) for number, count in pending.items()),
            root=self.root,
            total_bytes=sum((cached | pending).values()),
            max_disk=self.settings.max_disk,
        )

    def train_stage(self, number: int) -> bool:
        """Bring a stage to "done"; False where it was already.

        Raises:
            GimstageError: the stage before is not done, the disk is too small, another process
                works on it, the data or the numbers are bad.
            Interrupted: a stop was asked for; the next call goes on from there.
        """
        chain = self.recipe.chain(number)
        folder = self.runs.stage_folder(chain)
        if self._done(chain):  # asked without the lock, which one who only reads may hold
            return False
        with folder.lock(), ExitStack() as held:
            if self._done(chain):
                return False
            for below in chain.below():
                held.enter_context(self.runs.stage_folder(below).reading())
            folder.refuse_newer()
            self.require_disk([number])
            work = StageWork(
                chain, self.data, runs=self.runs, settings=self.settings, watch=self.watch
            )
            with naming_out_of_memory(f"stage {chain.last.key}"):
                work.run()
        return True

    def _done(self, chain: Chain) -> bool:
        done = self.runs.status(chain).state == "done"
        if done:
            self.runs.stage_folder(chain).manifest_path.touch()  # for make, which orders by time
        return done

    def extract_stage(self, number: int) -> bool:
        """Write the features of a trained stage; False where they are there already.

        Raises:
            StaleCacheError: the stage is not trained as the recipe stands now.
        """
        chain = self.recipe.chain(number)
        if self.runs.status(chain).state != "done" and not self.runs.trained(chain):
            raise StaleCacheError(
                f"stage {chain.last.key}",
                "not trained as its recipe stands",
                "trained weights",
                f"run `gimstage train-stage {number}`, which also extracts",
            )
        return self.train_stage(number)

    def probe(self, name: str) -> list[Row]:
        """The rows of a probe, computed unless they are there for the stages as they are now.

        Raises:
            StaleCacheError: a stage it reads is not done.
            DataError: the data has no labels.
        """
        spec = self.recipe.probe(name)
        folder = self.runs.folder(f"{self.recipe.name}/{name}")
        with folder.lock(), ExitStack() as held:
            identity = self._probe_identity(spec)
            if spec.weights == "trained":
                for chain in map(self.recipe.chain, spec.inputs):
                    for part in [*chain.below(), chain]:
                        held.enter_context(self.runs.stage_folder(part).reading())
            manifest = None
            with suppress(DamagedCacheError):  # it is made anew
                manifest = folder.probe_manifest()
            if manifest is None or manifest.identity != identity:
                folder.withdraw()
                with naming_out_of_memory(f"probe {self.recipe.name}/{name}"):
                    rows = self._probe_rows(name, spec)
                folder.commit(
                    ProbeManifest(
                        probe=f"{self.recipe.name}/{name}",
                        fingerprint=fingerprint(identity),
                        identity=identity,
                        rows=[ProbeRow(**row) for row in rows],
                        versions=versions(),
                    )
                )
                return rows
            folder.manifest_path.touch()  # for make, which orders by time
            return [row.model_dump() for row in manifest.rows]

    def run(self) -> list[Row]:
        """Train every stage that is not done, fit every probe; the probes' rows.

        A probe whose labels the data does not have is left out, aloud, unless it is the only one;
        what is wrong with labels is said before anything is trained.
        """
        probes = self.possible_probes
        chains = {number: self.recipe.chain(number) for number in self.recipe.stages}
        self.require_disk([n for n, c in chains.items() if self.runs.status(c).state != "done"])
        for number in self.recipe.stages:
            self.train_stage(number)
        return [row for name in probes for row in self.probe(name)]

    @cached_property
    def possible_probes(self) -> list[str]:
        """The probes whose labels the data has, all of them checked; the others are said once.

        Raises:
            NoLabelsError: the data has none for the only probe.
        """
        names = []
        for name, spec in self.recipe.probes.items():
            try:
                self._open_probe(spec)
                names.append(name)
            except NoLabelsError as error:
                if len(self.recipe.probes) == 1:
                    raise
                _log.warning("%s/%s is left out: %s", self.recipe.name, name, error)
        return names

    def free_disk(self) -> int:
        """Free bytes where the runs folder lies."""
        self.root.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(self.root).free

    def _probe_rows(self, name: str, spec: ProbeSpec) -> list[Row]:
        chains = {chain.last.key: chain for chain in map(self.recipe.chain, spec.inputs)}
        stacks: dict[str, tuple[Stack, ...]] = {}
        for key, chain in sorted(chains.items(), key=lambda item: -len(item[1].stages)):
            last = chain.last.module_keys[-1]
            passing = (pair for pair in stacks.values() if last in pair[0].names)
            stacks[key] = next(passing, ()) or self._stacks(chain, spec)
        chosen = {
            name: stacks[key] for key, chain in chains.items() for name in chain.last.module_keys
        }
        probe = self._open_probe(spec)
        rows = probe.rows(self.recipe.name, name, chosen)
        if isinstance(probe, CropProbe) and getattr(spec, "own", None):
            found = [own_classifiers(self.runs, chain) for chain in chains.values()]
            classifiers = {key: each for stage in found for key, each in stage.items()}
            rows += probe.own_rows(self.recipe.name, chosen, classifiers)
        return rows

    def _open_probe(self, spec: ProbeSpec) -> ClassProbe | SpeakerProbe | PhoneProbe:
        device, workers = self.settings.device, self.settings.workers
        return open_probe(spec, self.data, device=device, workers=workers, watch=self.watch)

    def _stacks(self, chain: Chain, spec: ProbeSpec) -> tuple[Stack, ...]:
        """The stack to probe; then, where it is trained, the same before training."""
        stacks = [random_stack(chain)]
        if spec.weights == "trained":
            stacks.insert(0, trained_stack(self.runs, chain))
        return tuple(module_to_device(stack, self.settings.device) for stack in stacks)

    def _probe_identity(self, spec: ProbeSpec) -> Identity:
        """Everything that decides a probe's rows, down to the bits of the weights."""
        chains = [self.recipe.chain(ref) for ref in spec.inputs]
        splits: set[str] = {spec.train_split, spec.test_split}
        data: Identity = {name: self.data.fingerprint(name, self.root) for name in sorted(splits)}
        if spec.task == "phone":
            data["phones"] = self.data.phones_fingerprint(self.root)
        stages = [stage for chain in chains for stage in chain.stages]
        algorithms = {"views": self.recipe.data.algorithm}
        algorithms |= {t.kind: t.algorithm() for stage in stages for t in stage.spec.parts}
        # What only training sees.
        left_out: dict[str, Any] = {
            "demo": True,
            "stored_views": True,
            "validation": True,
            "views": {"cutout_px"},
        }
        return {
            "algorithms": algorithms | {"probe": spec.algorithm},
            "probe": spec.identity(),
            "data": self.recipe.data.model_dump(mode="json", exclude=left_out),
            "data_sha256": data,
            "weights": {chain.last.key: self._weights(chain, spec) for chain in chains},
        } | self._classifiers_identity(chains, spec)

    def _classifiers_identity(self, chains: list[Chain], spec: ProbeSpec) -> Identity:
        """What decides the stages' own classifiers, where the probe asks for them."""
        if not getattr(spec, "own", None):
            return {}
        found = {chain.last.key: self.runs.require(chain).objective_sha256 for chain in chains}
        return {"classifiers": found}

    def _weights(self, chain: Chain, spec: ProbeSpec) -> Any:
        """What decides the weights of a stack that is probed."""
        if spec.weights == "trained":
            return self.runs.require(chain).weights_sha256
        return [
            {
                "seed": stage.spec.train.seed,
                **part.model_dump(exclude={"objective", "update_every"}),
            }
            for stage in chain.stages
            for part in stage.spec.parts
        ]

    def verify(self) -> list[dict[str, Any]]:
        """Read every byte of every finished stage; which stages were read, features or not.

        Raises:
            DamagedCacheError: a file is missing or of other bytes than its manifest names.
        """
        checked = []
        for number in self.recipe.stages:
            chain = self.recipe.chain(number)
            folder = self.runs.stage_folder(chain)
            manifest = folder.manifest()
            if manifest is None:
                continue
            check_weights(folder, manifest)
            kept = chain.last.spec.output.store == "features" or folder.features.exists()
            if stored := manifest.features is not None and kept:
                verify(folder.features, manifest.features.files, full=True)
            checked.append({"stage": str(number), "features": stored})
        return checked

    def statuses(self) -> list[Status]:
        """The state of every stage, in order."""
        return [self.runs.status(self.recipe.chain(number)) for number in self.recipe.stages]

    def memory(self, number: str) -> MemoryRecord | None:
        """Predicted and measured GPU memory of a stage, from its manifest; None where unknown."""
        with suppress(CacheError):
            manifest = self.runs.stage_folder(self.recipe.chain(number)).manifest()
            return manifest.memory if manifest else None
        return None

    def probe_statuses(self) -> list[Status]:
        """The state of every probe."""
        return [self._probe_status(name, spec) for name, spec in self.recipe.probes.items()]

    def _probe_status(self, name: str, spec: ProbeSpec) -> Status:
        try:
            manifest = self.runs.folder(f"{self.recipe.name}/{name}").probe_manifest()
        except DamagedCacheError as error:
            return Status(name, "damaged", (str(error),), "")
        except CacheError as error:
            return Status(name, "stale", (str(error),), "")
        if manifest is None:
            return Status(name, "missing", (), "")
        try:
            wanted = self._probe_identity(spec)
        except (CacheError, DataError) as error:  # a stage it reads is not done, or a split lacks
            return Status(name, "stale", (str(error),), "")
        changes = tuple(differences(manifest.identity, wanted))
        return Status(name, "stale" if changes else "done", changes, fingerprint(wanted))
