"""What a stage is made of: tables of modules, `[module]` or `[[modules]]`, and of objectives.

A spec builds its part with plain keyword arguments, and no part ever sees a spec.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, cast, get_args

from pydantic import Field, model_validator

from gimstage.specs.base import Natural, Positive, Shape, Spec

if TYPE_CHECKING:
    from gimstage.modules import (
        Conv1dModule,
        ConvGRUModule,
        EncoderModule,
        FoldedAlexNet,
        GRUModule,
        Identity,
        PixelCNN,
        PixelCNNModule,
        ResNetModule,
        VGGLayer,
    )
    from gimstage.objectives import DeepInfoMax, InfoNCE, Predsim, Supervised


class _ModuleSpec(Spec):
    """What every table of a module may have besides its own keys, in `mode = "isolated"` only.

    `update_every = n` updates the module at every n-th step; `objective` is its own loss, where it
    is another than the stage's.
    """

    objective: ObjectiveSpec | None = None
    update_every: Positive | None = None

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of the module it builds."""
        return self.model_dump(exclude={"kind", "objective", "update_every"})


class ResNetSpec(_ModuleSpec):
    """`kind = "resnet"`: a run of pre-activation blocks, with a stem or without."""

    kind: Literal["resnet"]
    block: Literal["bottleneck", "basic"]
    stem_channels: Positive | None = None
    width: Positive
    blocks: Positive
    stride: Annotated[int, Field(ge=1, le=2)]

    def build(self, in_channels: int) -> ResNetModule:
        """The module with torch's default initialisation, on the current default device."""
        from gimstage.modules import ResNetModule

        return ResNetModule(in_channels=in_channels, **self.arguments())


class PixelCNNSpec(_ModuleSpec):
    """`kind = "pixelcnn"`: a PixelCNN that predicts the codes it reads."""

    kind: Literal["pixelcnn"]
    layers: Positive

    def build(self, in_channels: int) -> PixelCNNModule:
        """The module with torch's default initialisation, on the current default device."""
        from gimstage.modules import PixelCNNModule

        return PixelCNNModule(in_channels=in_channels, **self.arguments())


class FoldedAlexNetSpec(_ModuleSpec):
    """`kind = "folded_alexnet"`: the encoder of Deep InfoMax."""

    kind: Literal["folded_alexnet"]
    widths: Annotated[list[Positive], Field(min_length=5, max_length=5)]
    global_channels: Positive

    def build(self, in_channels: int) -> FoldedAlexNet:
        """The module with torch's default initialisation, on the current default device."""
        from gimstage.modules import FoldedAlexNet

        return FoldedAlexNet(in_channels=in_channels, **self.arguments())


class VGGLayerSpec(_ModuleSpec):
    """`kind = "vgg_layer"`: a hidden layer of VGG8B, the network of Predsim."""

    kind: Literal["vgg_layer"]
    channels: Positive
    kernel: Positive
    stride: Positive
    padding: Natural
    max_pool: bool
    dropout: Annotated[float, Field(ge=0, lt=1)]

    def build(self, in_channels: int) -> VGGLayer:
        """The module with torch's default initialisation, on the current default device."""
        from gimstage.modules import VGGLayer

        return VGGLayer(in_channels=in_channels, **self.arguments())


class IdentitySpec(_ModuleSpec):
    """`kind = "identity"`: nothing; its loss reads what the module before hands on."""

    kind: Literal["identity"]

    def build(self, in_channels: int) -> Identity:
        """The module."""
        from gimstage.modules import Identity

        return Identity(in_channels=in_channels)


class Conv1dSpec(_ModuleSpec):
    """`kind = "conv1d"`: a strided convolution over time, then ReLU."""

    kind: Literal["conv1d"]
    channels: Positive
    kernel: Positive
    stride: Positive
    padding: Natural

    def build(self, in_channels: int) -> Conv1dModule:
        """The module with torch's default initialisation, on the current default device."""
        from gimstage.modules import Conv1dModule

        return Conv1dModule(in_channels=in_channels, **self.arguments())


class GRUSpec(_ModuleSpec):
    """`kind = "gru"`: a GRU that predicts the codes it reads.

    `bptt = false` detaches its state before every step (the ablation of table 4).
    """

    kind: Literal["gru"]
    channels: Positive
    bptt: bool

    def build(self, in_channels: int) -> GRUModule:
        """The module with torch's default initialisation, on the current default device."""
        from gimstage.modules import GRUModule

        return GRUModule(in_channels=in_channels, **self.arguments())


class ConvGRUSpec(_ModuleSpec):
    """`kind = "conv1d_gru"`: a convolution and a GRU on it, trained together."""

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

        return ConvGRUModule(in_channels=in_channels, **self.arguments())


class GRUContextSpec(Spec):
    """`[objective.context] kind = "gru"`: a GRU of its own on each module, of speech."""

    kind: Literal["gru"]
    channels: Positive
    bptt: bool

    def build(self, in_channels: int) -> GRUModule:
        """The context module, likewise."""
        from gimstage.modules import GRUModule

        return GRUModule(in_channels=in_channels, channels=self.channels, bptt=self.bptt)

    def multiply_adds(self, length: int, parallel: int, channels: int) -> int:
        """Of contexts for one sample's (length, parallel) codes."""
        import torch

        with torch.device("meta"):
            return self.build(channels).multiply_adds((length * parallel, channels))


class PixelCNNContextSpec(Spec):
    """`[objective.context] kind = "pixelcnn"`: the aggregator of CPC on images."""

    kind: Literal["pixelcnn"]
    layers: Positive

    def build(self, in_channels: int) -> PixelCNN:
        """The context module, likewise."""
        from gimstage.modules import PixelCNN

        return PixelCNN(in_channels, self.layers)

    def multiply_adds(self, length: int, parallel: int, channels: int) -> int:
        """Of contexts for one sample's (length, parallel) codes."""
        import torch

        with torch.device("meta"):
            return self.build(channels).multiply_adds((length, parallel, channels))


ContextSpec = Annotated[GRUContextSpec | PixelCNNContextSpec, Field(discriminator="kind")]


class _ObjectiveSpec(Spec):
    """What every table of an objective has."""

    @property
    def labelled(self) -> str | None:
        """What it needs labels of: a "sample", a "frame", or None for nothing."""
        return None


class InfoNCESpec(_ObjectiveSpec):
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
    context: ContextSpec | None = None

    @model_validator(mode="after")
    def _only_targets_can_be_excluded(self) -> InfoNCESpec:
        if self.exclude_positive and self.negative_source != "targets":
            found = f'exclude_positive = true with negative_source = "{self.negative_source}"'
            raise ValueError(f'{found}; expected "targets", the only source that can leave one out')
        return self

    def build(self, module: EncoderModule, shape: Shape, frames: int | None) -> InfoNCE:
        """The objective of a module's codes, with freshly initialised projections W_k.

        Args:
            module: whose codes it reads.
            shape: of one unit of the module's input.
            frames: of 10 ms in a crop of speech; None for images.
        """
        from gimstage.objectives import InfoNCE

        context = None if self.context is None else self.context.build(module.out_channels)
        return InfoNCE(
            code_channels=module.code_channels,
            context_channels=context.out_channels if context else module.out_channels,
            context=context,
            **self.model_dump(exclude={"kind", "context"}),
        )

    def multiply_adds(self, length: int, parallel: int, module: EncoderModule, shape: Shape) -> int:
        """Of projections and scores, for one sample's (length, parallel) codes and contexts.

        Args:
            length: of the axis predicted along.
            parallel: of the other one.
            module: whose codes they are.
            shape: of one unit of its input.
        """
        window = min(length, self.window or length)
        anchors = parallel * sum(
            window - self.prediction_gap - k for k in range(1, self.prediction_steps + 1)
        )
        contexts, work = module.out_channels, 0
        if self.context is not None:
            work = self.context.multiply_adds(length, parallel, contexts)
            contexts = getattr(self.context, "channels", contexts)
        return work + anchors * module.code_channels * (contexts + 1 + self.num_negatives)


class SupervisedSpec(_ObjectiveSpec):
    """`[objective] kind = "supervised"`: cross-entropy of a linear classifier.

    `per` says what has a label: an image or an utterance ("sample"), or every 10 ms of speech, a
    phone ("frame"). Label t is that of frame t + `offset`, as in a phone probe.
    """

    kind: Literal["supervised"]
    num_classes: Annotated[int, Field(ge=2)]
    per: Literal["sample", "frame"]
    offset: Natural | None = None

    @model_validator(mode="after")
    def _offset_goes_with_frames(self) -> SupervisedSpec:
        if (self.per == "frame") != (self.offset is not None):
            found = f'per = "{self.per}" {"without" if self.offset is None else "with"} offset'
            raise ValueError(f'{found}; expected offset with per = "frame", and only there')
        return self

    @property
    def labelled(self) -> str:
        """As `per`."""
        return self.per

    def build(self, module: EncoderModule, shape: Shape, frames: int | None) -> Supervised:
        """The objective of a module's contexts; arguments as for InfoNCE."""
        from gimstage.objectives import Supervised

        frames = frames if self.per == "frame" else None
        return Supervised(module.out_channels, self.num_classes, per=self.per, frames=frames)

    def multiply_adds(self, length: int, parallel: int, module: EncoderModule, shape: Shape) -> int:
        """Of the classifier, for one sample."""
        times = length * parallel if self.per == "frame" else 1
        return times * module.out_channels * self.num_classes


class DeepInfoMaxSpec(_ObjectiveSpec):
    """`[objective] kind = "deep_infomax"`: local against global codes of an image."""

    kind: Literal["deep_infomax"]
    hidden_channels: Positive
    loss: Literal["infonce", "jsd"]

    def build(self, module: EncoderModule, shape: Shape, frames: int | None) -> DeepInfoMax:
        """The objective of a module's local and global codes; arguments as for InfoNCE."""
        from gimstage.objectives import DeepInfoMax

        channels: int = getattr(module, "global_channels", module.out_channels)
        return DeepInfoMax(module.code_channels, channels, **self.model_dump(exclude={"kind"}))

    def multiply_adds(self, length: int, parallel: int, module: EncoderModule, shape: Shape) -> int:
        """Of the scoring nets, and of an image's codes with each other.

        What the images of a batch cost one another depends on how many they are, and is left out.
        """
        hidden, near, far = self.hidden_channels, length * parallel, (length - 2) * (parallel - 2)
        nets = near * module.code_channels + far * getattr(module, "global_channels", 0)
        return 2 * hidden * nets + (near + far) * hidden**2 + near * far * hidden


class PredsimSpec(_ObjectiveSpec):
    """`[objective] kind = "predsim"`: the local loss of one hidden layer on labelled images."""

    kind: Literal["predsim"]
    num_classes: Annotated[int, Field(ge=2)]
    similarity_share: Annotated[float, Field(ge=0, le=1)]
    head_inputs: Positive

    @property
    def labelled(self) -> str:
        """Images."""
        return "sample"

    def build(self, module: EncoderModule, shape: Shape, frames: int | None) -> Predsim:
        """The objective of a hidden layer's output; arguments as for InfoNCE."""
        from gimstage.objectives import Predsim

        height, width = cast("VGGLayer", module).hidden_size(shape)  # checks.py looked
        return Predsim(
            channels=module.code_channels,
            height=height,
            width=width,
            **self.model_dump(exclude={"kind"}),
        )

    def multiply_adds(self, length: int, parallel: int, module: EncoderModule, shape: Shape) -> int:
        """Of the classifier at its widest, and of the convolution before similarities.

        What the images of a batch cost one another is left out.
        """
        y, x = cast("VGGLayer", module).hidden_size(shape)
        kernel = 1 if y == x == 1 else 3
        mixing = y * x * kernel**2 * module.code_channels**2
        return length * parallel * (mixing + self.head_inputs * self.num_classes)


ObjectiveSpec = Annotated[
    InfoNCESpec | SupervisedSpec | DeepInfoMaxSpec | PredsimSpec, Field(discriminator="kind")
]
ModuleSpec = Annotated[
    ResNetSpec
    | PixelCNNSpec
    | FoldedAlexNetSpec
    | VGGLayerSpec
    | IdentitySpec
    | Conv1dSpec
    | GRUSpec
    | ConvGRUSpec,
    Field(discriminator="kind"),
]

# Their own `objective` was named before there were any.
for _spec in get_args(get_args(ModuleSpec)[0]):
    _spec.model_rebuild(force=True)
