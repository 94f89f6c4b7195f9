"""runs/<recipe>/<stage>/: what a stage leaves behind.

    manifest.json        the commit record, renamed into place last
    weights.safetensors  objective.safetensors  metrics.jsonl  memory.json
    features.zarr/
    checkpoint/          a training under way: its last two states, its metrics, at last its weights

What a stage was before stays whole until a new training has reached its end.
"""

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from gimstage.cache import FeatureReader, damage_of
from gimstage.errors import CacheError, DamagedCacheError
from gimstage.errors.commands import finishing, making_anew
from gimstage.files import (
    UnreadableError,
    asides,
    remove,
    require_regular,
    sync_folder,
    write_json,
)
from gimstage.runs.leases import Hold
from gimstage.runs.locks import Pause, exclusive, is_held, shared
from gimstage.runs.manifest import (
    FORMAT,
    FeaturesRecord,
    KeptFile,
    KeptName,
    Manifest,
    ProbeManifest,
    read_manifest,
    read_record,
    with_digest,
)


@dataclass(frozen=True)
class RunFolder:
    """The folder of one stage or probe below the runs folder."""

    path: Path

    @property
    def manifest_path(self) -> Path:
        """The path of the commit record."""
        return self.path / "manifest.json"

    @property
    def weights(self) -> Path:
        """The path of the trained module's weights."""
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
    def states(self) -> tuple[Path, Path]:
        """What training continues from, written in turn; in a `training` folder only."""
        return self.path / "state.safetensors", self.path / "state.other.safetensors"

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

    def manifest(self) -> Manifest | None:
        """The commit record of a stage, or None where there is none.

        Raises:
            DamagedCacheError: it is no such record.
            CacheError: it was written by a newer gimstage.
        """
        return read_manifest(self.manifest_path, Manifest)

    def probe_manifest(self) -> ProbeManifest | None:
        """The commit record of a probe, or None where there is none; raises as `manifest`."""
        return read_manifest(self.manifest_path, ProbeManifest)

    def record(self) -> Manifest | ProbeManifest | None:
        """The commit record of whatever has its folder here; raises as `manifest`."""
        return read_record(self.manifest_path)

    def drop_unfinished(self) -> None:
        """Remove a training under way, and features that no manifest vouches for."""
        shutil.rmtree(self.training.path, ignore_errors=True)
        if not self.manifest_path.exists():
            shutil.rmtree(self.features, ignore_errors=True)

    def commit(self, manifest: Manifest | ProbeManifest) -> None:
        """Write the manifest, the last act of a stage or probe; what was set aside goes."""
        self.record_again(manifest)
        for path in self.asides:
            remove(path)

    def record_again(self, manifest: Manifest | ProbeManifest) -> None:
        """Write a manifest in place of the one there."""
        document = with_digest({"format": FORMAT, **manifest.document()})
        write_json(self.manifest_path, document)

    def check_features(
        self,
        features: FeaturesRecord,
        *,
        full: bool,
        read: Callable[[int], None] = lambda count: None,
    ) -> None:
        """Compare features.zarr with what its manifest says of it.

        Args:
            features: of the manifest.
            full: read every byte; else, of each shard, only its size and index.
            read: told the bytes of every file once it has been checked.

        Raises:
            DamagedCacheError: names the first file that is missing, cut, altered or not listed.
        """
        for damage in self.damaged_features(features, full=full, read=read):
            raise damage

    def damaged_features(
        self,
        features: FeaturesRecord,
        *,
        full: bool,
        read: Callable[[int], None] = lambda count: None,
    ) -> Iterator[DamagedCacheError]:
        """What is wrong with each file that `check_features` would not let pass."""
        return damage_of(self.features, features.files, full=full, read=read)

    @property
    def asides(self) -> list[Path]:
        """The files that were damaged and set aside, which the next commit removes."""
        linked = self.features if self.features.is_symlink() else None
        return asides(self.path) + (asides(linked) if linked else [])

    def open_features(
        self, *, full: bool = False, read: Callable[[int], None] = lambda count: None
    ) -> FeatureReader:
        """A reader of the features, after every shard's size and index were checked.

        Args:
            full: check every byte, for who will use them all.
            read: told the bytes of every file once it has been checked.

        Raises:
            CacheError: there is no finished stage here, or it stores no features.
            DamagedCacheError: they are not what the manifest promises.
        """
        manifest = self.manifest()
        if manifest is None or manifest.features is None:
            cure = finishing(self.path)
            if manifest is not None:
                cure = f'set store = "features" in its [output], then {cure}'
            raise CacheError(str(self.path), "no finished features", cure=cure)
        self.check_features(manifest.features, full=full, read=read)
        return FeatureReader(self.features)

    def withdraw(self) -> None:
        """Take the manifest away before anything it vouches for is changed."""
        self.manifest_path.unlink(missing_ok=True)

    @contextmanager
    def reading(self, pause: Pause = time.sleep, *, leave: bool = True) -> Iterator[None]:
        """Hold this folder as it is, together with others that read it.

        Args:
            pause: waits some seconds, while the lock of another machine is watched.
            leave: whether a lock file may be made; those who only look leave none.

        Raises:
            BusyError: another process writes to it, here or on another machine.
        """
        with shared(self.path, pause, leave=leave):
            yield

    @contextmanager
    def lock(
        self, pause: Pause = time.sleep, *, lost: Callable[[], None] = lambda: None
    ) -> Iterator[Hold]:
        """Hold this folder alone; what another process left when it was killed is no obstacle.

        Args:
            pause: waits some seconds, while the lock of another machine is watched.
            lost: called in another thread when another machine has taken the folder over.

        Raises:
            BusyError: another process holds it, here or on another machine.
        """
        with exclusive(self.path, pause, lost=lost) as hold:
            yield hold

    def is_busy(self) -> bool:
        """Whether another process works on it just now; nothing is written to find that out."""
        return is_held(self.path)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def kept_files(folder: RunFolder, sha256: Callable[[Path], str] = file_sha256) -> list[KeptFile]:
    """What a stage's manifest says of the files beside it, of those that are there.

    Args:
        folder: the folder of the stage.
        sha256: gives the digest of a file.
    """
    named = [(name, folder.path / name) for name in get_args(KeptName)]
    return [
        KeptFile(path=name, bytes=path.stat().st_size, sha256=sha256(path))
        for name, path in named
        if path.exists()
    ]


def check_files(
    folder: RunFolder, manifest: Manifest, sha256: Callable[[Path], str] = file_sha256
) -> None:
    """Compare the files beside a stage's manifest with it, every byte; features are not looked at.

    Args:
        folder: the folder of the stage.
        manifest: its commit record.
        sha256: gives the digest of a file.

    Raises:
        DamagedCacheError: the first file that is missing or of other bytes.
    """
    for damage in damaged_files(folder, manifest, sha256):
        raise damage


def damaged_files(
    folder: RunFolder, manifest: Manifest, sha256: Callable[[Path], str] = file_sha256
) -> Iterator[DamagedCacheError]:
    """What is wrong with each file that `check_files` would not let pass; the same arguments."""
    for name, digest in manifest.digests.items():
        try:
            check_digest(folder.path / name, digest, sha256)
        except DamagedCacheError as error:
            yield error


def check_digest(path: Path, digest: str, sha256: Callable[[Path], str] = file_sha256) -> None:
    """Compare a file with the digest that its manifest names; the rest is as of `check_files`."""
    cure = making_anew(path)
    try:
        require_regular(path)
    except FileNotFoundError:
        expected = "the file its manifest names"
        raise DamagedCacheError(str(path), "missing", expected, cure) from None
    except UnreadableError as error:
        expected = "the file its manifest names"
        raise DamagedCacheError(str(path), str(error), expected, cure) from error
    if sha256(path) != digest:
        raise DamagedCacheError(str(path), "other bytes than its manifest names", cure=cure)


def features_usable(folder: RunFolder, manifest: Manifest) -> bool:
    """Whether the stage's features lie there whole, by sizes and indices."""
    if manifest.features is None or not folder.features.exists():
        return False
    try:
        folder.check_features(manifest.features, full=False)
    except DamagedCacheError:
        return False
    return True


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder; 0 where there is none."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
