"""A recipe on its data: what it costs, what is done, the stages and probes that are still to do."""

import logging
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

from gimstage.errors import (
    NoLabelsError,
    StaleCacheError,
)
from gimstage.errors.commands import pasted
from gimstage.files import free_bytes
from gimstage.inputs import DataSet, find_data
from gimstage.plan.calibration import Calibration, calibrate, measured, read_calibration
from gimstage.plan.cost import (
    StagePlan,
    plan_stage,
    plan_stages,
    probe_hours,
    require_disk,
    stored_bytes,
)
from gimstage.probe import Row
from gimstage.progress import Watch
from gimstage.recipe.chain import Chain
from gimstage.recipe.recipe import Recipe
from gimstage.runs.folder import RunFolder, folder_bytes
from gimstage.runs.manifest import MemoryRecord
from gimstage.runs.state import Runs, Status
from gimstage.work.base import Settings, Work, finish, say_once
from gimstage.work.probe import ProbeWork
from gimstage.work.stage import StageWork
from gimstage.work.verify import Verification, Verified

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
        self._measured: Calibration | None = None
        fingerprint = data.fingerprint(recipe.data.train_split, root)
        phones = data.phones_fingerprint(root)
        self.runs = Runs(root, fingerprint, phones, data.learned_sha256)

    @classmethod
    def find(
        cls, recipe: Recipe, data: Path | None, root: Path, *, settings: Settings, watch: Watch
    ) -> Self:
        """A recipe on the data that lies in a folder, or on the demo's own, written if need be.

        Raises:
            DataError: a recipe on real data without a folder, or the data is not as it should be.
        """
        own = find_data(recipe.data, data, root)
        with watch.breaking_off():
            own.make(watch)
        return cls(recipe, own, root=root, settings=settings, watch=watch)

    @classmethod
    def look(cls, recipe: Recipe, data: Path | None, root: Path, *, settings: Settings) -> Self:
        """A recipe on its data for whoever only looks: nothing is written, a demo's data may lack.

        What is then known of the data are its counts, lengths and labels, and no fingerprint; a
        finished stage or probe is compared with the rest of what it was made from.
        """
        own = find_data(recipe.data, data, root)
        return cls(recipe, own, root=root, settings=settings, watch=Watch())

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
        """The hours of a probe's encoding, by the last calibration; None without one.

        Raises:
            DataError: the data has no labels for it.
        """
        work = self._probe(name)
        calibration = self._calibration(work.chains)
        if calibration is None:
            return None
        stacks = 2 if work.spec.weights == "trained" else 1
        return probe_hours(work.chains, work.open().crops, stacks=stacks, calibration=calibration)

    def _calibration(self, chains: list[Chain]) -> Calibration | None:
        """The last calibration, if it was of this device and of these chains."""
        calibration = self._measured or read_calibration(self.calibration_path)
        device = self.settings.device
        covers = calibration and all(calibration.covers(chain, device) for chain in chains)
        return calibration if covers else None

    @property
    def calibration_path(self) -> Path:
        """Where the measured speeds of this machine are kept."""
        return self.root / "calibration.json"

    def calibrate(self, *, again: bool = True) -> Calibration:
        """Measure this device and the disk of the runs folder for every stage, trained or probed.

        Args:
            again: whether what was measured before on this device is measured again.
        """
        return calibrate(
            self._measurable(), self.settings.device, self.calibration_path, again=again
        )

    def measure(self, known: Calibration | None) -> Calibration:
        """Measure what nobody has measured, the disk left out, for this pipeline; write nothing.

        Args:
            known: what was measured before, if not by `calibrate`.
        """
        before = known or read_calibration(self.calibration_path)
        self._measured = measured(self._measurable(), self.settings.device, before)
        return self._measured

    def _measurable(self) -> list[Chain]:
        """The stages that are trained or probed, last of their chains."""
        refs = [*self.recipe.stages, *(r for p in self.recipe.probes.values() for r in p.inputs)]
        return [self.recipe.chain(ref) for ref in refs]

    def require_disk(self, numbers: list[int]) -> None:
        """Refuse before a byte is written if what these stages store would not fit."""
        chains = {number: self.recipe.chain(number) for number in self.recipe.stages}
        cached = {n: folder_bytes(self.runs.own_folder(c).features) for n, c in chains.items()}
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
        return finish(self._stage(number), room=partial(self._before_training, number))

    def _before_training(self, number: int) -> None:
        """Say what of the data is remarkable, and refuse what would not fit the disk."""
        self._say_notes()
        self.require_disk([number])

    def _say_notes(self) -> None:
        """Say what of the files is remarkable, once; a demo's are as they were written."""
        for note in self.data.notes() if not self.recipe.data.synthetic else ():
            say_once(f"{self.data.root}: {note}")

    def _stage(self, number: int) -> StageWork:
        return StageWork(
            self.recipe.chain(number),
            self.data,
            runs=self.runs,
            settings=self.settings,
            watch=self.watch,
        )

    def extract_stage(self, number: int) -> bool:
        """Write the features of a trained stage; False where they are there whole, all of it read.

        Raises:
            StaleCacheError: the stage is not trained as the recipe stands now.
        """
        chain = self.recipe.chain(number)
        self.runs.look_again()
        self._refuse_other_data(chain)
        if self.runs.status(chain).state != "done" and not self.runs.trained(chain):
            raise StaleCacheError(
                f"stage {chain.last.key}",
                "not trained as its recipe stands",
                "trained weights",
                f"run {pasted(*self.runs.training(chain))}, which also extracts",
            )
        work = self._stage(number)
        again = self.runs.status(chain).state == "done" and not work.features_whole()
        return finish(work, room=partial(self.require_disk, [number]), again=again)

    def _refuse_other_data(self, chain: Chain) -> None:
        """Refuse to extract from data that a stage was not trained on.

        Raises:
            StaleCacheError: the stage was trained on other data.
        """
        manifest = self.runs.manifest(chain)
        if manifest is not None and manifest.data_sha256 != self.runs.data_sha256:
            raise StaleCacheError(
                f"stage {chain.last.key}",
                f"trained on other data, of SHA-256 {manifest.data_sha256[:12]}…",
                f"that in {self.data.root}, {self.runs.data_sha256[:12]}…",
                "give the folder it was trained on with --data, or train it on this one: "
                f"run {pasted(*self.runs.training(chain))}, which also extracts",
            )

    def probe(self, name: str) -> list[Row]:
        """The rows of a probe, computed unless they are there for the stages as they are now.

        Raises:
            StaleCacheError: a stage it reads is not done.
            DataError: the data has no labels.
        """
        work = self._probe(name)
        finish(work)
        return work.rows()

    def _probe(self, name: str) -> ProbeWork:
        return ProbeWork(
            self.recipe,
            name,
            data=self.data,
            runs=self.runs,
            settings=self.settings,
            watch=self.watch,
        )

    def run(self) -> list[Row]:
        """Train every stage that is not done, fit every probe; the probes' rows.

        A probe whose labels the data does not have is left out with a warning, unless it is the
        only one; what is wrong with labels is said before anything is trained, and so is what of
        the files is remarkable.
        """
        self._say_notes()
        probes = self.possible_probes
        self.require_disk([int(s.name) for s in self.statuses() if s.state != "done"])
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
        for name in self.recipe.probes:
            try:
                self._probe(name).open()
                names.append(name)
            except NoLabelsError as error:
                if len(self.recipe.probes) == 1:
                    raise
                _log.warning("%s/%s is left out: %s", self.recipe.name, name, error)
        return names

    def free_disk(self) -> int:
        """Free bytes where the runs folder lies."""
        return free_bytes(self.root)

    def verify(self) -> list[Verified]:
        """Read every byte of every finished stage and probe, and of the data they came from.

        Raises:
            StaleCacheError: none is finished.
        """
        places = self.places()
        return Verification(
            self.recipe, self.data, places=places, runs=self.runs, watch=self.watch
        ).all()

    @property
    def to_store(self) -> list[int]:
        """The stages whose features lie in no other recipe's folder, and so will in their own."""
        return [n for n in self.recipe.stages if not self.runs.is_lent(self.recipe.chain(n))]

    def places(self) -> dict[RunFolder, RunFolder]:
        """Where each stage and probe is read from, by its own folder."""
        works: list[Work[Any]] = [*map(self._stage, self.recipe.stages)]
        works += map(self._probe, self.recipe.probes)
        for work in works:
            work.status()
        return {work.folder: work.place for work in works}

    def lenders(self) -> set[str]:
        """The names of other runs in which stages or probes of this recipe lie finished."""
        lent = [place for own, place in self.places().items() if place != own]
        return {place.path.parent.name for place in lent}

    def statuses(self) -> list[Status]:
        """The state of every stage, in order."""
        self.runs.look_again()
        return [self.runs.status(self.recipe.chain(number)) for number in self.recipe.stages]

    def memory(self, number: str) -> MemoryRecord | None:
        """Predicted and measured GPU memory of a stage, from its manifest; None where unknown."""
        manifest = self.runs.manifest(self.recipe.chain(number))
        return manifest.memory if manifest else None

    def probe_statuses(self) -> list[Status]:
        """The state of every probe, in order."""
        self.runs.look_again()
        return [self._probe(name).status() for name in self.recipe.probes]
