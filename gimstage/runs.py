"""runs/<recipe>/<stage>/: what a stage leaves behind, and whether it may be trusted.

    manifest.json        the commit record, renamed into place last
    weights.safetensors  objective.safetensors
    features.zarr/       metrics.jsonl       checkpoint/ (only while training)

A stage's state is read off this folder against the recipe as it stands now: *missing* (nothing),
*partial* (begun), *done*, *stale* (made by another recipe, upstream or data), *damaged* (the
manifest promises what is not there).
"""

import fcntl
import hashlib
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gimstage.cache import FeatureReader, verify
from gimstage.errors import BusyError, CacheError, DamagedCacheError, StaleCacheError
from gimstage.files import write_json
from gimstage.recipe import Chain, Identity, differences, fingerprint
from gimstage.tensors import read_header

FORMAT = 1

State = Literal["missing", "partial", "done", "stale", "damaged"]


@dataclass(frozen=True)
class Status:
    """What `gimstage status` says of one stage or probe.

    Args:
        name: the stage's number or the probe's name.
        state: see the module's docstring.
        why: the reason, empty where there is nothing to say.
        fingerprint: of the identity the recipe asks for now.
    """

    name: str
    state: State
    why: tuple[str, ...]
    fingerprint: str


@dataclass(frozen=True)
class RunFolder:
    """The folder of one stage or probe below the runs folder."""

    path: Path

    @property
    def manifest_path(self) -> Path:
        """The commit record."""
        return self.path / "manifest.json"

    @property
    def weights(self) -> Path:
        """The trained module."""
        return self.path / "weights.safetensors"

    @property
    def objective(self) -> Path:
        """The trained part of the objective, needed only to train on."""
        return self.path / "objective.safetensors"

    @property
    def features(self) -> Path:
        """The Zarr group handed to the next stage."""
        return self.path / "features.zarr"

    @property
    def metrics(self) -> Path:
        """One JSON line per logging interval of training."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoint(self) -> Path:
        """What training continues from."""
        return self.path / "checkpoint" / "state.safetensors"

    def manifest(self) -> dict[str, Any] | None:
        """The commit record, or None where there is none.

        Raises:
            DamagedCacheError: it is not a JSON object.
            CacheError: it was written by a newer gimstage.
        """
        try:
            manifest = json.loads(self.manifest_path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            raise self._unreadable(str(error)) from error
        if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
            raise self._unreadable("no format number inside")
        if manifest["format"] > FORMAT:
            raise CacheError(
                str(self.manifest_path),
                f"format {manifest['format']}",
                f"at most {FORMAT}",
                "upgrade gimstage",
            )
        return manifest

    def refuse_newer(self) -> None:
        """Refuse to work over what a newer gimstage left here.

        Raises:
            CacheError: its manifest is of a newer format.
        """
        with suppress(DamagedCacheError):
            self.manifest()

    def drop_damaged_weights(self) -> None:
        """Remove weights of other bytes than the manifest names: nobody must go on from them."""
        with suppress(CacheError):
            manifest = self.manifest()
            if manifest is not None:
                try:
                    check_weights(self, manifest)
                except DamagedCacheError:
                    self.weights.unlink(missing_ok=True)

    def _unreadable(self, reason: str) -> DamagedCacheError:
        cure = f"delete {self.manifest_path} and run the stage again"
        return DamagedCacheError(str(self.manifest_path), f"not readable: {reason}", "", cure)

    def commit(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest, the last act of a stage."""
        write_json(self.manifest_path, {"format": FORMAT, **manifest})

    def open_features(self) -> FeatureReader:
        """A reader of the features, after every shard's size and index were checked.

        Raises:
            CacheError: there is no finished stage here, or it stores no features.
            DamagedCacheError: they are not what the manifest promises.
        """
        manifest = self.manifest()
        if manifest is None or manifest["features"] is None:
            cure = 'run `gimstage train-stage`; features need store = "features" in [output]'
            raise CacheError(str(self.path), "no finished features", "", cure)
        verify(self.features, manifest["features"]["shards"], full=False)
        return FeatureReader(self.features)

    def withdraw(self) -> None:
        """Take the manifest away before anything it vouches for is changed."""
        self.manifest_path.unlink(missing_ok=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold this folder alone; the kernel lets go of the lock when the process ends.

        Raises:
            BusyError: another process holds it, here or (by its lock file) on another host.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        lock_path = self.path / "lock"
        with lock_path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise self._busy(file, "wait for it, or stop it") from error
            file.seek(0)
            holder = file.read().split()
            if len(holder) == 2 and holder[1] != socket.gethostname():
                raise self._busy(file, f"if it no longer runs there, delete {lock_path}")
            _overwrite(file, f"{os.getpid()} {socket.gethostname()}\n")
            try:
                yield
            finally:
                _overwrite(file, "")

    def _busy(self, file: Any, cure: str) -> BusyError:
        file.seek(0)
        pid, host = (file.read().split() + ["?", "?"])[:2]
        return BusyError(
            str(self.path), f"process {pid} on {host} works on this stage", "one writer", cure
        )


def _overwrite(file: Any, text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Runs:
    """The runs of a recipe, and of the recipes it builds on, below one folder.

    Args:
        root: the runs folder.
        data_sha256: fingerprint of the split the stages are trained on.
    """

    root: Path
    data_sha256: str

    def folder(self, key: str) -> RunFolder:
        """The folder of `RECIPE/NUMBER` or of `RECIPE/PROBE`."""
        return RunFolder(self.root / key)

    def stage_folder(self, chain: Chain) -> RunFolder:
        """The folder of a chain's last stage."""
        return self.folder(chain.last.key)

    def weights_identity(self, chain: Chain) -> Identity:
        """What decides the weights of the chain's last stage, data included."""
        return chain.weights_identity(self.data_sha256)

    def features_identity(self, chain: Chain) -> Identity:
        """What decides what the chain's last stage hands on, data included."""
        return chain.features_identity(self.data_sha256)

    def status(self, chain: Chain) -> Status:
        """The state of the chain's last stage, and why."""
        wanted = self.features_identity(chain)
        state, why = self._state(chain, wanted)
        return Status(str(chain.last.number), state, tuple(why), fingerprint(wanted))

    def _state(self, chain: Chain, wanted: Identity) -> tuple[State, list[str]]:
        folder = self.stage_folder(chain)
        try:
            manifest = folder.manifest()
        except DamagedCacheError as error:
            return "damaged", [str(error)]
        except CacheError as error:
            return "stale", [str(error)]
        if manifest is None:
            return self._begun(chain, folder)
        changes = differences(manifest["identity"], wanted) or self._upstream_changes(
            chain, manifest
        )
        if changes:
            return "stale", changes
        output = chain.last.spec.output
        try:
            check_weights(folder, manifest)
            if output.store == "features" and manifest["features"] is not None:
                verify(folder.features, manifest["features"]["shards"], full=False)
        except DamagedCacheError as error:
            return "damaged", [str(error)]
        if output.store == "features":
            stored = manifest["features"]["arrays"] if manifest["features"] else []
            lacking = {"features", *(["codes"] if output.codes else [])} - set(stored)
            if lacking:
                return "partial", [f"trained; {' and '.join(sorted(lacking))} not stored yet"]
        return "done", []

    def _begun(self, chain: Chain, folder: RunFolder) -> tuple[State, list[str]]:
        """The state of a stage without a manifest."""
        try:
            if self.trained(chain):
                return "partial", ["trained; features not complete"]
            header = read_header(folder.checkpoint)
        except DamagedCacheError as error:
            return "damaged", [str(error)]
        if header and header["fingerprint"] == self.training_fingerprint(chain):
            return "partial", ["training interrupted; it continues from its checkpoint"]
        leftovers = (folder.weights, folder.checkpoint, folder.features, folder.metrics)
        if any(path.exists() for path in leftovers):
            return "partial", ["begun, but nothing to go on from; it starts anew"]
        return "missing", []

    def training_fingerprint(self, chain: Chain) -> str:
        """Of all that decides the weights, down to the very bits of the stage before."""
        upstream = {"upstream_weights_sha256": self.upstream_weights(chain)}
        return fingerprint(self.weights_identity(chain) | upstream)

    def upstream_weights(self, chain: Chain) -> str | None:
        """SHA-256 of the weights of the stage before; None where there are none."""
        if chain.upstream is None:
            return None
        path = self.stage_folder(chain.upstream).weights
        return file_sha256(path) if path.exists() else None

    def trained(self, chain: Chain) -> bool:
        """Whether the weights of exactly this training lie there, the objective's too.

        Raises:
            DamagedCacheError: one of the files is not readable.
        """
        folder, wanted = self.stage_folder(chain), self.training_fingerprint(chain)
        headers = [read_header(path) for path in (folder.objective, folder.weights)]
        return all(header is not None and header["fingerprint"] == wanted for header in headers)

    def _upstream_changes(self, chain: Chain, manifest: Mapping[str, Any]) -> list[str]:
        """The stage before must be done, and be the very one this stage was trained on."""
        if chain.upstream is None:
            return []
        before = chain.upstream.last
        status = self.status(chain.upstream)
        if status.state != "done":
            return [f"stage {before.key} before it is {status.state}"]
        other = self.stage_folder(chain.upstream).manifest()
        now = other and other["weights_sha256"]
        if now != manifest["upstream_weights_sha256"]:
            return [f"stage {before.key} before it was trained again, to other weights"]
        return []

    def require(self, chain: Chain) -> dict[str, Any]:
        """The manifest of a chain's last stage, which must be done.

        Raises:
            StaleCacheError: it is missing, partial or stale.
            DamagedCacheError: it is damaged.
        """
        status = self.status(chain)
        manifest = self.stage_folder(chain).manifest() if status.state == "done" else None
        if manifest is not None:
            return manifest
        kind = DamagedCacheError if status.state == "damaged" else StaleCacheError
        why = f" ({'; '.join(status.why)})" if status.why else ""
        raise kind(
            f"stage {chain.last.key}",
            f"{status.state}{why}",
            "done",
            f"run `gimstage train-stage {chain.last.number}` of recipe {chain.last.recipe} first",
        )


def check_weights(folder: RunFolder, manifest: Mapping[str, Any]) -> None:
    """Compare a stage's weights with its manifest, every byte.

    Raises:
        DamagedCacheError: a file is missing or of other bytes.
    """
    for path, digest in (
        (folder.weights, "weights_sha256"),
        (folder.objective, "objective_sha256"),
    ):
        cure = "run the stage again"
        if not path.exists():
            raise DamagedCacheError(str(path), "missing", "the file its manifest names", cure)
        if file_sha256(path) != manifest[digest]:
            raise DamagedCacheError(str(path), "other bytes than its manifest names", "", cure)


def features_usable(folder: RunFolder, manifest: Mapping[str, Any]) -> bool:
    """Whether the stage's features lie there whole, by sizes and indices."""
    if manifest["features"] is None or not folder.features.exists():
        return False
    try:
        verify(folder.features, manifest["features"]["shards"], full=False)
    except DamagedCacheError:
        return False
    return True
