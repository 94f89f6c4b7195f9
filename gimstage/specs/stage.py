"""`N_name.toml`: what one stage trains, on which loss, for how long, and what it hands on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticKnownError

from gimstage.cache import ENCODINGS
from gimstage.cache.encodings import ALGORITHM
from gimstage.sizes.bounds import Epochs, Frames, LearningRate, Positive, Seed, Share, Steps
from gimstage.specs.base import LATER, Spec
from gimstage.specs.data import CropSpec
from gimstage.specs.encoders import EncoderField, EncoderTable
from gimstage.specs.objectives import ObjectiveField, ObjectiveTable
from gimstage.specs.tables import PartTable

Modules = Annotated[list[EncoderField], Field(min_length=2, max_length=64)]


class StageCropSpec(CropSpec):
    """`[views]` of a stage on sequences: shorter crops than the data's, and what goes before them.

    With `warm_up_frames` a recurrent module begins a crop with the state that so many frames before
    it leave, or as many as there are; no gradient flows into them.
    """

    warm_up_frames: Annotated[Frames | None, LATER] = None


class MapCropSpec(Spec):
    """`[views]` of a stage on whole maps: the side of the crops trained on, in pixels."""

    crop_px: Positive


def _crop_of(value: Any) -> Any:
    """A `[views]` table as the spec that its keys are of, so that messages name its own keys."""
    if value is None or isinstance(value, Spec):
        return value
    of_maps = isinstance(value, Mapping) and "crop_px" in value
    return (MapCropSpec if of_maps else StageCropSpec).model_validate(value)


class DecaySpec(Spec):
    """`[train.decay]`: the rate is multiplied by `factor` behind each of these shares of steps."""

    factor: Share
    after: Annotated[list[Share], Field(min_length=1, max_length=1_000)]

    @field_validator("after")
    @classmethod
    def _rising(cls, values: list[float]) -> list[float]:
        if values != sorted(set(values)):
            raise ValueError("shares that rise")
        return values


class TrainSpec(Spec):
    """`[train]`: Adam (0.9, 0.999, 1e-8), no weight decay; for how long.

    The learning rate is constant unless `decay` says otherwise.
    """

    algorithm: ClassVar[int] = 1

    learning_rate: LearningRate
    batch_size: Positive
    epochs: Epochs | None = None
    steps: Steps | None = None
    seed: Seed
    precision: Literal["float32", "bfloat16"]
    decay: Annotated[DecaySpec | None, LATER] = None

    @model_validator(mode="after")
    def _epochs_or_steps(self) -> TrainSpec:
        if (self.epochs is None) == (self.steps is None):
            found = "neither epochs nor steps" if self.epochs is None else "both epochs and steps"
            raise ValueError(f"{found}; expected exactly one of them")
        return self

    def total_steps(self, num_samples: int) -> int:
        """Optimiser steps of the whole training; an incomplete last batch is dropped."""
        return self.steps or (self.epochs or 0) * (num_samples // self.batch_size)

    def rate(self, step: int, total_steps: int) -> float:
        """The learning rate of a step, counted from 0."""
        if self.decay is None:
            return self.learning_rate
        passed = sum(step >= share * total_steps for share in self.decay.after)
        return self.learning_rate * self.decay.factor**passed


class OutputSpec(Spec):
    """`[output]`: what is handed to the next stage, and whether it lies on disk or is recomputed.

    `store` says where the numbers come from, never which they are: with "none" the next stage
    recomputes what features.zarr would have held, rounding included.
    """

    algorithm: ClassVar[int] = ALGORITHM

    store: Literal["features", "none"]
    encoding: str
    relu: bool
    codes: bool

    @field_validator("encoding", mode="before")
    @classmethod
    def _registered(cls, value: Any) -> Any:
        if isinstance(value, str) and value in ENCODINGS:
            return value
        # As pydantic says it of the choices of a Literal.
        *first, last = map(repr, ENCODINGS)
        raise PydanticKnownError("literal_error", {"expected": f"{', '.join(first)} or {last}"})

    @model_validator(mode="after")
    def _ranges_need_a_store(self) -> OutputSpec:
        if self.store == "none" and ENCODINGS[self.encoding].steps:
            found = f'encoding = "{self.encoding}" with store = "none"'
            raise ValueError(
                f"{found}; expected another encoding: its ranges lie with the features"
            )
        return self


class StageSpec(Spec):
    """`N_name.toml`: one stage. `[views]` trains it on smaller crops than the data's.

    A stage has one `[module]`, or several `[[modules]]` in a row. `mode = "end_to_end"` trains
    those as one, on one loss at the end; `mode = "isolated"` trains each on its own loss, side by
    side, with no gradient from one to the other. There `[objective]` is the loss of every module
    that has none of its own.
    """

    input: int | str
    views: Annotated[StageCropSpec | MapCropSpec | None, BeforeValidator(_crop_of)] = None
    mode: Annotated[Literal["isolated", "end_to_end"] | None, LATER] = None
    module: Annotated[EncoderField | None, LATER] = None
    modules: Annotated[Modules | None, LATER] = None
    objective: Annotated[ObjectiveField | None, LATER] = None
    train: TrainSpec
    output: OutputSpec

    @field_validator("input")
    @classmethod
    def _input_names_data_or_a_stage(cls, value: int | str) -> int | str:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value):
            return int(value)
        if isinstance(value, str) and not re.fullmatch(
            r"data|[A-Za-z0-9][\w.-]*/([0-9]{1,18}|data)", value
        ):
            raise ValueError('"data", the number of a stage, "RECIPE/data" or "RECIPE/NUMBER"')
        return value

    @model_validator(mode="after")
    def _one_module_or_several(self) -> StageSpec:
        given = [key for key in ("module", "modules") if getattr(self, key) is not None]
        if len(given) != 1:
            found = " and ".join(f"[{key}]" for key in given) or "no module"
            raise ValueError(f"{found}; expected one [module], or [[modules]]")
        if (self.mode is None) != (self.modules is None):
            found = "[[modules]] without mode" if self.mode is None else f'mode = "{self.mode}"'
            raise ValueError(
                f'{found}; expected mode = "isolated" or "end_to_end" with [[modules]], and only '
                "there"
            )
        return self

    @model_validator(mode="after")
    def _losses_are_complete(self) -> StageSpec:
        isolated = self.mode == "isolated"
        for number, part in enumerate(self.parts, start=1):
            if isolated != (part.update_every is not None):
                found = f"module {number} {'with' if not isolated else 'without'} update_every"
                raise ValueError(f'{found}; expected it with mode = "isolated", and only there')
            if part.objective is not None and not isolated:
                found = f"module {number} with an objective of its own"
                raise ValueError(f'{found}; expected that with mode = "isolated" only')
        if isolated and self.objective and all(part.objective for part in self.parts):
            raise ValueError("[objective] that no module reads; expected it to be left out")
        if self.losses[-1] is None or (isolated and None in self.losses):
            raise ValueError("no [objective]; expected one")
        return self

    @property
    def parts(self) -> tuple[EncoderTable, ...]:
        """The modules, one or several."""
        return (self.module,) if self.module is not None else tuple(self.modules or ())

    @property
    def losses(self) -> tuple[ObjectiveTable | None, ...]:
        """For every module the loss that reads it; None where gradient comes from the next one."""
        if self.mode == "isolated":
            return tuple(part.objective or self.objective for part in self.parts)
        return (*(None for _ in self.parts[1:]), self.objective)

    @property
    def tables(self) -> list[PartTable]:
        """The tables of its modules, of their losses, and of the context modules of those."""
        losses = list(filter(None, self.losses))
        return [*self.parts, *losses, *(context for loss in losses for context in loss.contexts)]

    @property
    def algorithms(self) -> dict[str, int]:
        """The versions of the numbers of all of these, by kind."""
        return {table.kind: table.algorithm() for table in self.tables}
