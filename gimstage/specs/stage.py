"""`N_name.toml`: what one stage trains, on which loss, for how long, and what it hands on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator, model_validator

from gimstage.specs.base import Natural, Positive, Rate, Seed, Spec
from gimstage.specs.data import CropSpec

if TYPE_CHECKING:
    from gimstage.modules import Conv1dModule, ConvGRUModule, EncoderModule, GRUModule, ResNetModule
    from gimstage.objectives import InfoNCE


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
        from gimstage.modules import ResNetModule

        return ResNetModule(in_channels=in_channels, **self.model_dump(exclude={"kind"}))


class Conv1dSpec(Spec):
    """`[module] kind = "conv1d"`: a strided convolution over time, then ReLU."""

    kind: Literal["conv1d"]
    channels: Positive
    kernel: Positive
    stride: Positive
    padding: Natural

    def build(self, in_channels: int) -> Conv1dModule:
        """The module with torch's default initialisation, on the current default device."""
        from gimstage.modules import Conv1dModule

        return Conv1dModule(in_channels=in_channels, **self.model_dump(exclude={"kind"}))


class GRUSpec(Spec):
    """`[module] kind = "gru"`: a GRU that predicts the codes it reads.

    `bptt = false` detaches its state before every step (the ablation of table 4).
    """

    kind: Literal["gru"]
    channels: Positive
    bptt: bool

    def build(self, in_channels: int) -> GRUModule:
        """The module with torch's default initialisation, on the current default device."""
        from gimstage.modules import GRUModule

        return GRUModule(in_channels=in_channels, **self.model_dump(exclude={"kind"}))


class ConvGRUSpec(Spec):
    """`[module] kind = "conv1d_gru"`: a convolution and a GRU on it, trained together."""

    kind: Literal["conv1d_gru"]
    channels: Positive
    kernel: Positive
    stride: Positive
    padding: Natural
    hidden_channels: Positive
    bptt: bool

    def build(self, in_channels: int) -> ConvGRUModule:
        """The module with torch's default initialisation, on the current default device."""
        from gimstage.modules import ConvGRUModule

        return ConvGRUModule(in_channels=in_channels, **self.model_dump(exclude={"kind"}))


ModuleSpec = Annotated[ResNetSpec | Conv1dSpec | GRUSpec | ConvGRUSpec, Field(discriminator="kind")]


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
    context: GRUSpec | None = None

    @model_validator(mode="after")
    def _only_targets_can_be_excluded(self) -> InfoNCESpec:
        if self.exclude_positive and self.negative_source != "targets":
            found = f'exclude_positive = true with negative_source = "{self.negative_source}"'
            raise ValueError(f'{found}; expected "targets", the only source that can leave one out')
        return self

    def build(self, module: EncoderModule) -> InfoNCE:
        """The objective of a module's codes, with freshly initialised projections W_k."""
        from gimstage.objectives import InfoNCE

        context = None if self.context is None else self.context.build(module.out_channels)
        return InfoNCE(
            code_channels=module.code_channels,
            context_channels=context.out_channels if context else module.out_channels,
            context=context,
            **self.model_dump(exclude={"kind", "context"}),
        )

    def multiply_adds(self, length: int, parallel: int, module: EncoderModule) -> int:
        """Of projections and scores, for one sample's (length, parallel) codes and contexts."""
        window = min(length, self.window or length)
        anchors = parallel * sum(
            window - self.prediction_gap - k for k in range(1, self.prediction_steps + 1)
        )
        contexts, work = module.out_channels, 0
        if self.context is not None:
            work = self.context.build(contexts).multiply_adds((length * parallel, contexts))
            contexts = self.context.channels
        return work + anchors * module.code_channels * (contexts + 1 + self.num_negatives)


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
    """`N_name.toml`: one stage. `[views]`, of speech only, trains it on shorter crops."""

    input: int | str
    views: CropSpec | None = None
    module: ModuleSpec
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
