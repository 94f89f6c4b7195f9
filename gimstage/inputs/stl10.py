"""Images in STL-10's layout, real or drawn by a demo."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from gimstage.data.demo import write_demo
from gimstage.data.kinds import left_notes
from gimstage.data.planned import PlannedImages
from gimstage.data.splits import ImageSplit
from gimstage.data.stl10 import Stl10Split, files, open_split, pictures_left
from gimstage.data.stl10_selections import FOLDS, JOINED, Stl10Selection, selection_files
from gimstage.data.titles import STL10_COUNTS, SYNTHETIC, images_title
from gimstage.errors import DataError
from gimstage.inputs.base import given_folder
from gimstage.inputs.images import Images
from gimstage.progress import Watch
from gimstage.specs import Stl10Spec


class Stl10Images(Images):
    """Images in STL-10's layout.

    Args:
        spec: the recipe's data.toml.
        root: folder in STL-10's binary layout.
    """

    spec: Stl10Spec

    @classmethod
    def find(cls, spec: Stl10Spec, data: Path | None, runs: Path) -> Stl10Images:
        """The folder `--data` names, or the demo's own below the runs folder.

        Raises:
            DataError: a recipe on real images without `--data`.
        """
        if spec.demo is None:
            fetch = "add --data DIR, or fetch the images: gimstage data download stl10 DIR"
            return cls(spec, given_folder(data, "unlabeled_X.bin, train_X.bin, …", fetch))
        if data is not None:
            return cls(spec, data)
        name = "demo-{unlabeled}-{train}-{test}-{seed}".format(**spec.demo.model_dump())
        return cls(spec, runs / "data" / name, own=True)

    def write(self, watch: Watch) -> None:
        """Write the demo's images, as many as the recipe says."""
        assert self.spec.demo is not None, "only a demo's own data is not made"
        write_demo(self.root, **self.spec.demo.model_dump())

    def split(self, name: str) -> ImageSplit:
        """A split of the data set, memory-mapped, or a selection of such; see `Images`."""
        if name == JOINED or name in FOLDS:
            return Stl10Selection(self.root, name, self._open)
        return self._open(name)

    def _open(self, name: str) -> Stl10Split:
        demo = self.spec.demo
        if demo is None or self.is_made:
            return open_split(self.root, name)
        count = demo.model_dump()[name]
        return PlannedImages(self.root, name, seed=demo.seed, count=count)

    @property
    def title(self) -> str:
        """Synthetic, STL-10 by the sizes of its splits, or somebody's own."""
        if self.own:
            return SYNTHETIC["images"]
        counts = {}
        for name in STL10_COUNTS:
            with suppress(DataError):  # not every data set has all of them
                counts[name] = len(self.split(name))
        return images_title(counts)

    def files(self, split: str) -> dict[str, Path]:
        """Images, and labels and names of classes where the split has any."""
        if split == JOINED or split in FOLDS:
            return selection_files(self.root, split)
        return files(self.root, split)

    def notes(self) -> list[str]:
        """Pictures that are not read, and whether those that are show anything; see `DataSet`."""
        return left_notes(pictures_left(self.root)) + super().notes()
