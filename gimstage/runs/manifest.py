"""manifest.json: the commit record of a stage or a probe, as a type.

    RunFolder ─► read_record ─► Manifest        of a stage
                            └─► ProbeManifest   of a probe

What is there has the types it was written with. Keys of a later release are not looked at; those
that an earlier one did not write have a default. From format 2 on a manifest carries the SHA-256 of
all else in it, and lists the files it vouches for; format 1 did neither.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from gimstage.errors import CacheError, DamagedCacheError, StaleCacheError
from gimstage.errors.commands import making_anew, on_recipe, pasted
from gimstage.files import UnreadableError, document_sha256, read_json
from gimstage.recipe.chain import Chain
from gimstage.recipe.identity import Identity
from gimstage.recipe.names import RunName, nameless
from gimstage.recipe.restored import restored_chain
from gimstage.runs.complaints import complaint, outside_complaint
from gimstage.specs.outside import Reading

FORMAT = 2
DIGEST = "sha256"  # the key of a manifest's own digest
MOST_BYTES = 1 << 25  # of a manifest: about 300,000 files


Natural = Annotated[int, Field(ge=0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Field(ge=0, le=1)]
KeptName = Literal["weights.safetensors", "objective.safetensors", "metrics.jsonl", "memory.json"]
# A folder two levels below the runs folder, and none above.
StageKey = Annotated[str, Field(pattern=r"^[^/\x00]*[^./\x00][^/\x00]*/[0-9]{1,9}$")]
# Nothing that leads out of a store: a file of the group, or of an array in it.
StoredPath = Annotated[str, Field(pattern=r"^(\w+/)?(zarr\.json|c[.0-9]*)$")]


class Record(BaseModel):
    """A table of a manifest: frozen and strict."""

    model_config = ConfigDict(frozen=True, strict=True)


class Upstream(Record):
    """The stage before: its key, and the fingerprint of what it hands on."""

    stage: StageKey
    fingerprint: str


class TrainingRecord(Record):
    """How a training went: the first and last line of metrics.jsonl, None where that was lost.

    `samples` counts those of the split that were trained on; unknown of an older release.
    """

    samples: Natural | None = None
    steps: Natural | None
    seconds: float | None
    first: dict[str, Any] | None = None
    last: dict[str, Any] | None = None

    @field_validator("first", "last")
    @classmethod
    def _line_has_a_loss(cls, line: dict[str, Any] | None) -> dict[str, Any] | None:
        if line is not None and type(line.get("loss")) not in (int, float):
            raise ValueError("no loss inside")
        return line


class KeptFile(Record):
    """A file beside the manifest: its name, its size and the SHA-256 of its bytes."""

    path: KeptName
    bytes: Natural
    sha256: Sha256


class StoredFile(Record):
    """A file of features.zarr: its path inside, its size and the digest of its bytes."""

    path: StoredPath
    bytes: Natural
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
    shape: list[Natural]
    encoding: str
    bytes: Natural
    seconds: float
    fidelity: FidelityRecord
    shards: list[StoredFile]

    @property
    def files(self) -> list[dict[str, Any]]:
        """The files as `cache.verify` takes them."""
        return [file.model_dump() for file in self.shards]


class MemoryRecord(Record):
    """GPU memory of a training: the setting, the prediction, the measurement on a GPU, in bytes."""

    budget_bytes: Natural | None = None
    micro_batch: Natural | None = None
    checkpointing: bool | None = None
    predicted_allocated_bytes: Natural | None = None
    predicted_reserved_bytes: Natural
    measured_allocated_bytes: Natural | None = None
    measured_reserved_bytes: Natural | None = None


class Manifest(Record):
    """The commit record of a stage.

    `stage` is its key, `RECIPE/NUMBER`; `identity` all that decided its numbers, `fingerprint` the
    identity's SHA-256. `files` lists those beside it that it vouches for: of format 1, weights
    and objective alone. `features` is None where none are stored. `outside` says beside which
    recipe modules of parts from outside the package were found, by the parts' kind. `data_title` is
    as of data/titles.py; None of an earlier release.
    """

    stage: StageKey
    fingerprint: str
    identity: Identity
    weights_sha256: str
    objective_sha256: str
    upstream: Upstream | None
    upstream_weights_sha256: str | None
    outside: dict[str, str] = {}
    files: list[KeptFile] = []
    training: TrainingRecord
    features: FeaturesRecord | None
    memory: MemoryRecord | None = None
    device: str | None = None
    data_title: str | None = None
    versions: dict[str, str] = {}

    @field_validator("identity")
    @classmethod
    def _identity_names_data(cls, identity: Identity) -> Identity:
        return _naming_data(identity, str)

    @field_validator("files")
    @classmethod
    def _files_agree(cls, files: list[KeptFile], info: ValidationInfo) -> list[KeptFile]:
        for file in files:
            key = f"{file.path.removesuffix('.safetensors')}_sha256"
            if info.data.get(key, file.sha256) != file.sha256:
                raise ValueError(f"{file.path} has another digest than {key}")
        return files

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 of every file beside the manifest that it vouches for, by its name."""
        trained = {"weights": self.weights_sha256, "objective": self.objective_sha256}
        named = {f"{name}.safetensors": digest for name, digest in trained.items()}
        return named | {file.path: file.sha256 for file in self.files}

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
            if own := outside_complaint(error):
                found = f"kind {own.found}"
                raise StaleCacheError(
                    f"stage {self.stage}", found, expected=own.expected, cure=own.cure
                ) from error
            reason = complaint(error) if isinstance(error, ValidationError) else str(error)
            raise StaleCacheError(
                f"stage {self.stage}",
                f"trained by another release, whose recipes this one cannot read: {reason}",
                cure=f"use that release, or run {pasted(self._training())}",
            ) from error

    def as_upstream(self, key: str) -> Upstream:
        """This stage as the manifest of the next one names it, by its key in their recipe."""
        return Upstream(stage=key, fingerprint=self.fingerprint)

    def _training(self) -> list[str]:
        run, _, number = self.stage.rpartition("/")
        return on_recipe("train-stage", number, run=run)


class ProbeRow(Record):
    """What was told from one input by one protocol.

    `stage` names the input, as report/probed.py spells out; `accuracy`, `chance` and `random_init`,
    the accuracy before training where that was taken, are shares of the test samples.
    """

    stage: str
    task: str
    protocol: str
    accuracy: Share
    chance: Share
    random_init: Share | None
    train_samples: Natural
    test_samples: Natural
    settings: dict[str, Any] = {}


class ProbeManifest(Record):
    """The commit record of a probe, `RECIPE/PROBE`; identity and fingerprint as of a stage."""

    probe: str
    fingerprint: str
    identity: Identity
    rows: list[ProbeRow]
    data_title: str | None = None
    versions: dict[str, str] = {}

    @property
    def nameless(self) -> Identity:
        """Its identity without the name of its run, to compare with those of others.

        Raises:
            ValueError: its key names no run.
        """
        return nameless(self.identity, RunName.parse(self.probe.rpartition("/")[0]))

    def document(self) -> dict[str, Any]:
        """The record as plain JSON values."""
        return self.model_dump()

    @field_validator("identity")
    @classmethod
    def _identity_names_data(cls, identity: Identity) -> Identity:
        if not isinstance(identity.get("weights", {}), dict):
            raise ValueError("weights is no table")
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
    """The JSON object in a manifest of a known format, its digest checked where it has one."""
    try:
        document: Any = read_json(path, most_bytes=MOST_BYTES)
    except FileNotFoundError:
        return None
    except UnreadableError as error:
        raise _unreadable(path, str(error)) from error
    except OSError as error:
        found = f"cannot be read ({error.strerror})"
        raise CacheError(str(path), found, cure="see what it is and who may read it") from error
    number = document.get("format") if isinstance(document, dict) else None
    if not isinstance(document, dict) or type(number) is not int or number < 1:
        raise _unreadable(path, "no format number inside")
    # Before the number is believed: every later format carries its digest in the same way.
    if (number > 1 or DIGEST in document) and document != with_digest(document):
        raise _unreadable(path, "its content is not what its own sha256 says")
    if number > FORMAT:
        raise CacheError(
            str(path),
            f"format {number}",
            expected=f"at most {FORMAT}",
            cure="upgrade gimstage",
        )
    return document


def with_digest(document: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest's document with the SHA-256 of everything else in it, the order of keys aside."""
    content = {key: value for key, value in document.items() if key != DIGEST}
    return content | {DIGEST: document_sha256(content)}


def _validated(path: Path, document: dict[str, Any], kind: type[R]) -> R:
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        raise _unreadable(path, complaint(error)) from error


def _unreadable(path: Path, reason: str) -> DamagedCacheError:
    return DamagedCacheError(str(path), f"not readable: {reason}", cure=making_anew(path))
