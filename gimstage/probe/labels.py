"""Probes of labels by name: of images, of sequences; image classes and speakers are two of them.

Shape letters: N samples, V crops of each, F features of a crop.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gimstage.data.splits import SequenceSplit, Split
from gimstage.inputs import DataSet, Images, Pixels, Places, Sequences
from gimstage.probe.base import Floats, Stacks
from gimstage.probe.crops import (
    BATCH_CROPS,
    BATCH_POSITIONS,
    MFCCS,
    PIXELS,
    CropProbe,
    Protocol,
    Reading,
    by_view,
    drawn_views,
    in_batches,
    mean_code,
)
from gimstage.probe.mfcc import mfcc_of
from gimstage.probe.pieces import PIECE_FRAMES, mean_codes, mean_mfccs, reader
from gimstage.probe.told import refuse_unseen
from gimstage.specs import ClassProbeSpec, LabelProbeSpec, SpeakerProbeSpec
from gimstage.views import Ints, LiveSpans


class ImageProbe(CropProbe):
    """A label of images; arguments and errors as of `CropProbe`."""

    def __init__(
        self, spec: ClassProbeSpec | LabelProbeSpec, images: Images, **settings: Any
    ) -> None:
        super().__init__(spec, images, **settings)
        self.images, self.baseline = images, PIXELS if spec.pixels else None

    def read(
        self, role: str, protocol: Protocol | None, stacks: Stacks, *, reading: Reading
    ) -> dict[str, Floats]:
        """Crops whole and uncut, whatever training does with them."""
        split, views = self.images.split(self.splits[role].name), self.images.cuts.probed()
        samples = self.kept[role]
        crops = [views.centre(samples)]
        if role == "train":
            crops = [views.draw(rng, samples) for rng in drawn_views(protocol)]
        count = min(BATCH_CROPS, max(1, BATCH_POSITIONS // views.size**2))
        source, batches = self.images.pixels(split), [in_batches(view, count) for view in crops]
        codes = self._encoded(source, views.size, batches, reading=reading, stacks=stacks)
        if self.baseline:
            codes[PIXELS] = self._pixels(source, batches)
        return codes

    def _pixels(self, source: Pixels, crops: list[list[Places]]) -> Floats:
        """Normalised pixels of every crop, (V, N, channels · px²)."""
        buffer = source.buffer(len(crops[0][0]), self.images.cuts.probed().size)
        parts = [
            source.normalised(source.fill(buffer, batch)).flatten(1).numpy()
            for view in crops
            for batch in view
        ]
        return by_view(parts, len(crops))


class ClassProbe(ImageProbe):
    """The class of an image; chance is one of all classes, whichever are there."""

    def __init__(self, spec: ClassProbeSpec, images: Images, **settings: Any) -> None:
        super().__init__(spec, images, **settings)
        self.chance = 1 / len(self.classes)


class SequenceProbe(CropProbe):
    """A label of sequences; arguments and errors as of `CropProbe`."""

    def __init__(
        self, spec: SpeakerProbeSpec | LabelProbeSpec, data: Sequences[Any], **settings: Any
    ) -> None:
        self.data, self.mfcc = data, mfcc_of(spec.mfcc, data.spec)
        super().__init__(spec, data, **settings)
        self.baseline = MFCCS if spec.mfcc else None

    def usable(self, split: Split) -> Ints:
        """The sequences that are as long as a crop."""
        assert isinstance(split, SequenceSplit)
        return self.data.long_enough(split)

    def read(
        self, role: str, protocol: Protocol | None, stacks: Stacks, *, reading: Reading
    ) -> dict[str, Floats]:
        """Crops as long as those trained on."""
        split, spec = self.data.split(self.splits[role].name), self.data.spec
        frames, frame_rows = spec.views.crop_frames, spec.frame_rows
        whole = split.samples[self.kept[role]] // frame_rows
        stored = spec.whole_utterances(whole)
        samples = np.arange(len(stored.frames), dtype=np.int64)
        # GIM: audio/linear_classifiers/logistic_regression_speaker.py tests on random crops.
        starts = [stored.centre(samples, frames)[1]]
        if role == "train":
            starts = [stored.draw(rng, samples, frames)[1] for rng in drawn_views(protocol)]
        if frames > PIECE_FRAMES and reading is mean_code:
            return self._in_pieces(role, starts, stacks)
        source = self.data.waves(split, self.kept[role], stored)
        count = frames * frame_rows
        batches = [in_batches(LiveSpans(samples, start * frame_rows, count)) for start in starts]
        codes = self._encoded(source, count, batches, reading=reading, stacks=stacks)
        if self.mfcc:
            read = [
                reading(self.mfcc(x[..., 0])).cpu().numpy()
                for x in self._read(source, count, batches)
            ]
            codes[MFCCS] = by_view(read, len(batches))
        return codes

    def _in_pieces(self, role: str, starts: list[Ints], stacks: Stacks) -> dict[str, Floats]:
        """Mean codes of long crops, (V, N, F) by name, one crop at a time in constant memory."""
        split, spec = self.data.split(self.splits[role].name), self.data.spec
        frames, frame_rows = spec.views.crop_frames, spec.frame_rows
        gathered: dict[str, list[Floats]] = {}
        for view in starts:
            for index, start in zip(self.kept[role], view, strict=True):
                self.watch.leave_if_asked()
                read = reader(split, int(index), spec, int(start) * frame_rows)
                how = {"frames": frames, "frame_rows": frame_rows}
                found = mean_codes(stacks, read, device=self.device, **how)
                if self.mfcc:
                    how = {"samples": frames * frame_rows, "frame_rows": frame_rows}
                    found[MFCCS] = mean_mfccs(self.mfcc, read, **how)
                for name, code in found.items():
                    gathered.setdefault(name, []).append(code[None].numpy())
        return {name: by_view(parts, len(starts)) for name, parts in gathered.items()}


class SpeakerProbe(SequenceProbe):
    """Who speaks; chance is one of the speakers trained on.

    Raises:
        NoLabelsError: an utterance of the test is of a speaker that training never heard.
    """

    def __init__(self, spec: SpeakerProbeSpec, data: Sequences[Any], **settings: Any) -> None:
        super().__init__(spec, data, **settings)
        self.chance = 1 / len(np.unique(self.labels["train"]))

    def refuse(self) -> None:
        """Refuse speakers that training never heard, too."""
        refuse_unseen(self.spec.label, self.splits, [self.classes[each] for each in self.unseen])
        super().refuse()


def label_probe(spec: LabelProbeSpec, data: DataSet, **settings: Any) -> CropProbe:
    """The probe of a label, as the kind of the data asks; arguments and errors as of both."""
    if isinstance(data, Images):
        return ImageProbe(spec, data, **settings)
    assert isinstance(data, Sequences)
    return SequenceProbe(spec, data, **settings)
