"""One stage from start to finish: train, freeze, extract, commit; or any part still missing.

The order of writing is the order of trust: weights.safetensors appears when training is over,
shards of features.zarr one by one, manifest.json last of all.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache, cached_property, partial
from pathlib import Path

import torch
from pydantic import ValidationError

from gimstage.device import device_name
from gimstage.errors import ChangedDataError, DamagedCacheError
from gimstage.extract import extraction
from gimstage.extract.layout import features_layout
from gimstage.files import UnreadableError, read_json, write_json
from gimstage.inputs import DataSet, Source, output_source
from gimstage.inputs.reread import Reread
from gimstage.plan.cost import require_steps
from gimstage.plan.fit import Setting, choose, plain_setting
from gimstage.plan.memory import Budget
from gimstage.plan.predictions import kept_in
from gimstage.progress import Watch, counted_bytes
from gimstage.recipe.chain import Chain
from gimstage.recipe.identity import Identity, fingerprint
from gimstage.runs.damage import set_aside
from gimstage.runs.folder import features_usable, folder_bytes, kept_files
from gimstage.runs.manifest import (
    FeaturesRecord,
    FidelityRecord,
    Manifest,
    MemoryRecord,
    StoredFile,
    TrainingRecord,
)
from gimstage.runs.state import Runs, Status, record_or_verdict
from gimstage.stack import load_weights, new_module
from gimstage.train.loop import Training
from gimstage.train.metrics import read_lines
from gimstage.work.base import Settings, Work, versions

MEMORY_BYTES = 1 << 16  # of memory.json, far more than it has

_log = logging.getLogger(__name__)


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
            manifest, _ = record_or_verdict(self.folder.manifest)  # none names what is just trained
            self.folder.withdraw()
            vouched = manifest.weights_sha256 if manifest else None
            features = self._extract(source, vouched=vouched)
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
                training=training_record(folder.metrics, len(self.data.samples(chain).trained)),
                features=features,
                memory=memory_record(folder.memory),
                device=device_name(self.settings.device),
                versions=versions(),
            )
        )

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
        folder.check_features(features, full=True, read=read)

    def _train(self, source: Source) -> None:
        """Leave the trained weights in the stage's folder; until then, what was there stays."""
        chain, folder = self.chain, self.folder
        if self._whole(self.runs.trained):
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

    def _extract(self, source: Source, *, vouched: str | None) -> FeaturesRecord | None:
        """Store what the stage hands on; its part of the manifest.

        Args:
            source: what the stage reads.
            vouched: SHA-256 of the weights by a manifest; None where they vouch for themselves.
        """
        chain, folder = self.chain, self.folder
        if chain.last.spec.output.store == "none":
            return None
        module = new_module(chain)
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
        shards = work.write(folder.features, layout, self.data.labels, self.watch)
        return FeaturesRecord(
            arrays=[array.name for array in layout.arrays],
            shape=list(layout.arrays[0].shape),
            encoding=layout.arrays[0].encoding,
            bytes=folder_bytes(folder.features),
            seconds=round(time.perf_counter() - began, 3),
            fidelity=FidelityRecord(**fidelity),
            shards=[StoredFile(**file) for file in shards],
        )


def training_record(metrics: Path, samples: int) -> TrainingRecord:
    """How a training on so many samples went, as metrics.jsonl tells it, for the manifest."""
    lines = read_lines(metrics)
    if not lines:  # lost, perhaps in a power cut; the weights are not
        return TrainingRecord(samples=samples, steps=None, seconds=None)
    first, last = lines[0], lines[-1]
    return TrainingRecord(
        samples=samples, steps=last["step"], seconds=last["seconds"], first=first, last=last
    )


def memory_record(path: Path) -> MemoryRecord | None:
    """What `memory.json` says; None where it is lost, or says something else."""
    with suppress(OSError, UnreadableError, ValidationError):
        return MemoryRecord.model_validate(read_json(path, most_bytes=MEMORY_BYTES))
    return None


def measured_memory(device: torch.device) -> dict[str, int | None]:
    """The most bytes of GPU memory since `cap_memory`; None on other devices."""
    on_gpu = device.type == "cuda"
    return {
        "measured_allocated_bytes": torch.cuda.max_memory_allocated(device) if on_gpu else None,
        "measured_reserved_bytes": torch.cuda.max_memory_reserved(device) if on_gpu else None,
    }


@cache
def _say_once(notice: str) -> None:
    _log.warning("%s", notice)


def cap_memory(device: torch.device, budget: Budget | None) -> None:
    """Hold this process to the budget on CUDA, and let its peak count from here.

    On other devices a budget is planned with, not enforced, and a warning says so.
    """
    if device.type != "cuda":
        if budget is not None:
            _say_once(f"--gpu-mem is planned with, not enforced, on {device.type}")
        return
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    total = torch.cuda.get_device_properties(device).total_memory
    # The context lies outside the allocator that is capped here.
    share = 1.0 if budget is None else (budget.total_bytes - budget.context_bytes) / total
    torch.cuda.set_per_process_memory_fraction(min(1.0, share), device)
