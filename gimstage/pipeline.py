"""One stage from start to finish: train, freeze, extract, commit; or any part still missing.

The order of writing is the order of trust: weights.safetensors appears when training is over,
shards of features.zarr one by one, manifest.json last of all.
"""

import json
import platform
import shutil
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from gimstage.cache import verify
from gimstage.device import device_name, placed
from gimstage.errors import CacheError, DamagedCacheError, DataError, StaleCacheError
from gimstage.extract import Extraction
from gimstage.inputs import Images, Source, TrainingDraws, output_source
from gimstage.plan import StagePlan, features_layout, plan_stage, require_disk, require_steps
from gimstage.probe import Probe, Row
from gimstage.progress import Watch
from gimstage.recipe import ALGORITHMS, Chain, Identity, Recipe, differences, fingerprint
from gimstage.runs import RunFolder, Runs, Status, check_weights, file_sha256
from gimstage.specs import ProbeSpec
from gimstage.stack import (
    Stack,
    new_parts,
    random_stack,
    trained_stack,
)
from gimstage.tensors import read_tensors
from gimstage.train import Training
from gimstage.views import StoredViews


@dataclass(frozen=True)
class Settings:
    """What changes no number.

    Args:
        device: where to compute.
        workers: reading threads.
        max_disk: the most bytes all features of the recipe may take; None for as many as fit.
        checkpoint_every_s: seconds between checkpoints.
    """

    device: torch.device
    workers: int
    max_disk: int | None
    checkpoint_every_s: float


class Pipeline:
    """A recipe on its data, below a runs folder.

    Args:
        recipe: the recipe.
        images: its data.
        root: the runs folder.
        settings: how to compute.
        watch: hears of progress, asks to stop.
    """

    def __init__(
        self, recipe: Recipe, images: Images, *, root: Path, settings: Settings, watch: Watch
    ) -> None:
        self.recipe, self.images, self.root = recipe, images, root
        self.settings, self.watch = settings, watch
        split = images.spec.train_split
        self.split = images.split(split)
        self.runs = Runs(root, images.fingerprint(split, root))
        self.stored: StoredViews = images.stored(self.split)

    def plans(self) -> list[StagePlan]:
        """The cost of every stage of the recipe, in order."""
        return [self.plan(self.recipe.chain(number)) for number in self.recipe.stages]

    def plan(self, chain: Chain) -> StagePlan:
        """The cost of the chain's last stage."""
        features = self.runs.stage_folder(chain).features
        return plan_stage(
            chain,
            self.stored,
            labelled=self.split.labels is not None,
            cached_bytes=folder_bytes(features),
        )

    def require_disk(self, numbers: list[int]) -> None:
        """Refuse before a byte is written if what these stages store would not fit."""
        plans = {n: self.plan(self.recipe.chain(n)) for n in self.recipe.stages}
        pending = [plans.pop(number) for number in numbers]
        require_disk(
            f"recipe {self.recipe.name}",
            sum(max(0, p.cache_bytes - p.cached_bytes) for p in pending),
            root=self.root,
            total_bytes=sum(p.cache_bytes for p in pending)
            + sum(p.cached_bytes for p in plans.values()),
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
        with folder.lock():
            if self.runs.status(chain).state == "done":
                folder.manifest_path.touch()  # for make, which orders by time
                return False
            folder.refuse_newer()
            upstream = self.runs.require(chain.upstream) if chain.upstream else None
            self.require_disk([number])
            folder.drop_damaged_weights()
            folder.withdraw()
            start_measuring(self.settings.device)
            source = output_source(self.runs, self.images, chain.upstream, self.settings.device)
            self._train(chain, folder, source)
            features = self._extract(chain, folder, source)
            self._commit(chain, folder, upstream, features)
        return True

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

    def _train(self, chain: Chain, folder: RunFolder, source: Source) -> None:
        if self.runs.trained(chain):
            shutil.rmtree(folder.checkpoint.parent, ignore_errors=True)
            return
        folder.weights.unlink(missing_ok=True)
        train = chain.last.spec.train
        live = self.images.live()
        draws = TrainingDraws(
            num_samples=len(self.split),
            batch_size=train.batch_size,
            seed=train.seed,
            size=live.crop_patches,
            draw=self.stored.draw if chain.upstream else live.draw,
        )
        training = Training(
            chain,
            folder,
            fingerprint=self.runs.training_fingerprint(chain),
            total_steps=require_steps(chain, len(self.split)),
            device=self.settings.device,
        )
        training.restore()
        training.run(
            source,
            draws,
            workers=self.settings.workers,
            checkpoint_every_s=self.settings.checkpoint_every_s,
            watch=self.watch,
        )
        shutil.rmtree(folder.checkpoint.parent, ignore_errors=True)

    def _extract(self, chain: Chain, folder: RunFolder, source: Source) -> dict[str, Any] | None:
        """Store what the stage hands on; its part of the manifest."""
        if chain.last.spec.output.store == "none":
            return None
        module, _ = new_parts(chain)
        module.load_state_dict(read_tensors(folder.weights))
        extraction = Extraction(
            chain,
            module,
            source=source,
            stored=self.stored,
            device=self.settings.device,
            workers=self.settings.workers,
        )
        began = time.perf_counter()
        layout = features_layout(
            chain,
            self.stored,
            fingerprint=fingerprint(self.runs.features_identity(chain)),
            weights_sha256=file_sha256(folder.weights),
            labelled=self.split.labels is not None,
        )
        fidelity = extraction.measure()
        shards = extraction.write(folder.features, layout, self.split.labels, self.watch)
        return {
            "arrays": [array.name for array in layout.arrays],
            "shape": list(layout.arrays[0].shape),
            "encoding": layout.arrays[0].encoding,
            "bytes": folder_bytes(folder.features),
            "seconds": round(time.perf_counter() - began, 3),
            "fidelity": fidelity,
            "shards": shards,
        }

    def _commit(
        self,
        chain: Chain,
        folder: RunFolder,
        upstream: dict[str, Any] | None,
        features: dict[str, Any] | None,
    ) -> None:
        identity = self.runs.features_identity(chain)
        folder.commit(
            {
                "stage": chain.last.key,
                "fingerprint": fingerprint(identity),
                "identity": identity,
                "weights_sha256": file_sha256(folder.weights),
                "objective_sha256": file_sha256(folder.objective),
                "upstream": upstream and {k: upstream[k] for k in ("stage", "fingerprint")},
                "upstream_weights_sha256": self.runs.upstream_weights(chain),
                "training": training_record(folder.metrics),
                "features": features,
                "peak_memory_bytes": peak_memory(self.settings.device),
                "device": device_name(self.settings.device),
                "versions": versions(),
            }
        )

    def probe(self, name: str) -> list[Row]:
        """The rows of a probe, computed unless they are there for the stages as they are now.

        Raises:
            StaleCacheError: a stage it reads is not done.
            DataError: the data has no labels.
        """
        spec = self.recipe.probe(name)
        folder = self.runs.folder(f"{self.recipe.name}/{name}")
        with folder.lock():
            identity = self._probe_identity(spec)
            manifest = folder.manifest()
            if manifest is None or manifest["identity"] != identity:
                folder.withdraw()
                rows = self._probe_rows(name, spec)
                folder.commit(
                    {
                        "probe": f"{self.recipe.name}/{name}",
                        "fingerprint": fingerprint(identity),
                        "identity": identity,
                        "rows": rows,
                        "versions": versions(),
                    }
                )
                return rows
            folder.manifest_path.touch()  # for make, which orders by time
            found: list[Row] = manifest["rows"]
            return found

    def run(self) -> list[Row]:
        """Train every stage that is not done, fit every probe; the probes' rows."""
        chains = {number: self.recipe.chain(number) for number in self.recipe.stages}
        self.require_disk([n for n, c in chains.items() if self.runs.status(c).state != "done"])
        for number in self.recipe.stages:
            self.train_stage(number)
        return [row for name in self.recipe.probes for row in self.probe(name)]

    def free_disk(self) -> int:
        """Free bytes where the runs folder lies."""
        self.root.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(self.root).free

    def _probe_rows(self, name: str, spec: ProbeSpec) -> list[Row]:
        settings = self.settings
        probe = Probe(
            spec, self.images, device=settings.device, workers=settings.workers, watch=self.watch
        )
        chains = {chain.last.key: chain for chain in map(self.recipe.chain, spec.inputs)}
        stacks: dict[str, tuple[Stack, Stack]] = {}
        for key, chain in sorted(chains.items(), key=lambda item: -len(item[1].stages)):
            passing = (pair for pair in stacks.values() if key in pair[0].names)
            stacks[key] = next(passing, None) or (
                placed(trained_stack(self.runs, chain), settings.device),
                placed(random_stack(chain), settings.device),
            )
        return probe.rows(self.recipe.name, name, {key: stacks[key] for key in chains})

    def _probe_identity(self, spec: ProbeSpec) -> Identity:
        """Everything that decides a probe's rows, down to the bits of the weights."""
        chains = map(self.recipe.chain, spec.inputs)
        weights = {chain.last.key: self.runs.require(chain)["weights_sha256"] for chain in chains}
        splits = {spec.train_split, spec.test_split}
        data = {name: self.images.fingerprint(name, self.root) for name in sorted(splits)}
        return {
            "algorithms": {part: ALGORITHMS[part] for part in ("views", "resnet", "probe")},
            "probe": spec.model_dump(mode="json"),
            "data": self.images.spec.model_dump(mode="json", exclude={"demo", "stored_views"}),
            "data_sha256": data,
            "weights_sha256": weights,
        }

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
            if stored := manifest["features"] is not None and kept:
                verify(folder.features, manifest["features"]["shards"], full=True)
            checked.append({"stage": str(number), "features": stored})
        return checked

    def statuses(self) -> list[Status]:
        """The state of every stage, in order."""
        return [self.runs.status(self.recipe.chain(number)) for number in self.recipe.stages]

    def probe_statuses(self) -> list[Status]:
        """The state of every probe."""
        return [self._probe_status(name, spec) for name, spec in self.recipe.probes.items()]

    def _probe_status(self, name: str, spec: ProbeSpec) -> Status:
        try:
            manifest = self.runs.folder(f"{self.recipe.name}/{name}").manifest()
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
        changes = tuple(differences(manifest["identity"], wanted))
        return Status(name, "stale" if changes else "done", changes, fingerprint(wanted))


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder; 0 where there is none."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def training_record(metrics: Path) -> dict[str, Any]:
    """Steps, seconds and the first and last line of metrics.jsonl, for the manifest."""
    lines = [json.loads(line) for line in metrics.read_text("utf-8").splitlines()]
    first, last = lines[0], lines[-1]
    return {"steps": last["step"], "seconds": last["seconds"], "first": first, "last": last}


def start_measuring(device: torch.device) -> None:
    """Let the peak of GPU memory count from here."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int | None:
    """The most bytes of GPU memory allocated at once since then; None on other devices."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def versions() -> dict[str, str]:
    """What computed this: releases of Python and of the libraries whose change moves numbers."""
    packages = ("gimstage", "torch", "zarr", "numcodecs", "numpy")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}
