"""manifest.json: the commit record of a stage or a probe, as a type.

    RunFolder ─► read_record ─► Manifest        of a stage
                            └─► ProbeManifest   of a probe

What is there has the types it was written with. Keys of a later release are not looked at; those
that an earlier one did not write have a default.
"""

import json
import re
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from gimstage.errors import CacheError, DamagedCacheError, StaleCacheError
from gimstage.files import UnreadableError, read_json
from gimstage.recipe.chain import Chain
from gimstage.recipe.identity import Identity
from gimstage.recipe.restored import restored_chain
from gimstage.specs.base import KindError
from gimstage.specs.outside import Reading

FORMAT = 1
MOST_BYTES = 1 << 25  # of a manifest: about 300,000 files


class Record(BaseModel):
    """A table of a manifest: frozen and strict."""

    model_config = ConfigDict(frozen=True, strict=True)


class Upstream(Record):
    """The stage before: its key, and the fingerprint of what it hands on."""

    stage: str
    fingerprint: str


class TrainingRecord(Record):
    """How a training went: the first and last line of metrics.jsonl, None where that was lost.

    `samples` counts those of the split that were trained on; unknown of an older release.
    """

    samples: int | None = None
    steps: int | None
    seconds: float | None
    first: dict[str, Any] | None = None
    last: dict[str, Any] | None = None


class StoredFile(Record):
    """A file of features.zarr: its path inside, its size and the digest of its bytes."""

    path: str
    bytes: int
    crc32c: str


class FidelityRecord(Record):
    """What the encoding lost, as `cache.Fidelity`."""

    snr_db: float | None
    worst_channel_snr_db: float | None
    max_error: float
    clipped: float


class FeaturesRecord(Record):
    """What features.zarr holds, and the files it consists of."""

    arrays: list[str]
    shape: list[int]
    encoding: str
    bytes: int
    seconds: float
    fidelity: FidelityRecord
    shards: list[StoredFile]

    @property
    def files(self) -> list[dict[str, Any]]:
        """The files as `cache.verify` takes them."""
        return [file.model_dump() for file in self.shards]


class MemoryRecord(Record):
    """GPU memory of a training: the setting, the prediction, the measurement on a GPU, in bytes."""

    budget_bytes: int | None = None
    micro_batch: int | None = None
    checkpointing: bool | None = None
    predicted_allocated_bytes: int | None = None
    predicted_reserved_bytes: int
    measured_allocated_bytes: int | None = None
    measured_reserved_bytes: int | None = None


class Manifest(Record):
    """The commit record of a stage.

    `stage` is its key, `RECIPE/NUMBER`; `identity` all that decided its numbers, `fingerprint` the
    identity's SHA-256. `features` is None where none are stored. `outside` says beside which recipe
    modules of parts from outside the package were found, by the parts' kind.
    """

    stage: str
    fingerprint: str
    identity: Identity
    weights_sha256: str
    objective_sha256: str
    upstream: Upstream | None
    upstream_weights_sha256: str | None
    outside: dict[str, str] = {}
    training: TrainingRecord
    features: FeaturesRecord | None
    memory: MemoryRecord | None = None
    device: str | None = None
    versions: dict[str, str] = {}

    @field_validator("identity")
    @classmethod
    def _identity_names_data(cls, identity: Identity) -> Identity:
        return _naming_data(identity, str)

    @property
    def data(self) -> Identity:
        """What of data.toml decided its numbers."""
        table: Identity = self.identity["data"]
        return table

    @property
    def data_sha256(self) -> str:
        """SHA-256 of the split it was trained on."""
        digest: str = self.identity["data_sha256"]
        return digest

    def document(self) -> dict[str, Any]:
        """The record as plain JSON values; `outside` only where there is anything from there."""
        return self.model_dump(exclude=None if self.outside else {"outside"})

    def chain(self, *, trust: bool = False) -> Chain:
        """The stage and those below it, as far as the identity tells; see recipe/restored.py.

        Args:
            trust: whether parts from outside the package are imported; else they build nothing.

        Raises:
            StaleCacheError: the identity holds what this release does not know.
        """
        try:
            reading = Reading(None, trust=trust, folders=self.outside)
            return restored_chain(self.identity, self.stage, reading)
        except ValueError as error:
            if own := _outside_complaint(error):
                found = f"kind {own.found}"
                raise StaleCacheError(
                    f"stage {self.stage}", found, expected=own.expected, cure=own.cure
                ) from error
            reason = _complaint(error) if isinstance(error, ValidationError) else str(error)
            raise StaleCacheError(
                f"stage {self.stage}",
                f"trained by another release, whose recipes this one cannot read: {reason}",
                cure="use that release, or run the stage again",
            ) from error

    def as_upstream(self) -> Upstream:
        """This stage as the manifest of the next one names it."""
        return Upstream(stage=self.stage, fingerprint=self.fingerprint)


class ProbeRow(Record):
    """What was told from one input by one protocol.

    `stage` names the input, as report/probed.py spells out; `accuracy`, `chance` and `random_init`,
    the accuracy before training where that was taken, are shares of the test samples.
    """

    stage: str
    task: str
    protocol: str
    accuracy: float
    chance: float
    random_init: float | None
    train_samples: int
    test_samples: int
    settings: dict[str, Any] = {}


class ProbeManifest(Record):
    """The commit record of a probe, `RECIPE/PROBE`; identity and fingerprint as of a stage."""

    probe: str
    fingerprint: str
    identity: Identity
    rows: list[ProbeRow]
    versions: dict[str, str] = {}

    def document(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        return self.model_dump()

    @field_validator("identity")
    @classmethod
    def _identity_names_data(cls, identity: Identity) -> Identity:
        return _naming_data(identity, dict)

    @property
    def data(self) -> Identity:
        """What of data.toml decided its numbers."""
        table: Identity = self.identity["data"]
        return table

    @property
    def data_sha256(self) -> dict[str, str]:
        """SHA-256 of its splits, by their names."""
        digests: dict[str, str] = self.identity["data_sha256"]
        return digests


def _naming_data(identity: Identity, kind: type) -> Identity:
    """The identity itself, if it says which data a result comes from: results are grouped by it."""
    for key, wanted in {"data": dict, "data_sha256": kind}.items():
        if not isinstance(identity.get(key), wanted):
            raise ValueError(f"no {key} inside")
    return identity


R = TypeVar("R", Manifest, ProbeManifest)


def read_manifest(path: Path, kind: type[R]) -> R | None:
    """The commit record in a file; None where there is no such file.

    Args:
        path: the path of manifest.json.
        kind: Manifest of a stage, or ProbeManifest.

    Raises:
        DamagedCacheError: it is not a record of that kind.
        CacheError: it was written by a newer gimstage.
    """
    document = _document(path)
    return None if document is None else _validated(path, document, kind)


def read_record(path: Path) -> Manifest | ProbeManifest | None:
    """The commit record in a file, of whichever kind it is; raises as `read_manifest`."""
    document = _document(path)
    if document is None:
        return None
    if "stage" in document:
        return _validated(path, document, Manifest)
    return _validated(path, document, ProbeManifest)


def _document(path: Path) -> dict[str, Any] | None:
    """The JSON object in a manifest of a known format."""
    try:
        document = read_json(path, most_bytes=MOST_BYTES)
    except FileNotFoundError:
        return None
    except UnreadableError as error:
        raise _unreadable(path, str(error)) from error
    except OSError as error:
        found = f"cannot be read ({error.strerror})"
        raise CacheError(str(path), found, cure="see what it is and who may read it") from error
    if not isinstance(document, dict) or not isinstance(document.get("format"), int):
        raise _unreadable(path, "no format number inside")
    if document["format"] > FORMAT:
        raise CacheError(
            str(path),
            f"format {document['format']}",
            expected=f"at most {FORMAT}",
            cure="upgrade gimstage",
        )
    return document


def _validated(path: Path, document: dict[str, Any], kind: type[R]) -> R:
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        raise _unreadable(path, _complaint(error)) from error


def _unreadable(path: Path, reason: str) -> DamagedCacheError:
    cure = f"delete {path} and run the stage again"
    return DamagedCacheError(str(path), f"not readable: {reason}", cure=cure)


_EXPECTED = {"model_type": "a table", "dict_type": "a table", "list_type": "a list"}


def _outside_complaint(error: ValueError) -> KindError | None:
    """What is wrong with the first part from outside the package; None where none is."""
    complaints = error.errors(include_url=False) if isinstance(error, ValidationError) else []
    for each in complaints:
        reason = each.get("ctx", {}).get("error")
        if isinstance(reason, KindError) and re.match(r'"[^"]*:', reason.found):
            return reason
    return None


def _complaint(error: ValidationError) -> str:
    """All keys that lack; where none does, the first that holds something else than it should."""
    complaints = error.errors(include_url=False)
    lacking = sorted(_key(each["loc"]) for each in complaints if each["type"] == "missing")
    if lacking:
        return f"no {', '.join(lacking)} inside"
    first = complaints[0]
    reason = first.get("ctx", {}).get("error")
    if isinstance(reason, KindError):
        return f"{_key(first['loc'])}.kind is {reason.found}"
    if first["type"] == "value_error":
        return f"{_key(first['loc'])}: {reason}"
    if first["type"] == "extra_forbidden":
        return f"{_key(first['loc'])} is {_shown(first['input'])}, which is no key here"
    expected = _EXPECTED.get(first["type"], first["msg"].removeprefix("Input should be "))
    return f"{_key(first['loc'])} is {_shown(first['input'])} instead of {expected}"


def _key(place: tuple[int | str, ...]) -> str:
    return ".".join(map(str, place))


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 40 else f"{text[:39]}…"
