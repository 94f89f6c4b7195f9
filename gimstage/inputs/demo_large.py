"""Large synthetic images, drawn into a raw store when they are first worked on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from gimstage.data.demo_large import (
    CLASS,
    SPLITS,
    LargeSplit,
    draw_large,
    large_labels,
    large_layout,
)
from gimstage.data.files import require_room
from gimstage.data.rawstore import RawStore
from gimstage.data.rawwriter import RawWriter
from gimstage.data.titles import SYNTHETIC
from gimstage.inputs.images import Images
from gimstage.progress import Progress, Watch
from gimstage.runs.locks import exclusive
from gimstage.sizes import format_bytes
from gimstage.specs import DemoLargeSpec

_log = logging.getLogger(__name__)


class LargeImages(Images):
    """Large synthetic images.

    Args:
        spec: the recipe's data.toml.
        root: the folder of their raw store.
        own: whether it is the demo's own, written when it is first worked on.
    """

    spec: DemoLargeSpec

    @classmethod
    def find(cls, spec: DemoLargeSpec, data: Path | None, runs: Path) -> LargeImages:
        """The raw store that `--data` names, or the demo's own below the runs folder."""
        name = "demo-large-{}-{train}-{test}-{seed}.zarr".format(
            spec.size_px, **spec.demo.model_dump()
        )
        return cls(spec, data or runs / "data" / name, own=data is None)

    @property
    def is_made(self) -> bool:
        """Whether all images are there; an unfinished store is gone on with."""
        return not self.own or (self.root / "import.json").exists()

    @property
    def title(self) -> str:
        """What it is called beside figures taken on it: synthetic images."""
        return SYNTHETIC["images"]

    @cached_property
    def store(self) -> RawStore:
        """The finished store; there is none before the data is made."""
        return RawStore(self.root)

    @property
    def counts(self) -> dict[str, int]:
        """How many images every split has."""
        return {split: getattr(self.spec.demo, split) for split in SPLITS}

    def split(self, name: str) -> LargeSplit:
        """A split of the images, mapped; see `Images`."""
        demo = self.spec.demo
        return LargeSplit(
            self.root,
            name,
            seed=demo.seed,
            counts=self.counts,
            size_px=self.spec.size_px,
            store=self.store if self.is_made else None,
        )

    def files(self, split: str) -> dict[str, Path]:
        """The chunks of the store, whichever split is asked for."""
        return self.store.chunk_files

    @property
    def written_sha256(self) -> Mapping[Path, str]:
        """What the chunks held when they were written."""
        return self.store.written_sha256

    def told(self, split: str) -> dict[str, str]:
        """Which images of the store are a split's, and of which classes."""
        demo = self.spec.demo
        return {"samples": f"{split} of {demo.train} and {demo.test} from seed {demo.seed}"}

    def write(self, watch: Watch) -> None:
        """Draw the images from their seed, or go on with it; a row of progress says how far."""
        layout, total = large_layout(self.spec.size_px), sum(self.counts.values())
        with exclusive(self.root.parent):
            if self.is_made:  # another process was faster
                return
            require_room(self.root, total * layout.row_bytes, "the images")
            size = format_bytes(total * layout.row_bytes)
            _log.warning("%s: %d images are drawn, %s", self.root, total, size)
            writer = RawWriter(
                self.root, layout, self.spec.demo.model_dump() | {"size_px": self.spec.size_px}
            )
            self._draw(writer, watch)

    def _draw(self, writer: RawWriter, watch: Watch) -> None:
        seed, size_px = self.spec.demo.seed, self.spec.size_px
        done, total = len(writer.items), sum(self.counts.values())
        labels = {split: large_labels(seed, split, count) for split, count in self.counts.items()}
        every = [(split, number) for split, count in self.counts.items() for number in range(count)]
        for split, number in every[done:]:
            watch.leave_if_asked()
            label = int(labels[split][number])
            picture = draw_large(seed, split, number, label=label, size_px=size_px)
            writer.append(picture[None])
            writer.end_item({"id": f"{split}/{number}", "rows": 1})
            done += 1
            if watch.due() or done == total:
                watch.report(Progress("data draw", done, total, "images"))
        writer.finish({}, {"source": self.spec.source, "labels": CLASS})
