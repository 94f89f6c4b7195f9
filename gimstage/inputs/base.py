"""What a stage reads, as one kind of batch, wherever it comes from and whatever it is of.

    raw source         pixels or samples, memory-mapped or sought in files
    feature source     features.zarr of the stage before
    recomputed source  the stage before, run again, frozen, on its own source (`store = "none"`)

Reading has two halves: `fill` puts raw values into a reused CPU buffer, on a worker thread;
`prepare` turns the buffer into module input on the device, on the main thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from gimstage.data.digests import Digests
from gimstage.data.splits import Split
from gimstage.data.titles import OWN
from gimstage.device import to_fastest_layout
from gimstage.errors import DataError, NoLabelsError
from gimstage.inputs.draws import Division, Places, TrainingDraws, divided
from gimstage.inputs.handoff import HandOff
from gimstage.inputs.labels import labels_digest
from gimstage.modality.base import StoreForm
from gimstage.modules import EncoderModule
from gimstage.modules.base import Reads
from gimstage.objectives.base import Labels
from gimstage.progress import Watch
from gimstage.recipe.chain import Chain
from gimstage.recipe.identity import UNKNOWN
from gimstage.specs import DataSpec
from gimstage.stack import TILE_UNITS
from gimstage.views import Ints, StoredMaps, StoredSpans, StoredViews

OUTDATED = "of files that changed since they were imported"  # in place of a digest
LOOKED_AT = 16  # samples, to say whether data is black or silent


class Source(ABC):
    """Batches of module input, raw on the CPU first, then on a device.

    Attributes:
        gives: what it gives units of, as modules say it of what they read.
        recomputes: whether `prepare` runs frozen modules, and so is costly.
    """

    gives: Reads = "patch"
    recomputes: bool = False

    @abstractmethod
    def buffer(self, count: int, size: int) -> Tensor:
        """An uninitialised raw CPU buffer for `count` places of a size, in patches or rows."""

    @abstractmethod
    def fill(self, buffer: Tensor, places: Any) -> Tensor:
        """Read the raw values of B places into a buffer; the part of it that they fill."""

    @abstractmethod
    def prepare(self, raw: Tensor, places: Any) -> Tensor:
        """Module input, float32, of what `fill` returned for these places, on any device."""


@torch.no_grad()
def encoded_again(module: EncoderModule, x: Tensor, handoff: HandOff) -> Tensor:
    """What a frozen module hands on when nothing is stored, tile by tile.

    Args:
        module: the module.
        x: a batch of its input, grids of patches or stretches that hold their reach.
        handoff: how it would have stored its features: through ReLU, rounded.
    """
    axes, size = x.ndim - module.unit_axes, TILE_UNITS[module.reads]
    units = to_fastest_layout(x, module.reads).flatten(0, axes - 1)
    made = units.new_empty(0)
    for first in range(0, len(units), size):
        features = handoff.apply(module.unpadded(units[first : first + size]))
        if not first:
            made = features.new_empty(len(units), *features.shape[1:])
        made[first : first + size] = handoff.restored(features)
    handed_on: Tensor = made.unflatten(0, x.shape[:axes])
    return handed_on


def pinned(buffer: Tensor) -> Tensor:
    """Page-locked where a GPU will copy from it."""
    return buffer.pin_memory() if torch.cuda.is_available() else buffer


def memo_path(runs: Path) -> Path:
    """Where it is remembered what the files of data hold, below the runs folder."""
    return runs / "data" / "fingerprints.json"


class DataSet(ABC):
    """The data of a recipe, found on disk, and what depends on its kind.

    Args:
        spec: the recipe's data.toml.
        root: the folder it lies in.
        own: whether it is the source's own, a demo's, written when it is first worked on.

    Attributes:
        keeps_labels: whether the files of a split hold its labels, too.
    """

    spec: DataSpec
    keeps_labels: ClassVar[bool] = True

    def __init__(self, spec: DataSpec, root: Path, *, own: bool = False) -> None:
        self.spec, self.root, self.own = spec, root, own
        self._digests: dict[Path, Digests] = {}
        self._labels_sha256: dict[tuple[str, str, str], str | None] = {}

    @classmethod
    @abstractmethod
    def find(cls, spec: Any, data: Path | None, runs: Path) -> DataSet:
        """The data a recipe asks for: where `data` says, or its source's own; writes nothing.

        Args:
            spec: the recipe's data.toml.
            data: the folder that `--data` names.
            runs: the runs folder, below which a source may keep files of its own.

        Raises:
            DataError: it is not there.
        """

    @property
    def is_made(self) -> bool:
        """Whether its files are there; False where `make` has still to write them."""
        return not self.own or self.root.exists()

    @property
    def is_outdated(self) -> bool:
        """Whether it was made, but of files that have changed since; never as a rule."""
        return False

    def make(self, watch: Watch) -> None:
        """Write the data unless it is there, before anything works on it; looking never does.

        Args:
            watch: hears of progress where it takes long, asks to stop.

        Raises:
            DataError: it cannot be written.
            Interrupted: a stop was asked for.
        """
        if not self.is_made:
            self.write(watch)

    def write(self, watch: Watch) -> None:
        """Write data that the source makes itself; arguments and errors as of `make`."""
        raise NotImplementedError

    @property
    def remade(self) -> tuple[Path, str] | None:
        """A folder that the next command makes again once it is removed, and what it then does.

        Such as (runs/data/demo-60-30-30-1, "draws"); None for data that only its owner has.
        """
        return (self.root, "draws") if self.own else None

    @abstractmethod
    def split(self, name: str) -> Split:
        """A split of the data; of what is not made, what is planned of it.

        Raises:
            DataError: there is no such split, or it cannot be read.
        """

    @property
    def title(self) -> str:
        """What it is called beside figures taken on it; see data/titles.py."""
        return OWN[self.spec.kind]

    @property
    @abstractmethod
    def num_samples(self) -> int:
        """Samples of the split trained on, those held out included, N."""

    @abstractmethod
    def usable(self, chain: Chain) -> Ints:
        """The samples that have what the last stage's losses need, ascending.

        Raises:
            NoLabelsError: none has labels of that kind.
            DataError: a label is none of the classes the recipe names.
        """

    def samples(self, chain: Chain) -> Division:
        """Which samples the last stage learns from, and which are held out; raises as `usable`.

        All samples are divided, usable or not: what one stage holds out, none below has seen.
        """
        every = np.arange(self.num_samples, dtype=np.int64)
        usable, division = self.usable(chain), divided(every, chain.data.validation)
        return Division(
            np.intersect1d(division.trained, usable), np.intersect1d(division.held_out, usable)
        )

    def held_out_batches(self, chain: Chain) -> list[Ints]:
        """Held-out samples in whole batches, as many as [validation] allows; at least one.

        Raises:
            DataError: they do not fill a batch.
        """
        validation, count = chain.data.validation, chain.last.spec.train.batch_size
        if validation is None:
            return []
        held = self.samples(chain).held_out
        if len(held) < count:
            raise DataError(
                f"stage {chain.last.key}, [validation]",
                f"{len(held)} samples held out",
                f"at least one batch of {count}",
                "raise share, use more data or a smaller batch_size",
            )
        last = min(len(held) // count, validation.batches) * count
        return [held[at : at + count] for at in range(0, last, count)]

    @property
    def label(self) -> str:
        """The name of the labels that losses learn.

        Raises:
            NoLabelsError: the recipe names none.
        """
        if self.spec.label_column is None:
            found = "missing, and a loss of the recipe needs labels"
            cure = "name a column of labels, or choose a loss that needs none"
            raise NoLabelsError("data.toml label", found, cure=cure)
        return self.spec.label_column

    @property
    @abstractmethod
    def labels(self) -> Ints | None:
        """The label of everything stored of the split trained on, int64, where it has any."""

    @property
    @abstractmethod
    def stored(self) -> StoredViews | StoredMaps | StoredSpans:
        """What features.zarr holds of the split trained on."""

    @abstractmethod
    def store_form(self, chain: Chain) -> StoreForm:
        """What features.zarr of the last stage holds, but for what its encoding adds."""

    @abstractmethod
    def files(self, split: str) -> dict[str, Path]:
        """The files that hold a split, by the names that its fingerprint counts, in its order.

        Raises:
            DataError: there is no such split, or a file of it is missing or out of place.
        """

    def told(self, split: str) -> dict[str, str]:
        """What no file says of a split, such as which samples it has: digests by name."""
        return {}

    @property
    def written_sha256(self) -> Mapping[Path, str]:
        """What files that the tool has written itself held then, by their digests; none as a rule.

        Raises:
            DataError: as `files`.
        """
        return {}

    @property
    def phone_file(self) -> Path | None:
        """Where the phone labels are; None where there are none."""
        return None

    def notes(self) -> list[str]:
        """What a person should know of the files before they are trained on, a line each.

        Raises:
            DataError: the split trained on cannot be read.
        """
        return []

    def digests(self, runs: Path) -> Digests:
        """What the files hold, as it is remembered below the runs folder."""
        memo = memo_path(runs)
        if memo not in self._digests:
            self._digests[memo] = Digests(memo)
        return self._digests[memo]

    def fingerprint(self, split: str, runs: Path) -> str:
        """SHA-256 of a split's content, remembered below the runs folder; raises as `files`.

        UNKNOWN where the data is not made, OUTDATED where it was made of other files.
        """
        if not self.is_made:
            return OUTDATED if self.is_outdated else UNKNOWN
        return self.digests(runs).fingerprint(self.files(split), self.told(split))

    def phones_fingerprint(self, runs: Path) -> str | None:
        """SHA-256 of the phone labels; None where there are none, UNKNOWN where nothing is made."""
        if not self.is_made:
            return UNKNOWN
        return self.digests(runs).of([self.phone_file])[0] if self.phone_file else None

    def labels_sha256(self, label: str, per: Labels, split: str) -> str | None:
        """What a label tells of a split, as a digest; None where its files hold it, or it has none.

        UNKNOWN where the data is not made, as files that cannot be read may be left out of it.

        Raises:
            DataError: there is no such split, or its labels cannot be read.
        """
        if self.keeps_labels:
            return None
        if not self.is_made:
            return UNKNOWN
        asked = (label, per, split)
        if asked not in self._labels_sha256:
            self._labels_sha256[asked] = labels_digest(self.split(split), label, per)
        return self._labels_sha256[asked]

    def learned_sha256(self, per: Labels) -> str | None:
        """What the label that losses learn tells of the split trained on; as `labels_sha256`."""
        if self.spec.label_column is None:
            return None
        return self.labels_sha256(self.spec.label_column, per, self.spec.train_split)

    @abstractmethod
    def draws(self, chain: Chain) -> TrainingDraws:
        """What each step of the last stage's training sees."""

    @abstractmethod
    def source(self) -> Source:
        """A source of the raw pixels or samples."""

    @abstractmethod
    def feature_source(self, path: Path) -> Source:
        """A source of the features in a features.zarr."""

    @abstractmethod
    def recomputed_source(self, below: Source, module: EncoderModule, handoff: HandOff) -> Source:
        """What a frozen module makes of the source below."""


def looked_at(count: int) -> list[int]:
    """Some samples of so many, to see whether there is anything in them."""
    places = np.linspace(0, count - 1, min(count, LOOKED_AT))
    return sorted(set(map(int, places)))


def no_labels(places: Places) -> None:
    """The labels for objectives that need none: None."""


def given_folder(data: Path | None, files: str, fetch: str) -> Path:
    """The folder `--data` names.

    Raises:
        DataError: a recipe on real data without `--data`; says which files it needs.
    """
    if data is None:
        raise DataError("--data", "not given", f"the folder that holds {files}", fetch)
    return data
