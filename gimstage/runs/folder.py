"""runs/<recipe>/<stage>/: what a stage leaves behind.

    manifest.json        the commit record, renamed into place last
    weights.safetensors  objective.safetensors  metrics.jsonl  memory.json
    features.zarr/
    checkpoint/          a training under way: its state, its metrics, at last its weights

What a stage was before stays whole until a new training has reached its end.
"""

import fcntl
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gimstage.cache import FeatureReader, verify
from gimstage.errors import BusyError, CacheError, DamagedCacheError
from gimstage.files import sync_folder, write_json

FORMAT = 1

_STAGE_KEYS = {
    "stage",
    "identity",
    "weights_sha256",
    "objective_sha256",
    "upstream",
    "upstream_weights_sha256",
    "training",
    "features",
}
_PROBE_KEYS = {"probe", "identity", "rows"}


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
    def memory(self) -> Path:
        """GPU memory of the training: setting, prediction, measurement."""
        return self.path / "memory.json"

    @property
    def state(self) -> Path:
        """What training continues from; in a `training` folder only."""
        return self.path / "state.safetensors"

    @property
    def training(self) -> "RunFolder":
        """Where a training under way keeps its files."""
        return RunFolder(self.path / "checkpoint")

    def install(self) -> None:
        """Let a finished training take the place of what was there; may be begun again.

        The weights come last: as long as they are not there, the training is not installed.
        """
        self.withdraw()
        for ready, place in (
            (self.training.objective, self.objective),
            (self.training.metrics, self.metrics),
            (self.training.memory, self.memory),
            (self.training.weights, self.weights),
        ):
            if ready.exists():
                ready.replace(place)
        sync_folder(self.path)
        shutil.rmtree(self.training.path, ignore_errors=True)

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
        lacking = (_STAGE_KEYS if "stage" in manifest else _PROBE_KEYS) - manifest.keys()
        if lacking:
            raise self._unreadable(f"no {', '.join(sorted(lacking))} inside")
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
        if manifest is None or manifest.get("features") is None:
            cure = 'run `gimstage train-stage`; features need store = "features" in [output]'
            raise CacheError(str(self.path), "no finished features", "", cure)
        verify(self.features, manifest["features"]["shards"], full=False)
        return FeatureReader(self.features)

    def withdraw(self) -> None:
        """Take the manifest away before anything it vouches for is changed."""
        self.manifest_path.unlink(missing_ok=True)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold this folder as it is, together with others that read it.

        Raises:
            BusyError: another process writes to it, here or (by its lock file) on another host.
        """
        with self._held(fcntl.LOCK_SH):
            yield

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold this folder alone; the kernel lets go of the lock when the process ends.

        Raises:
            BusyError: another process holds it, here or (by its lock file) on another host.
        """
        with self._held(fcntl.LOCK_EX) as file:
            _overwrite(file, f"{os.getpid()} {socket.gethostname()}\n")
            try:
                yield
            finally:
                _overwrite(file, "")

    @contextmanager
    def _held(self, kind: int) -> Iterator[IO[str]]:
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("a+") as file:
            try:
                fcntl.flock(file, kind | fcntl.LOCK_NB)
            except OSError as error:
                raise self._busy(_holder(file), "wait for it, or stop it") from error
            holder = _holder(file)
            if holder and holder[1] != socket.gethostname():
                raise self._busy(holder, f"if it no longer runs there, delete {file.name}")
            yield file

    def _busy(self, holder: list[str], cure: str) -> BusyError:
        found = "another process reads this stage"
        if holder:
            found = f"process {holder[0]} on {holder[1]} works on this stage"
        return BusyError(str(self.path), found, "one writer", cure)


def _holder(file: IO[str]) -> list[str]:
    """The process and host that a lock file names; empty where it names none."""
    file.seek(0)
    words = file.read().split()
    return words if len(words) == 2 else []


def _overwrite(file: IO[str], text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder; 0 where there is none."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
