"""`probe*.toml`: classifiers on the frozen stack's codes."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from gimstage.data.kinds import Kind
from gimstage.objectives.base import Labels
from gimstage.sizes.bounds import (
    MOST,
    DropoutShare,
    Epochs,
    LearningRate,
    Natural,
    Positive,
    Seed,
    Share,
    Steps,
    Strength,
)
from gimstage.specs.base import LATER, Spec

Name = Annotated[str, Field(min_length=1, max_length=200)]
Refs = Annotated[list[int | str], Field(max_length=1_000)]
Strengths = Annotated[list[Strength], Field(min_length=1, max_length=1_000)]

Fold = Literal[
    "fold0", "fold1", "fold2", "fold3", "fold4", "fold5", "fold6", "fold7", "fold8", "fold9"
]

PROTOCOLS = ("paper", "converged", "hidden")


class PaperProtocol(Spec):
    """`[paper]`: Adam on raw codes, fresh crops as training data."""

    learning_rate: LearningRate
    batch_size: Positive
    epochs: Epochs
    views: Positive
    seed: Seed


class ConvergedProtocol(Spec):
    """`[converged]`: standardised codes, logistic regression to convergence, L2 by validation."""

    views: Positive
    l2: Strengths
    validation_share: Share
    seed: Seed


class HiddenProtocol(Spec):
    """`[hidden]`: one hidden layer on the codes of all positions, as Deep InfoMax is evaluated.

    Adam on raw codes, fresh crops as training data; from each of `decay_epochs` on, counted from 0,
    the learning rate is `decay_factor` times what it was.
    """

    hidden_channels: Positive
    dropout: DropoutShare
    learning_rate: LearningRate
    batch_size: Annotated[int, Field(ge=2, le=MOST)]  # batch normalisation needs two samples
    epochs: Epochs
    decay_factor: Share
    decay_epochs: Annotated[list[Epochs], Field(max_length=1_000)]
    views: Positive
    seed: Seed

    @model_validator(mode="after")
    def _decay_epochs_rise(self) -> HiddenProtocol:
        if sorted({*self.decay_epochs, self.epochs}) != [*self.decay_epochs, self.epochs]:
            found = f"decay_epochs = {self.decay_epochs} of epochs = {self.epochs}"
            raise ValueError(f"{found}; expected rising numbers below epochs, or none")
        return self

    def rates(self) -> list[float]:
        """The learning rate of every epoch."""
        decays = [sum(epoch >= at for at in self.decay_epochs) for epoch in range(self.epochs)]
        return [self.learning_rate * self.decay_factor**count for count in decays]


class FramePaper(Spec):
    """`[paper]` of phones: Adam, an utterance a step, in the order of the split."""

    learning_rate: LearningRate
    epochs: Epochs
    seed: Seed


class FrameConverged(Spec):
    """`[converged]` of phones: as for crops, on so many frames drawn from the training split."""

    frames: Steps
    l2: Strengths
    validation_share: Share
    seed: Seed


class MFCCSpec(Spec):
    """`[mfcc]`: mel-frequency cepstral coefficients, a row of the probe that nothing trained.

    One vector per 10 ms: `coefficients`, and their first and second differences over
    `delta_frames`.
    """

    coefficients: Positive
    mel_bands: Positive
    window_samples: Positive
    delta_frames: Annotated[int, Field(ge=3, le=MOST)]

    @model_validator(mode="after")
    def _fits(self) -> MFCCSpec:
        if self.coefficients > self.mel_bands:
            found = f"coefficients = {self.coefficients} of mel_bands = {self.mel_bands}"
            raise ValueError(f"{found}; expected no more coefficients than bands")
        if self.delta_frames % 2 == 0:
            raise ValueError(f"delta_frames = {self.delta_frames}; expected an odd number")
        return self


class _ProbeSpec(Spec):
    """What every probe file has: the stages to probe, and with which weights.

    Attributes:
        kinds: the kinds of data that may have such labels.
        per: what has a label, a "sample" or every "frame" of it.
        algorithm: version of the numbers of probes.

    Every one of them has a `label` too: the name of the labels that are told.
    `weights = "random"` probes the stages as they are before training; they need not be trained.
    """

    kinds: ClassVar[frozenset[Kind]]
    per: ClassVar[Labels] = "sample"
    algorithm: ClassVar[int] = 2

    inputs: Refs
    weights: Literal["trained", "random"]

    @model_validator(mode="after")
    def _some_input(self) -> _ProbeSpec:
        if not (self.inputs or getattr(self, "pixels", False) or getattr(self, "mfcc", None)):
            raise ValueError("no inputs; expected a stage, pixels or [mfcc]")
        return self

    @model_validator(mode="after")
    def _some_protocol(self) -> _ProbeSpec:
        known = [name for name in PROTOCOLS if name in type(self).model_fields]
        if all(getattr(self, name) is None for name in known):
            tables = ", ".join(f"[{name}]" for name in known)
            raise ValueError(f"no protocol; expected at least one table of {tables}")
        return self


class ClassProbeSpec(_ProbeSpec):
    """`task = "class"`: the class of an image, from the codes of a crop.

    `train_split = "fold0"` to "fold9" are the folds of STL-10, lines of its fold_indices.txt.
    `own = true` also says how much the stages' own classifiers get right, protocol own.
    """

    kinds = frozenset({"images"})
    label: ClassVar[str] = "class"
    task: Literal["class"]
    train_split: Literal["train", "test", Fold]
    test_split: Literal["train", "test"]
    pixels: bool
    own: Annotated[Literal[True] | None, LATER] = None
    paper: PaperProtocol | None = None
    converged: ConvergedProtocol | None = None
    hidden: Annotated[HiddenProtocol | None, LATER] = None


class SpeakerProbeSpec(_ProbeSpec):
    """`task = "speaker"`: who speaks, from the mean code of a crop; `own` as for images."""

    kinds = frozenset({"speech"})
    label: ClassVar[str] = "speaker"
    task: Literal["speaker"]
    train_split: Literal["train", "test"]
    test_split: Literal["train", "test"]
    own: Annotated[Literal[True] | None, LATER] = None
    mfcc: MFCCSpec | None = None
    paper: PaperProtocol | None = None
    converged: ConvergedProtocol | None = None


class PhoneProbeSpec(_ProbeSpec):
    """`task = "phone"`: the phone at every 10 ms of whole utterances.

    Label t is told from the code of frame t + `offset`. A label's window of 25 ms begins with frame
    t (its centre is at sample 160 t + 200), the code of frame t is centred on sample 160 t + 20.
    """

    kinds = frozenset({"speech"})
    per = "frame"
    label: ClassVar[str] = "phone"
    task: Literal["phone"]
    train_split: Literal["train", "test"]
    test_split: Literal["train", "test"]
    offset: Natural
    mfcc: MFCCSpec | None = None
    paper: FramePaper | None = None
    converged: FrameConverged | None = None


class LabelProbeSpec(_ProbeSpec):
    """`task = "label"`: any label of images or of sequences, from the codes of a crop.

    `label` names a column of the data: a folder a class, a table's or a pattern's. `pixels` and
    `[mfcc]` add what nothing trained, to images and to sound; `own` as for classes.
    """

    kinds = frozenset({"images", "speech"})
    task: Literal["label"]
    label: Name
    train_split: Name
    test_split: Name
    pixels: Annotated[bool | None, LATER] = None
    own: Annotated[Literal[True] | None, LATER] = None
    mfcc: MFCCSpec | None = None
    paper: PaperProtocol | None = None
    converged: ConvergedProtocol | None = None
    hidden: Annotated[HiddenProtocol | None, LATER] = None


class FrameProbeSpec(_ProbeSpec):
    """`task = "frames"`: any label of stretches of time, at every frame of whole sequences.

    `label` names a column of the intervals. A frame has the label that holds at its middle, and it
    is told from the code of frame t + `offset`; frames without one are passed over.
    """

    kinds = frozenset({"speech"})
    per = "frame"
    task: Literal["frames"]
    label: Name
    train_split: Name
    test_split: Name
    offset: Natural
    mfcc: MFCCSpec | None = None
    paper: FramePaper | None = None
    converged: FrameConverged | None = None


CropProbeSpec = ClassProbeSpec | SpeakerProbeSpec | LabelProbeSpec
TimeProbeSpec = PhoneProbeSpec | FrameProbeSpec
ProbeSpec = CropProbeSpec | TimeProbeSpec
PROBE_SPECS: dict[str, type[ProbeSpec]] = {
    "class": ClassProbeSpec,
    "speaker": SpeakerProbeSpec,
    "phone": PhoneProbeSpec,
    "label": LabelProbeSpec,
    "frames": FrameProbeSpec,
}
