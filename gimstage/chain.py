"""A stage, and the chain of stages that leads to it from the data; what decides its numbers.

Everything that decides a stage's numbers is its *identity*, a plain dictionary; the identity's
SHA-256 is its *fingerprint*.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gimstage.specs import DataSpec, Shape, StageSpec
from gimstage.views import FRAME_SAMPLES

if TYPE_CHECKING:
    from gimstage.modules import EncoderModule

# Raised whenever the same recipe gives other numbers than before, so that old results turn stale.
ALGORITHMS = {
    "views": 1,
    "resnet": 1,
    "conv1d": 1,
    "gru": 1,
    "conv1d_gru": 1,
    "infonce": 1,
    "training": 1,
    "encodings": 1,
    "probe": 2,
}

Identity = dict[str, Any]


@dataclass(frozen=True)
class Stage:
    """One stage of a recipe.

    Args:
        recipe: name of the recipe it belongs to, seed suffix included.
        number: its number, the N of `train-stage N`.
        title: the words of its file name.
        spec: its TOML.
    """

    recipe: str
    number: int
    title: str
    spec: StageSpec

    @property
    def key(self) -> str:
        """`RECIPE/NUMBER`, unique below one runs folder."""
        return f"{self.recipe}/{self.number}"


@dataclass(frozen=True)
class Chain:
    """The data and the stages that lead from it up to one stage, which comes last."""

    data: DataSpec
    stages: tuple[Stage, ...]

    @property
    def last(self) -> Stage:
        """The stage the chain leads to."""
        return self.stages[-1]

    @property
    def upstream(self) -> "Chain | None":
        """The chain of the stage before, or None where the last stage reads the data."""
        return Chain(self.data, self.stages[:-1]) if len(self.stages) > 1 else None

    def below(self) -> "list[Chain]":
        """The chains of all stages before the last, from the data up."""
        return [Chain(self.data, self.stages[:count]) for count in range(1, len(self.stages))]

    def modules(self) -> "list[EncoderModule]":
        """The module of every stage, without memory for its weights."""
        import torch

        modules: list[EncoderModule] = []
        channels = self.data.in_channels
        with torch.device("meta"):
            for stage in self.stages:
                modules.append(stage.spec.module.build(channels))
                channels = modules[-1].out_channels
        return modules

    def shapes(self) -> list[Shape]:
        """The shapes of one unit, patch or crop: the first module's input, then each output."""
        shapes = [self.unit_shape]
        for module in self.modules():
            shapes.append(module.output_shape(shapes[-1]))
        return shapes

    @property
    def unit_shape(self) -> Shape:
        """The shape of one unit of the data, as the last stage's crops have it."""
        views = self.last.spec.views
        if views is None:
            return self.data.unit_shape
        return (views.crop_frames * FRAME_SAMPLES, *self.data.unit_shape[1:])

    @property
    def kinds(self) -> list[str]:
        """The kind of module of each stage."""
        return [stage.spec.module.kind for stage in self.stages]

    def weights_identity(self, data_fingerprint: str) -> Identity:
        """Everything that decides the last stage's weights; stages are counted along the chain."""
        first = len(self.stages) == 1
        parts = ["views", *dict.fromkeys(self.kinds), "infonce", "training"]
        parts += [] if first else ["encodings"]
        # What the demo's other splits hold changes nothing; the split in use has its own SHA-256.
        left_out = {"demo", "stored_views"} if first else {"demo"}
        identity: Identity = {
            "algorithms": {part: ALGORITHMS[part] for part in parts},
            "data": self.data.model_dump(exclude=left_out),
            "data_sha256": data_fingerprint,
        }
        for position, stage in enumerate(self.stages, start=1):
            own = stage.spec.model_dump(include={"views", "module", "objective", "train"})
            handed_on = {} if stage is self.last else {"output": _output(stage)}
            identity[f"stage {position}"] = own | handed_on
        return identity

    def features_identity(self, data_fingerprint: str) -> Identity:
        """Everything that decides what the last stage hands on."""
        identity = self.weights_identity(data_fingerprint)
        identity["algorithms"]["encodings"] = ALGORITHMS["encodings"]
        identity["data"] = self.data.model_dump(exclude={"demo"})
        identity[f"stage {len(self.stages)}"]["output"] = _output(self.last)
        return identity


def _output(stage: Stage) -> dict[str, Any]:
    # Where the numbers lie does not change them; codes are an extra, not handed on.
    return stage.spec.output.model_dump(exclude={"store", "codes"})


def fingerprint(identity: Mapping[str, Any]) -> str:
    """SHA-256 of an identity, as 64 hexadecimal digits."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """One line for every key in which two identities differ: `key: old → new`."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    return [
        f"{key}: {_show(before.get(key))} → {_show(after.get(key))}"
        for key in dict.fromkeys([*after, *before])
        if before.get(key, _ABSENT) != after.get(key, _ABSENT)
    ]


_ABSENT = object()


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", list(value) if isinstance(value, tuple) else value


def _show(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value):
        return value[:12]
    return "absent" if value is None else json.dumps(value, ensure_ascii=False)
