"""Whether what a stage left behind may be trusted, for the recipe as it stands now.

A stage's state is read off its folder: *missing* (nothing), *partial* (begun), *done*, *stale*
(made by another recipe, upstream or data), *damaged* (the manifest promises what is not there).
Where its own folder is not done, another finished folder of the same fingerprint takes its place.
"""

from collections.abc import Callable, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

from gimstage.errors import CacheError, DamagedCacheError, StaleCacheError
from gimstage.errors.commands import Words, on_recipe, pasted
from gimstage.objectives.base import Labels
from gimstage.recipe.chain import Chain
from gimstage.recipe.identity import (
    UNKNOWN,
    Identity,
    differences,
    fingerprint,
    known_fingerprint,
    supplemented,
)
from gimstage.runs.finished import Finished
from gimstage.runs.folder import RunFolder, check_files
from gimstage.runs.manifest import Manifest
from gimstage.runs.snapshot import Snapshot
from gimstage.runs.tensors import read_header, read_tensors

State = Literal["missing", "partial", "done", "stale", "damaged"]
Verdict = tuple[State, tuple[str, ...]]
R = TypeVar("R")


@dataclass(frozen=True)
class Status:
    """What `gimstage status` says of one stage or probe.

    Args:
        name: the stage's number or the probe's name.
        state: see the module's docstring.
        why: the reason, empty where there is nothing to say.
        fingerprint: the fingerprint of the identity the recipe asks for now.
    """

    name: str
    state: State
    why: tuple[str, ...]
    fingerprint: str


def record_or_verdict(read: Callable[[], R | None]) -> tuple[R | None, Verdict]:
    """A commit record, or why there is none that could be trusted.

    Args:
        read: reads the manifest, as `RunFolder.manifest` does.

    Returns:
        The record and "done"; or None and what state that is.
    """
    try:
        manifest = read()
    except DamagedCacheError as error:
        return None, ("damaged", (str(error),))
    except CacheError as error:  # of a newer release
        return None, ("stale", (str(error),))
    return manifest, ("done" if manifest is not None else "missing", ())


class Judgement(NamedTuple):
    """What was found out about a stage.

    Args:
        status: its state.
        manifest: its manifest, if one can be read.
        folder: where it lies.
        below: where the stages below lie, from which it was made or would be.
    """

    status: Status
    manifest: Manifest | None
    folder: RunFolder
    below: frozenset[RunFolder]


def _nothing(kind: Labels) -> None:
    """The digest of labels that the data's fingerprint counts: None."""


@dataclass(frozen=True)
class Runs:
    """The runs of a recipe, and of the recipes it builds on, below one folder.

    Each stage is judged once, and again after `forget`, or after `look_again` where a file of it
    or of a stage below has changed; so all that a command says is of one moment.

    What is lent is read where it lies; nothing is written there.

    Args:
        root: the runs folder.
        data_sha256: fingerprint of the split the stages are trained on; UNKNOWN where it is not
            there, and whatever a stage was trained on is then taken to be that.
        phones_sha256: the SHA-256 of the phone labels, or UNKNOWN; None where there are none.
        learned_sha256: what the labels that losses learn tell of "sample" or "frame", as a digest;
            None where the data's own fingerprint counts them.
        snapshot: what was found out so far.
    """

    root: Path
    data_sha256: str
    phones_sha256: str | None = None
    learned_sha256: Callable[[Labels], str | None] = field(
        default=_nothing, repr=False, compare=False
    )
    snapshot: Snapshot[Judgement] = field(default_factory=Snapshot, repr=False, compare=False)

    @cached_property
    def finished(self) -> Finished:
        """Where else a result may lie."""
        return Finished(self.root)

    def folder(self, key: str) -> RunFolder:
        """The own folder of `RECIPE/NUMBER` or of `RECIPE/PROBE`."""
        return RunFolder(self.root / key)

    def own_folder(self, chain: Chain) -> RunFolder:
        """The folder that a chain's last stage is trained in."""
        return self.folder(chain.last.key)

    def stage_folder(self, chain: Chain) -> RunFolder:
        """The folder that a chain's last stage is read from, its own or another of the same."""
        return self._judgement(chain).folder

    def is_lent(self, chain: Chain) -> bool:
        """Whether the chain's last stage is done, but not in its own folder."""
        return self.stage_folder(chain) != self.own_folder(chain)

    def weights_identity(self, chain: Chain) -> Identity:
        """What decides the weights of the chain's last stage, data included."""
        return self._with_labels(chain, chain.weights_identity(self.data_sha256))

    def features_identity(self, chain: Chain) -> Identity:
        """What decides what the chain's last stage hands on, data included."""
        identity = chain.features_identity(self.data_sha256)
        stores = chain.last.spec.output.store == "features"  # and the label of every entry beside
        return self._with_labels(chain, identity, stored={"sample"} if stores else set())

    def _with_labels(
        self, chain: Chain, identity: Identity, stored: Set[Labels] = frozenset()
    ) -> Identity:
        """The identity, and that of labels where a stage learns or stores them."""
        learned = {kind for part in [*chain.below(), chain] for kind in part.label_kinds}
        if "frame" in learned:
            identity["phones_sha256"] = self.phones_sha256
        told = {kind: self.learned_sha256(kind) for kind in sorted(learned | stored)}
        if known := {kind: sha for kind, sha in told.items() if sha is not None}:
            identity["labels_sha256"] = known
        return identity

    def status(self, chain: Chain) -> Status:
        """The state of the chain's last stage, and why."""
        return self._judgement(chain).status

    def manifest(self, chain: Chain) -> Manifest | None:
        """The manifest of the chain's last stage, in any state; None where none is readable."""
        return self._judgement(chain).manifest

    def look_again(self) -> None:
        """Judge those stages anew, when they are next asked for, of which a file has changed."""
        self.snapshot.look_again()
        self.finished.look_again()

    def _judgement(self, chain: Chain) -> Judgement:
        """What was found out in the stage's own folder, or in the first that holds the same."""
        below: frozenset[RunFolder] = frozenset()
        if chain.upstream is not None:
            before = self._judgement(chain.upstream)
            below = before.below | {before.folder}
        folder = self.own_folder(chain)
        own = self.snapshot.of(folder, below, partial(self._judge, chain, folder, below))
        return own if own.status.state == "done" else self._lent(chain, own) or own

    def _lent(self, chain: Chain, own: Judgement) -> Judgement | None:
        """The same stage, finished in another folder; None where there is none."""
        for folder in self.finished.mentioning([own.status.fingerprint], beside=own.folder):
            look = partial(self._judge, chain, folder, own.below)
            found = self.snapshot.of(folder, own.below, look, asker=chain.last.key)
            if found.status.state == "done":
                return found._replace(status=replace(found.status, why=(f"as {folder.path}",)))
        return None

    def _judge(self, chain: Chain, folder: RunFolder, below: frozenset[RunFolder]) -> Judgement:
        """What a folder holds, taken for the chain's last stage."""
        wanted = self.features_identity(chain)
        manifest, verdict = record_or_verdict(folder.manifest)
        if manifest is not None:
            wanted = supplemented(wanted, manifest.identity)
            verdict = self._verdict(chain, folder, manifest, wanted)
        elif verdict[0] == "missing":
            verdict = self._begun(chain, folder)
        if verdict[0] != "done":
            verdict = verdict[0], (*verdict[1], *was_set_aside(folder))
        status = Status(str(chain.last.number), *verdict, known_fingerprint(wanted))
        return Judgement(status, manifest, folder, below)

    def _verdict(
        self, chain: Chain, folder: RunFolder, manifest: Manifest, wanted: Identity
    ) -> Verdict:
        """The state of a stage with a manifest."""
        changes = differences(manifest.identity, wanted) or self._upstream_changes(chain, manifest)
        if changes:
            return "stale", tuple(changes)
        output = chain.last.spec.output
        try:
            check_files(folder, manifest, self.snapshot.sha256)
            if output.store == "features" and manifest.features is not None:
                folder.check_features(manifest.features, full=False)
        except DamagedCacheError as error:
            return "damaged", (str(error),)
        if output.store == "features":
            stored = manifest.features.arrays if manifest.features else []
            lacking = {"features", *(["codes"] if output.codes else [])} - set(stored)
            if lacking:
                return "partial", (f"trained; {' and '.join(sorted(lacking))} not stored yet",)
        return "done", ()

    def _begun(self, chain: Chain, folder: RunFolder) -> Verdict:
        """The state of a stage without a manifest."""
        try:
            if self.trained(chain):
                return "partial", ("trained; features not complete",)
        except DamagedCacheError as error:
            return "damaged", (str(error),)
        if self.checkpointed(chain):
            return "partial", ("training interrupted; it continues from its checkpoint",)
        leftovers = (folder.weights, folder.training.path, folder.features, folder.metrics)
        if any(path.exists() for path in leftovers):
            if self.data_sha256 == UNKNOWN:
                return "partial", ("begun; its data is not there to say whether it goes on",)
            return "partial", ("begun, but nothing to go on from; it starts anew",)
        return "missing", ()

    def checkpointed(self, chain: Chain) -> bool:
        """Whether a checkpoint says that it is of this training, which will check it."""
        for path in self.own_folder(chain).training.states:
            with suppress(DamagedCacheError):
                if _is_of(path, self.training_fingerprint(chain)):
                    return True
        return False

    def training_fingerprint(self, chain: Chain) -> str:
        """SHA-256 of all that decides the weights, down to the bits of the stage before."""
        upstream = {"upstream_weights_sha256": self.upstream_weights(chain)}
        return fingerprint(self.weights_identity(chain) | upstream)

    def upstream_weights(self, chain: Chain) -> str | None:
        """SHA-256 of the weights of the stage before; None where there are none."""
        if chain.upstream is None:
            return None
        path = self.stage_folder(chain.upstream).weights
        return self.snapshot.sha256(path) if path.is_file() else None

    def trained(self, chain: Chain) -> bool:
        """Whether the weights of exactly this training lie there whole, the objective's too.

        Raises:
            DamagedCacheError: one of the files is damaged.
        """
        folder, wanted = self.own_folder(chain), self.training_fingerprint(chain)
        paths = (folder.objective, folder.weights)
        if not all(_is_of(path, wanted) for path in paths):
            return False
        manifest, _ = record_or_verdict(folder.manifest)
        if manifest is not None:
            check_files(folder, manifest)
        else:
            for path in paths:
                read_tensors(path)  # which checks them
        return True

    def to_install(self, chain: Chain) -> bool:
        """Whether exactly this training has reached its end and only waits to be installed.

        Raises:
            DamagedCacheError: its weights are damaged.
        """
        folder, wanted = self.own_folder(chain), self.training_fingerprint(chain)
        ready = folder.training.objective  # until it is moved, before the weights are
        paths = (ready if ready.exists() else folder.objective, folder.training.weights)
        if not all(_is_of(path, wanted) for path in paths):
            return False
        for path in paths:
            read_tensors(path)  # which checks them
        return True

    def _upstream_changes(self, chain: Chain, manifest: Manifest) -> list[str]:
        """The stage before must be done, and be the very one this stage was trained on."""
        if chain.upstream is None:
            return []
        before, status = chain.upstream.last, self.status(chain.upstream)
        if status.state != "done":
            return [f"stage {before.key} before it is {status.state}"]
        if self.require(chain.upstream).weights_sha256 != manifest.upstream_weights_sha256:
            return [f"stage {before.key} before it was trained again, to other weights"]
        return []

    def require(self, chain: Chain) -> Manifest:
        """The manifest of a chain's last stage, which must be done.

        Raises:
            StaleCacheError: it is missing, partial or stale.
            DamagedCacheError: it is damaged.
        """
        status, manifest = self._judgement(chain)[:2]
        if status.state == "done" and manifest is not None:
            return manifest
        kind = DamagedCacheError if status.state == "damaged" else StaleCacheError
        why = f" ({'; '.join(status.why)})" if status.why else ""
        raise kind(
            f"stage {chain.last.key}",
            f"{status.state}{why}",
            "done",
            f"run {pasted(*self.training(chain))} first",
        )

    def training(self, chain: Chain) -> list[Words]:
        """The commands that bring a chain's last stage to "done", and those below that are not."""
        parts = [part for part in chain.below() if self.status(part).state != "done"]
        return [
            on_recipe("train-stage", str(part.last.number), run=part.last.recipe, root=self.root)
            for part in [*parts, chain]
        ]


def was_set_aside(folder: RunFolder) -> list[str]:
    """What there is to say of damaged files that were set aside and not yet made again."""
    return [f"{path} was damaged and is set aside" for path in folder.asides]


def _is_of(path: Path, fingerprint: str) -> bool:
    """Whether a file of tensors is there and says that it is of this training."""
    header = read_header(path)
    return header is not None and header.get("fingerprint") == fingerprint
