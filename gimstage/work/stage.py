"""One stage from start to finish: train, freeze, extract, commit; or any part still missing.

The order of writing is the order of trust: weights.safetensors appears when training is over,
shards of features.zarr one by one, manifest.json last of all.
"""

import logging
import shutil
import time
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path

import torch

from gimstage.device import device_name
from gimstage.errors import ChangedDataError, DamagedCacheError, GimstageError
from gimstage.errors.commands import making_anew
from gimstage.extract import extraction
from gimstage.extract.layout import features_layout
from gimstage.files import set_aside, write_json
from gimstage.inputs import DataSet, Source, output_source
from gimstage.inputs.reread import Reread
from gimstage.plan.cost import require_steps
from gimstage.plan.fit import Setting, choose, plain_setting
from gimstage.plan.memory import Budget
from gimstage.plan.predictions import kept_in
from gimstage.progress import Watch, counted_bytes
from gimstage.recipe.chain import Chain
from gimstage.recipe.identity import Identity, fingerprint
from gimstage.runs.folder import damaged_files, features_usable, kept_files
from gimstage.runs.manifest import (
    FeaturesRecord,
    FidelityRecord,
    Manifest,
    StoredFile,
    TrainingRecord,
)
from gimstage.runs.state import Runs, Status, record_or_verdict
from gimstage.stack import load_weights, new_module
from gimstage.train.loop import Training
from gimstage.work.base import Settings, Work, finish, say_once, versions
from gimstage.work.records import measured_memory, memory_record, training_record

_log = logging.getLogger(__name__)


class DamagedInputError(DamagedCacheError):
    """Features that a stage was about to read are damaged.

    Args:
        chain: the stage that stored them.
        error: the first thing that is wrong with them.
    """

    def __init__(self, chain: Chain, error: DamagedCacheError) -> None:
        super().__init__(error.where, error.found, error.expected, error.cure)
        self.chain = chain


class StageWork(Work[FeaturesRecord | None]):
    """Training a stage and storing what it hands on.

    Args:
        chain: the stage, last of its chain.
        data: the data set.
        runs: all runs.
        settings: how to compute.
        watch: hears of progress, asks to stop.
    """

    def __init__(
        self, chain: Chain, data: DataSet, *, runs: Runs, settings: Settings, watch: Watch
    ) -> None:
        folder = runs.own_folder(chain)
        super().__init__(f"stage {chain.last.key}", folder, reads=chain.below(), runs=runs)
        self.chain, self.data = chain, data
        self.settings, self.watch = settings, watch
        self._mended: set[str] = set()
        self._recorded: Manifest | None = None  # of the weights that are there

    def identity(self) -> Identity:
        """Everything that decides what the stage hands on."""
        return self.runs.features_identity(self.chain)

    def status(self) -> Status:
        """The state of the stage, and why."""
        self.place = self.runs.stage_folder(self.chain)
        return self.runs.status(self.chain)

    def work(self) -> FeaturesRecord | None:
        """Train and extract, or whatever of it is missing; what is stored, if anything.

        Raises:
            GimstageError: the stage before is not done, or the data or the numbers are bad.
            ChangedDataError: the data is not what its fingerprint says, or no longer.
            Interrupted: a stop was asked for; the next call goes on from there.
        """
        if self.chain.upstream is not None:
            self.runs.require(self.chain.upstream)
        cap_memory(self.settings.device, self.settings.budget)
        source = output_source(self.runs, self.data, self.chain.upstream, self.settings.device)
        try:
            self._reread.compare(self.watch, f"{self.chain.last.key} verify")
            self._verify_input(self.chain.upstream)
            self._train(source)
            # None where they were trained just now: no manifest names them yet.
            self._recorded, _ = record_or_verdict(self.folder.manifest)
            self.folder.withdraw()
            features = self._extract(source, self._recorded)
            self._reread.recheck()
        except ChangedDataError:
            self.folder.drop_unfinished()  # since when the data are others, nobody knows
            raise
        return features

    def commit(self, features: FeaturesRecord | None) -> None:
        """Write the manifest; the stage is done."""
        chain, folder, identity = self.chain, self.folder, self.identity()
        before = chain.upstream
        upstream = self.runs.require(before) if before else None
        self._drop_checkpoint()  # the disk may have failed when it was to go
        folder.commit(
            Manifest(
                stage=chain.last.key,
                fingerprint=fingerprint(identity),
                identity=identity,
                weights_sha256=self.runs.snapshot.sha256(folder.weights),
                objective_sha256=self.runs.snapshot.sha256(folder.objective),
                upstream=upstream.as_upstream(before.last.key) if before and upstream else None,
                upstream_weights_sha256=upstream.weights_sha256 if upstream else None,
                outside=chain.outside,
                files=kept_files(folder, self.runs.snapshot.sha256),
                training=self._training_record(),
                features=features,
                memory=memory_record(folder.memory),
                device=device_name(self.settings.device),
                data_title=self.data.title,
                versions=versions(),
            )
        )

    def _training_record(self) -> TrainingRecord:
        """How the training went, by its losses; where these are lost, as it was recorded before."""
        metrics, recorded = self.folder.metrics, self._recorded
        if recorded is not None and not metrics.exists():
            return recorded.training
        return training_record(metrics, len(self.data.samples(self.chain).trained))

    @cached_property
    def _reread(self) -> Reread:
        """The data that the stage or its labels come from."""
        chains = [*self.chain.below(), self.chain]
        phones = any("frame" in chain.label_kinds for chain in chains)
        return Reread(self.data, (self.chain.data.train_split,), phones, self.runs.root)

    def _setting(self) -> Setting:
        """How to take the training step, and what memory that is predicted to take.

        Raises:
            BudgetError: nothing fits the budget.
        """
        with kept_in(self.runs.root / "predictions.json"):
            if self.settings.budget is not None:
                return choose(self.chain, self.settings.budget)
            return plain_setting(self.chain)

    def _verify_input(self, chain: Chain | None) -> None:
        """Read every byte of the features a stage is about to read, against their checksums.

        Once for a training that reads them hundreds of times: nothing damaged is trained on.
        """
        if chain is None:
            return
        manifest, folder = self.runs.require(chain), self.runs.stage_folder(chain)
        features = manifest.features
        if features is None or not features_usable(folder, manifest):
            self._verify_input(chain.upstream)
            return
        read = counted_bytes(self.watch, f"{chain.last.key} verify", features.bytes)
        try:
            folder.check_features(features, full=True, read=read)
        except DamagedCacheError as error:
            raise DamagedInputError(chain, error) from error

    def mend(self, error: DamagedCacheError) -> bool:
        """Write damaged features of a stage below again, from its weights; whether that was done.

        Raises:
            DamagedCacheError: it cannot be done; says which command would.
            Interrupted: a stop was asked for.
        """
        chain = error.chain if isinstance(error, DamagedInputError) else self._damaged_below()
        if chain is None or chain.last.key in self._mended:
            return False
        self._mended.add(chain.last.key)
        folder = self.runs.stage_folder(chain).path
        cure = f"{making_anew(folder / 'features.zarr')} first"
        if self.runs.is_lent(chain):  # nothing is written to other recipes' folders
            raise DamagedCacheError(error.where, error.found, error.expected, cure)
        stage = StageWork(
            chain, self.data, runs=self.runs, settings=self.settings, watch=self.watch
        )
        _log.warning("%s: %s; stage %s stores it again", error.where, error.found, chain.last.key)
        try:
            finish(stage, again=True)
        except GimstageError as reason:
            cure = f"{cure}, which now ended in: {reason}"
            raise DamagedCacheError(error.where, error.found, error.expected, cure) from reason
        return True

    def _damaged_below(self) -> Chain | None:
        """The lowest stage below that is damaged, if its features alone are."""
        for chain in self.chain.below():
            if self.runs.status(chain).state == "damaged":
                manifest, folder = self.runs.manifest(chain), self.runs.stage_folder(chain)
                whole = manifest is not None and not any(damaged_files(folder, manifest))
                return chain if whole else None
        return None

    def features_whole(self) -> bool:
        """Whether every byte of the features is as the manifest says; True where none are."""
        manifest = self.folder.manifest()
        if manifest is None or manifest.features is None or not self.folder.features.exists():
            return True
        read = counted_bytes(self.watch, f"{self.chain.last.key} verify", manifest.features.bytes)
        return not any(self.folder.damaged_features(manifest.features, full=True, read=read))

    def _train(self, source: Source) -> None:
        """Leave the trained weights in the stage's folder; until then, what was there stays."""
        chain, folder = self.chain, self.folder
        if self._whole(self.runs.trained):
            self._drop_checkpoint()  # of one that stopped after its weights were in their place
            return
        if not self._whole(self.runs.to_install):
            setting = self._setting()
            training = Training(
                chain,
                folder.training,
                fingerprint=self.runs.training_fingerprint(chain),
                total_steps=require_steps(chain, len(self.data.samples(chain).trained)),
                device=self.settings.device,
                micro_batch=setting.micro_batch,
                checkpointing=setting.checkpointing,
            )
            training.restore()
            training.run(
                source,
                self.data.draws(chain),
                workers=self.settings.workers,
                checkpoint_every_s=self.settings.checkpoint_every_s,
                watch=self.watch,
                finishing=partial(self._finishing, setting),
            )
        folder.install()

    def _drop_checkpoint(self) -> None:
        """Remove a checkpoint of the training whose weights are in their place, if one is left."""
        if self.runs.checkpointed(self.chain):
            shutil.rmtree(self.folder.training.path, ignore_errors=True)

    def _finishing(self, setting: Setting) -> None:
        """Called after the last step, before the weights are left."""
        self._reread.recheck()
        self._record_memory(setting)

    def _whole(self, lie_there: Callable[[Chain], bool]) -> bool:
        """Whether trained weights lie there whole; damaged ones are set aside.

        Args:
            lie_there: where they are looked for: `Runs.trained` or `Runs.to_install`.
        """
        try:
            return lie_there(self.chain)
        except DamagedCacheError as error:
            set_aside(Path(error.where), error.found, "the stage is trained again")
            return False

    def _record_memory(self, setting: Setting) -> None:
        """Leave budget, setting, prediction, and on a GPU what was measured, beside the weights."""
        budget = self.settings.budget
        record = {
            "budget_bytes": budget and budget.total_bytes,
            "micro_batch": setting.micro_batch,
            "checkpointing": setting.checkpointing,
            "predicted_allocated_bytes": setting.peak.allocated_bytes,
            "predicted_reserved_bytes": setting.peak.reserved_bytes,
            **measured_memory(self.settings.device),
        }
        write_json(self.folder.training.memory, record)

    def _extract(self, source: Source, manifest: Manifest | None) -> FeaturesRecord | None:
        """Store what the stage hands on; its part of the manifest.

        Args:
            source: what the stage reads.
            manifest: what was recorded of these weights; None where they vouch for themselves.
        """
        chain, folder = self.chain, self.folder
        if chain.last.spec.output.store == "none":
            return None
        module, vouched = new_module(chain), manifest.weights_sha256 if manifest else None
        load_weights(module, folder.weights, sha256=vouched)
        work = extraction(
            chain,
            module,
            self.data,
            source,
            device=self.settings.device,
            workers=self.settings.workers,
        )
        began = time.perf_counter()
        layout = features_layout(
            chain,
            self.data,
            fingerprint=fingerprint(self.identity()),
            weights_sha256=self.runs.snapshot.sha256(folder.weights),
        )
        fidelity = work.measure()
        before = manifest.features if manifest else None
        shards = work.write(
            folder.features,
            layout,
            labels=self.data.labels,
            listed=before.files if before else (),
            watch=self.watch,
        )
        return FeaturesRecord(
            arrays=[array.name for array in layout.arrays],
            shape=list(layout.arrays[0].shape),
            encoding=layout.arrays[0].encoding,
            bytes=sum(file["bytes"] for file in shards),
            seconds=round(time.perf_counter() - began, 3),
            fidelity=FidelityRecord(**fidelity),
            shards=[StoredFile(**file) for file in shards],
        )


def cap_memory(device: torch.device, budget: Budget | None) -> None:
    """Hold this process to the budget on CUDA, and let its peak count from here.

    On other devices a budget is planned with, not enforced, and a warning says so.
    """
    if device.type != "cuda":
        if budget is not None:
            say_once(f"--gpu-mem is planned with, not enforced, on {device.type}")
        return
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    total = torch.cuda.get_device_properties(device).total_memory
    # The context lies outside the allocator that is capped here.
    share = 1.0 if budget is None else (budget.total_bytes - budget.context_bytes) / total
    torch.cuda.set_per_process_memory_fraction(min(1.0, share), device)
