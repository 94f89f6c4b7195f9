"""`data.toml`: which samples, how normalised, how cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from gimstage.data.kinds import Kind
from gimstage.data.librispeech import FRAME_SAMPLES
from gimstage.data.utterances import SAMPLE_RATE_HZ
from gimstage.sizes.bounds import (
    MOST_UTTERANCES,
    ChannelCount,
    Frames,
    Images,
    Level,
    Positive,
    Seconds,
    Seed,
    Share,
    Spread,
    StoredCount,
    Voices,
)
from gimstage.specs.base import LATER, TRAINING, Spec
from gimstage.views import LiveViews, StoredSpans, StoredViews

STL10_PX = 96
ChannelNames = Literal["gray", "rgb"]
CHANNELS: dict[str | int, int] = {"gray": 1, "rgb": 3}


class ViewsSpec(Spec):
    """`[views]` of images: the crop every stage trains on, and the patches inside it.

    Without `patch_px` and `stride_px` modules read whole maps, and a stage may have smaller crops.
    With `cutout_px`, a first stage trains on crops with a square of zeros at a random place.
    """

    crop_px: Positive
    flip: bool
    patch_px: Annotated[Positive | None, LATER] = None
    stride_px: Annotated[Positive | None, LATER] = None
    cutout_px: Annotated[Positive | None, LATER, TRAINING] = None

    @model_validator(mode="after")
    def _patches_go_with_a_stride(self) -> ViewsSpec:
        given = [key for key in ("patch_px", "stride_px", "cutout_px") if getattr(self, key)]
        if given not in ([], ["patch_px", "stride_px"], ["patch_px", "stride_px", "cutout_px"]):
            found = f"{' and '.join(given)} alone"
            raise ValueError(f"{found}; expected patch_px and stride_px, or neither for whole maps")
        return self


class StoredViewsSpec(Spec):
    """`[stored_views]` of images: what features.zarr holds of each sample.

    `kind = "grid"` stores `patches` × `patches` patches, from which training cuts a crop at every
    step; `kind = "crops"` stores crops that never move.
    """

    kind: Literal["grid", "crops"]
    patches: Positive | None = None
    count: StoredCount
    seed: Seed

    @model_validator(mode="after")
    def _patches_go_with_grid(self) -> StoredViewsSpec:
        if (self.kind == "grid") != (self.patches is not None):
            found = f'kind = "{self.kind}" {"without" if self.patches is None else "with"} patches'
            raise ValueError(f'{found}; expected patches with kind = "grid", and only there')
        return self


class DemoSpec(Spec):
    """`[demo]`: how many synthetic images of each split are written, from which seed."""

    seed: Seed
    unlabeled: Images
    train: Images
    test: Images


class ValidationSpec(Spec):
    """`[validation]`: samples of the training split that no stage trains on.

    Their loss is taken after the first step and then up to `evaluations` times in the course of
    every training, on at most `batches` batches of them.
    """

    share: Share
    seed: Seed
    evaluations: Positive
    batches: Positive


class _DataSpec(Spec):
    """What both kinds of data.toml have.

    Attributes:
        kind: the kind of data.
        layout: the source of real data that data of every source lies on disk as.
        sample_name: what one sample is called in messages, such as "utterance".
        data_name: what all of them are, such as "speech".
        untold: values for keys that must be there and that no identity tells.
        algorithm: version of the numbers of views.
    """

    kind: ClassVar[Kind]
    layout: ClassVar[str]
    sample_name: ClassVar[str]
    data_name: ClassVar[str]
    untold: ClassVar[Mapping[str, Any]] = {}
    algorithm: ClassVar[int] = 1

    source: str
    train_split: str
    validation: Annotated[ValidationSpec | None, LATER, TRAINING] = None

    @property
    def synthetic(self) -> bool:
        """Whether the recipe itself says what its data are, so that no `--data` is needed."""
        return getattr(self, "demo", None) is not None

    @model_validator(mode="after")
    def _demo_goes_with_its_source(self) -> _DataSpec:
        if self.source.startswith("demo_") != self.synthetic:
            found = f'source = "{self.source}" {"with" if self.synthetic else "without"} [demo]'
            raise ValueError(f'{found}; expected [demo] with "demo_…", and only there')
        return self


class ImageDataSpec(_DataSpec):
    """Square images of one size, in STL-10's layout unless a source says otherwise."""

    kind = "images"
    sample_name = "image"
    data_name = "images"
    layout = "stl10"
    source: str
    train_split: str
    channels: ChannelNames | ChannelCount
    mean: list[Level]
    std: list[Spread]
    views: ViewsSpec
    stored_views: Annotated[StoredViewsSpec | None, LATER, TRAINING] = None

    @model_validator(mode="after")
    def _stored_views_go_with_patches(self) -> ImageDataSpec:
        if (self.stored_views is None) != (self.views.patch_px is None):
            found = "with" if self.stored_views else "without"
            raise ValueError(
                f"[views] {'without' if self.stored_views else 'with'} patch_px, and {found} "
                "[stored_views]; expected both, or neither: maps are stored whole"
            )
        return self

    @field_validator("mean", "std")
    @classmethod
    def _one_per_channel(cls, values: list[float], info: Any) -> list[float]:
        channels = info.data.get("channels", len(values))
        wanted = CHANNELS.get(channels, channels)
        if len(values) != wanted:
            raise ValueError(f"{wanted} numbers, one per channel")
        return values

    @property
    def image_px(self) -> int:
        """The side of every image in pixels."""
        return STL10_PX

    @property
    def raw_channels(self) -> int:
        """The channels that pixels are stored in, whatever the recipe makes of them."""
        return 3

    @property
    def label_column(self) -> str | None:
        """Which label supervised losses learn, and features.zarr keeps."""
        return "class"

    def live_views(self) -> LiveViews:
        """The crops that stage 1 is trained on."""
        return LiveViews(image_px=self.image_px, **self.views.model_dump())

    def cached_views(self, num_samples: int) -> StoredViews:
        """The views features.zarr holds of a split of `num_samples` images."""
        live, stored = self.live_views(), self.stored_views
        assert stored is not None, "images as whole maps have no stored views"
        return StoredViews(
            live=live,
            patches=stored.patches or live.crop_patches,
            count=stored.count,
            seed=stored.seed,
            num_samples=num_samples,
        )

    @property
    def in_channels(self) -> int:
        """Channels of a first module's input."""
        return len(self.mean)


class Stl10Spec(ImageDataSpec):
    """Images in STL-10's layout, or synthetic ones."""

    source: Literal["stl10", "demo_images"]
    train_split: Literal["unlabeled", "train", "test", "train+unlabeled"]
    channels: ChannelNames
    demo: Annotated[DemoSpec | None, TRAINING] = None


class CropSpec(Spec):
    """`[views]` of speech: the length of the crops trained on, in frames of 10 ms."""

    crop_frames: Frames


class StoredSpansSpec(Spec):
    """`[stored_views]` of speech: what features.zarr holds of each utterance.

    `kind = "utterances"` stores whole utterances, from which training cuts a crop at every step;
    `kind = "crops"` stores `count` crops of each that never move, drawn from `seed`.
    """

    kind: Literal["utterances", "crops"]
    count: StoredCount | None = None
    seed: Seed | None = None

    @model_validator(mode="after")
    def _draws_go_with_crops(self) -> StoredSpansSpec:
        given = {key for key in ("count", "seed") if getattr(self, key) is not None}
        if given != ({"count", "seed"} if self.kind == "crops" else set()):
            found = f'kind = "{self.kind}" with {" and ".join(sorted(given)) or "no count"}'
            raise ValueError(
                f'{found}; expected count and seed with kind = "crops", and only there'
            )
        return self


class SpeechDemoSpec(Spec):
    """`[demo]`: how many synthetic speakers and utterances of each are written, from which seed.

    `seconds` are the shortest and the longest that an utterance may be.
    """

    seed: Seed
    speakers: Voices
    train: Voices
    test: Voices
    seconds: Annotated[list[Seconds] | None, LATER, Field(min_length=2, max_length=2)] = None

    @field_validator("seconds")
    @classmethod
    def _rising(cls, values: list[float] | None) -> list[float] | None:
        if values is not None and values != sorted(values):
            raise ValueError("the shortest and the longest, in this order")
        return values

    @model_validator(mode="after")
    def _not_too_many(self) -> SpeechDemoSpec:
        utterances = self.speakers * (self.train + self.test)
        if utterances > MOST_UTTERANCES:
            raise ValueError(f"{utterances:,} utterances; expected at most {MOST_UTTERANCES:,}")
        return self


class SequenceDataSpec(_DataSpec):
    """Sequences: rows of one or more channels in time, whichever source they are of.

    A *frame* is a whole number of rows; crops begin at frames and are so many of them long.

    Attributes:
        frame_name: what a frame is, in names of attributes: "10_ms", or "frame".
        frame_text: what it is in messages: "10 ms", or "a frame".
        is_sound: whether rows are samples of sound, which is shown as a spectrogram.
        row_name: what rows of raw data are called in messages, such as "samples".
        sample_bytes: bytes of one value as it lies on the disk.
    """

    kind = "speech"
    sample_name: ClassVar[str] = "sequence"
    data_name: ClassVar[str] = "sequences"
    frame_name: ClassVar[str] = "10_ms"
    frame_text: ClassVar[str] = "10 ms"
    is_sound: ClassVar[bool] = True
    row_name: ClassVar[str] = "samples"
    sample_bytes: ClassVar[int] = 2
    mean: Any
    std: Any
    views: CropSpec
    stored_views: Annotated[StoredSpansSpec, TRAINING]

    if TYPE_CHECKING:  # keys of some tables, and facts of others

        @property
        def frame_rows(self) -> int:
            """Rows of raw data in a frame."""

        @property
        def rate_hz(self) -> float | None:
            """Rows of raw data in a second; None where nobody says."""

        @property
        def in_channels(self) -> int:
            """Channels of every row, C."""

    @property
    def label_column(self) -> str | None:
        """Which label supervised losses learn, and features.zarr keeps; None for none."""
        return getattr(self, "label", None)

    def cached_views(self, frames: Any) -> StoredSpans:
        """What features.zarr holds of sequences of so many frames, (N,) int64."""
        stored = self.stored_views
        return StoredSpans(
            frames=frames,
            crop_frames=self.views.crop_frames if stored.kind == "crops" else None,
            count=stored.count or 1,
            seed=stored.seed or 0,
        )

    def whole_utterances(self, frames: Any) -> StoredSpans:
        """Sequences of so many frames, (N,) int64, as entries of themselves."""
        return StoredSpans(frames=frames, crop_frames=None, count=1, seed=0)

    def normalise(self, rows: NDArray[np.float32]) -> None:
        """Make rows (…, C) of raw data what a first module reads, in place."""
        rows -= np.asarray(self.mean, np.float32)
        rows /= np.asarray(self.std, np.float32)


class SpeechDataSpec(SequenceDataSpec):
    """Utterances in LibriSpeech's layout at 16 kHz, or synthetic ones.

    `subsets` names the folders of speakers that are taken, such as "train-clean-100"; all of them
    where there is no such key. `join = "chapters"` takes a chapter, its utterances end to end, for
    one sequence.
    """

    layout = "librispeech"
    sample_name: ClassVar[str] = "utterance"
    data_name: ClassVar[str] = "speech"
    label_column: ClassVar[str] = "speaker"
    frame_rows: ClassVar[int] = FRAME_SAMPLES
    rate_hz: ClassVar[float] = SAMPLE_RATE_HZ
    in_channels: ClassVar[int] = 1
    source: Literal["librispeech", "demo_speech"]
    train_split: Literal["train", "test"]
    mean: Level
    std: Spread
    subsets: Annotated[list[str] | None, LATER, Field(min_length=1, max_length=1_000)] = None
    join: Annotated[Literal["chapters"] | None, LATER] = None
    demo: Annotated[SpeechDemoSpec | None, TRAINING] = None


DataSpec = ImageDataSpec | SequenceDataSpec
# By `source`, as each spec says itself which it is for.
DATA_SPECS: dict[str, type[DataSpec]] = {
    source: spec
    for spec in (Stl10Spec, SpeechDataSpec)
    for source in get_args(spec.model_fields["source"].annotation)
}
