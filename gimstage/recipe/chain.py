"""A stage, and the chain of stages that leads to it from the data; what decides its numbers."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gimstage.modality import Modality, modality_of
from gimstage.recipe.identity import Identity
from gimstage.specs import DataSpec, Shape, StageSpec

if TYPE_CHECKING:
    from gimstage.modules import EncoderModule
    from gimstage.objectives import Objective
    from gimstage.objectives.base import Labels


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

    @property
    def module_keys(self) -> list[str]:
        """A name for each of its modules: its key, or `RECIPE/NUMBER.MODULE` of several."""
        count = len(self.spec.parts)
        return [self.key] if count == 1 else [f"{self.key}.{n}" for n in range(1, count + 1)]


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

    @property
    def first_position(self) -> int:
        """The number of the last stage's first module, all modules counted from 1 at the data."""
        return 1 + sum(len(stage.spec.parts) for stage in self.stages[:-1])

    def modules(self) -> "list[EncoderModule]":
        """The module of every stage, several as one, without memory for its weights."""
        return self._modules

    @cached_property
    def _modules(self) -> "list[EncoderModule]":
        import torch

        with torch.device("meta"):
            return self.new_modules()

    def new_modules(self) -> "list[EncoderModule]":
        """Such modules on the current default device, with weights that mean nothing yet."""
        from gimstage.modules import joined

        modules: list[EncoderModule] = []
        channels = self.data.in_channels
        for stage in self.stages:
            parts = []
            for part in stage.spec.parts:
                parts.append(part.build(channels))
                channels = parts[-1].out_channels
            modules.append(joined(parts))
        return modules

    @cached_property
    def modality(self) -> Modality:
        """What answers for its kind of data, with crops as the last stage has them."""
        return modality_of(self.data, self.last.spec.views)

    def shapes(self) -> list[Shape]:
        """The shapes of one patch or crop of speech: the first module's input, then each output."""
        shapes = [self.modality.unit_shape]
        for module in self.modules():
            shapes.append(self.after(module, shapes[-1]))
        return shapes

    def after(self, module: "EncoderModule", shape: Shape) -> Shape:
        """The shape of what a module makes of one patch or crop of speech of `shape`."""
        made = module.output_shape(self.modality.unit_of(module, shape))
        return made[len(made) - len(shape) :]

    @property
    def outside(self) -> dict[str, str]:
        """Where parts from outside the package were found: the recipe's folder, by their kind."""
        tables = [table for stage in self.stages for table in stage.spec.tables]
        return {table.kind: str(table.folder.resolve()) for table in tables if table.folder}

    def build(self) -> None:
        """Make modules and objectives now: inside a trace they would keep its stand-ins."""
        _ = self.modules(), self.objectives

    @cached_property
    def objectives(self) -> "tuple[Objective | None, ...]":
        """The loss of each of the last stage's modules, without memory for its weights.

        None where gradient comes from the next module.
        """
        import torch

        losses: list[Objective | None] = []
        shape = self.shapes()[-2]
        with torch.device("meta"):
            for part, loss in zip(self.modules()[-1].parts, self.last.spec.losses, strict=True):
                unit, frames = self.modality.unit_of(part, shape), self.modality.crop_frames
                losses.append(loss.build(part, unit, frames) if loss else None)
                shape = self.after(part, shape)
        return tuple(losses)

    @property
    def label_kinds(self) -> "set[Labels]":
        """What the last stage's losses need labels of: a "sample", a "frame", or nothing."""
        return {loss.label_kind for loss in self.last.spec.losses if loss and loss.label_kind}

    def weights_identity(self, data_fingerprint: str) -> Identity:
        """Everything that decides the last stage's weights; stages are counted along the chain."""
        first = len(self.stages) == 1
        algorithms = {"views": self.data.algorithm}
        for stage in self.stages:
            algorithms |= stage.spec.algorithms
        algorithms["training"] = self.last.spec.train.algorithm
        if not first:
            algorithms["encodings"] = self.last.spec.output.algorithm
        # What the demo's other splits hold changes nothing; the split in use has its own SHA-256.
        left_out = {"demo", "stored_views"} if first else {"demo"}
        identity: Identity = {
            "algorithms": algorithms,
            "data": self.data_identity(left_out),
            "data_sha256": data_fingerprint,
        }
        for position, stage in enumerate(self.stages, start=1):
            handed_on = {} if stage is self.last else {"output": _output(stage)}
            identity[f"stage {position}"] = stage.spec.identity(exclude=_NO_NUMBERS) | handed_on
        return identity

    def data_identity(self, left_out: set[str]) -> Identity:
        """Everything of data.toml that decides numbers, but for some tables."""
        watched = {"validation": {"evaluations", "batches"}}  # looked at, never learned from
        return self.data.identity(exclude=dict.fromkeys(left_out, True) | watched)

    def features_identity(self, data_fingerprint: str) -> Identity:
        """Everything that decides what the last stage hands on."""
        identity = self.weights_identity(data_fingerprint)
        identity["algorithms"]["encodings"] = self.last.spec.output.algorithm
        identity["data"] = self.data_identity({"demo"})
        identity[f"stage {len(self.stages)}"]["output"] = _output(self.last)
        return identity


# Where a stage's input lies is told by the chain itself, what it hands on where that is known.
_NO_NUMBERS = {"input", "output"}


def _output(stage: Stage) -> dict[str, Any]:
    # Where the numbers lie does not change them; codes are an extra, not handed on.
    return stage.spec.output.identity(exclude={"store", "codes"})
