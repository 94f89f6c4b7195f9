"""The image data of a recipe: splits, labels, and the crops that stages are trained on.

Shape letters: N samples.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gimstage.data.splits import NO_LABEL, ImageSplit
from gimstage.inputs.base import (
    DataSet,
    Source,
    looked_at,
    no_labels,
)
from gimstage.inputs.cuts import Cuts, Pixels
from gimstage.inputs.draws import Places, TrainingDraws
from gimstage.inputs.grids import PatchCuts
from gimstage.inputs.handoff import HandOff
from gimstage.inputs.labels import refuse_unknown_classes
from gimstage.inputs.maps import MapCuts
from gimstage.modality.base import StoreForm
from gimstage.modules import EncoderModule
from gimstage.recipe.chain import Chain
from gimstage.specs import ImageDataSpec
from gimstage.views import Crops, Ints, Squares, StoredMaps, StoredViews, Windows


class Images(DataSet):
    """The image data of a recipe, whatever its source."""

    spec: ImageDataSpec

    @abstractmethod
    def split(self, name: str) -> ImageSplit:
        """A split of the data set; of what is not made, its counts and labels.

        Raises:
            DataError: there is no such split, or it cannot be read.
        """

    @cached_property
    def train(self) -> ImageSplit:
        """The split that stages are trained on."""
        return self.split(self.spec.train_split)

    @property
    def num_samples(self) -> int:
        """Images of the split trained on."""
        return len(self.train)

    @property
    def labels(self) -> Ints | None:
        """Their labels, (N,), where the split has any."""
        name = self.spec.label_column
        if name is None or name not in self.train.columns:
            return None
        return self.train.column(name).values

    @cached_property
    def _required_labels(self) -> Ints:
        """The labels that losses need; raises as `Split.column`."""
        return self.train.column(self.label).values

    @cached_property
    def cuts(self) -> Cuts:
        """How they are cut: as whole maps where data.toml names no patches."""
        whole = self.spec.views.patch_px is None
        return MapCuts(self.spec, self.train) if whole else PatchCuts(self.spec, self.train)

    @property
    def stored(self) -> StoredViews | StoredMaps:
        """What features.zarr holds of the split trained on."""
        return self.cuts.stored

    def store_form(self, chain: Chain) -> StoreForm:
        """What features.zarr of the last stage holds; see `DataSet`."""
        return self.cuts.store_form(chain, None if self.labels is None else len(self.labels))

    def notes(self) -> list[str]:
        """Whether the pictures show anything; see `DataSet`."""
        chosen = looked_at(len(self.train))
        blank = sum(map(self.train.blank, chosen))
        what = f"{blank} of {len(chosen)} images looked at are of one colour"
        return [f"split '{self.train.name}': {what}"] * (blank > 0)

    def usable(self, chain: Chain) -> Ints:
        """Every image, or those that have a label where one is needed."""
        if not chain.label_kinds:
            return np.arange(self.num_samples, dtype=np.int64)
        labels = self._required_labels
        labelled = np.flatnonzero(labels != NO_LABEL)
        where = f"{self.root}, split '{self.train.name}'"
        refuse_unknown_classes(labels[labelled], chain, where)
        return labelled

    def draws(self, chain: Chain) -> TrainingDraws:
        """Crops of the images for a first stage, of what is stored for the others."""
        train, views = chain.last.spec.train, self.cuts.views(chain)
        return TrainingDraws(
            samples=self.samples(chain).trained,
            batch_size=train.batch_size,
            seed=train.seed,
            size=views.size,
            draw=views.draw,
            labels=self._labels if chain.label_kinds else no_labels,
            held_out=[views.centre(batch) for batch in self.held_out_batches(chain)],
        )

    def _labels(self, places: Places) -> Tensor:
        assert isinstance(places, Crops | Windows | Squares)
        return torch.from_numpy(self._required_labels[places.sample])

    def source(self) -> Pixels:
        """The pixels of the split trained on."""
        return self.pixels(self.train)

    def pixels(self, split: ImageSplit) -> Pixels:
        """A source of the pixels of a split."""
        return self.cuts.pixels(split)

    def feature_source(self, path: Path) -> Source:
        """A source of the features in a features.zarr."""
        return self.cuts.feature_source(path)

    def recomputed_source(self, below: Source, module: EncoderModule, handoff: HandOff) -> Source:
        """What a frozen module makes of the source below."""
        return self.cuts.recomputed_source(below, module, handoff)
