"""What may stand in a recipe's TOML files: one frozen model per table, no key without a meaning.

Every number that changes a result is a required key, so a TOML file shows all of them; unknown keys
are refused. A spec builds its part with plain keyword arguments, and no part ever sees a spec.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gimstage.views import LiveViews, StoredViews

if TYPE_CHECKING:
    from gimstage.modules.resnet import ResNetModule
    from gimstage.objectives.infonce import InfoNCE

Positive = Annotated[int, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Share = Annotated[float, Field(gt=0, lt=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Shape = tuple[int, int, int]

STL10_PX = 96


class Spec(BaseModel):
    """A TOML table: frozen, strict, nothing unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ViewsSpec(Spec):
    """`[views]`: the crop every stage trains on, and the patches inside it."""

    crop_px: Positive
    flip: bool
    patch_px: Positive
    stride_px: Positive


class StoredViewsSpec(Spec):
    """`[stored_views]`: what features.zarr holds of each sample.

    `kind = "grid"` stores `patches` × `patches` patches, from which training cuts a crop at every
    step; `kind = "crops"` stores crops that never move.
    """

    kind: Literal["grid", "crops"]
    patches: Positive | None = None
    count: Positive
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
    unlabeled: Positive
    train: Positive
    test: Positive


class DataSpec(Spec):
    """`data.toml`: which images, how normalised, how cut."""

    source: Literal["stl10", "demo_images"]
    train_split: Literal["unlabeled", "train", "test"]
    channels: Literal["gray", "rgb"]
    mean: list[float]
    std: list[Rate]
    views: ViewsSpec
    stored_views: StoredViewsSpec
    demo: DemoSpec | None = None

    @field_validator("mean", "std")
    @classmethod
    def _one_per_channel(cls, values: list[float], info: Any) -> list[float]:
        wanted = {"gray": 1, "rgb": 3}.get(info.data.get("channels", ""), len(values))
        if len(values) != wanted:
            raise ValueError(f"{wanted} numbers, one per channel")
        return values

    @model_validator(mode="after")
    def _demo_goes_with_its_source(self) -> DataSpec:
        if (self.source == "demo_images") != (self.demo is not None):
            found = f'source = "{self.source}" {"without" if self.demo is None else "with"} [demo]'
            raise ValueError(f'{found}; expected [demo] with "demo_images", and only there')
        return self

    def live_views(self) -> LiveViews:
        """The crops of stage 1."""
        return LiveViews(image_px=STL10_PX, **self.views.model_dump())

    def cached_views(self, num_samples: int) -> StoredViews:
        """The views features.zarr holds of a split of `num_samples` images."""
        live, stored = self.live_views(), self.stored_views
        return StoredViews(
            live=live,
            patches=stored.patches or live.crop_patches,
            count=stored.count,
            seed=stored.seed,
            num_samples=num_samples,
        )

    @property
    def patch_shape(self) -> Shape:
        """(channels, height, width) of one patch, the input of a first module."""
        return (len(self.mean), self.views.patch_px, self.views.patch_px)


class ResNetSpec(Spec):
    """`[module] kind = "resnet"`: a run of pre-activation blocks, with a stem or without."""

    kind: Literal["resnet"]
    block: Literal["bottleneck", "basic"]
    stem_channels: Positive | None = None
    width: Positive
    blocks: Positive
    stride: Annotated[int, Field(ge=1, le=2)]

    def build(self, in_channels: int) -> ResNetModule:
        """The module with torch's default initialisation, on the current default device."""
        from gimstage.modules.resnet import ResNetModule

        return ResNetModule(in_channels=in_channels, **self.model_dump(exclude={"kind"}))


class InfoNCESpec(Spec):
    """`[objective] kind = "infonce"`: the contrastive loss of the paper (its equation 4)."""

    kind: Literal["infonce"]
    prediction_steps: Positive
    prediction_gap: Natural
    num_negatives: Positive
    negative_source: Literal["targets", "batch", "sequence"]
    exclude_positive: bool
    projection: Literal["target", "context"]
    probability_floor: Annotated[float, Field(ge=0, lt=1)]
    window: Positive | None = None

    @model_validator(mode="after")
    def _only_targets_can_be_excluded(self) -> InfoNCESpec:
        if self.exclude_positive and self.negative_source != "targets":
            found = f'exclude_positive = true with negative_source = "{self.negative_source}"'
            raise ValueError(f'{found}; expected "targets", the only source that can leave one out')
        return self

    def build(self, code_channels: int) -> InfoNCE:
        """The objective with freshly initialised projections W_k."""
        from gimstage.objectives.infonce import InfoNCE

        return InfoNCE(
            code_channels=code_channels,
            context_channels=code_channels,
            **self.model_dump(exclude={"kind"}),
        )

    def multiply_adds(self, length: int, parallel: int, channels: int) -> int:
        """Of projections and scores, for one sample's (length, parallel, channels) codes."""
        length = min(length, self.window or length)
        anchors = parallel * sum(
            length - self.prediction_gap - k for k in range(1, self.prediction_steps + 1)
        )
        return anchors * channels * (channels + 1 + self.num_negatives)


class TrainSpec(Spec):
    """`[train]`: Adam (0.9, 0.999, 1e-8), no weight decay, constant learning rate; for how long."""

    learning_rate: Rate
    batch_size: Positive
    epochs: Positive | None = None
    steps: Positive | None = None
    seed: Seed
    precision: Literal["float32", "bfloat16"]

    @model_validator(mode="after")
    def _epochs_or_steps(self) -> TrainSpec:
        if (self.epochs is None) == (self.steps is None):
            found = "neither epochs nor steps" if self.epochs is None else "both epochs and steps"
            raise ValueError(f"{found}; expected exactly one of them")
        return self

    def total_steps(self, num_samples: int) -> int:
        """Optimiser steps of the whole training; an incomplete last batch is dropped."""
        return self.steps or (self.epochs or 0) * (num_samples // self.batch_size)


class OutputSpec(Spec):
    """`[output]`: what is handed to the next stage, and whether it lies on disk or is recomputed.

    `store` says where the numbers come from, never which they are: with "none" the next stage
    recomputes what features.zarr would have held, rounding included.
    """

    store: Literal["features", "none"]
    encoding: Literal["float16", "float16_zstd", "round5", "uint8", "float32"]
    relu: bool
    codes: bool

    @model_validator(mode="after")
    def _ranges_need_a_store(self) -> OutputSpec:
        if self.store == "none" and self.encoding == "uint8":
            found = 'encoding = "uint8" with store = "none"'
            raise ValueError(
                f"{found}; expected another encoding: its ranges lie with the features"
            )
        return self


class StageSpec(Spec):
    """`N_name.toml`: one stage."""

    input: int | str
    module: ResNetSpec
    objective: InfoNCESpec
    train: TrainSpec
    output: OutputSpec

    @field_validator("input")
    @classmethod
    def _input_names_data_or_a_stage(cls, value: int | str) -> int | str:
        if isinstance(value, str) and value.isdigit():
            return int(value)
        if isinstance(value, str) and not re.fullmatch(r"data|[A-Za-z0-9][\w.-]*/\d+", value):
            raise ValueError('"data", the number of a stage, or "RECIPE/NUMBER"')
        return value


class PaperProtocol(Spec):
    """`[paper]`: Adam on raw codes, fresh crops and flips as training data (gim.md 1.8)."""

    learning_rate: Rate
    batch_size: Positive
    epochs: Positive
    views: Positive
    seed: Seed


class ConvergedProtocol(Spec):
    """`[converged]`: standardised codes, logistic regression to convergence, L2 by validation."""

    views: Positive
    l2: Annotated[list[Rate], Field(min_length=1)]
    validation_share: Share
    seed: Seed


class ProbeSpec(Spec):
    """`probe*.toml`: linear classifiers on the frozen stack's codes."""

    inputs: Annotated[list[int | str], Field(min_length=1)]
    task: Literal["class"]
    train_split: Literal["train", "test"]
    test_split: Literal["train", "test"]
    pixels: bool
    paper: PaperProtocol | None = None
    converged: ConvergedProtocol | None = None

    @model_validator(mode="after")
    def _some_protocol(self) -> ProbeSpec:
        if self.paper is None and self.converged is None:
            raise ValueError("no protocol; expected a table [paper] or [converged], or both")
        return self
