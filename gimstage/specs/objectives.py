"""`[objective]`: tables of objectives, one for every kind there is; `[objective.context]`."""

from typing import TYPE_CHECKING, Any, ClassVar

from gimstage.modules import CONTEXTS, EncoderModule
from gimstage.objectives import GIVEN, Objective
from gimstage.objectives.base import Labels
from gimstage.specs.base import Shape
from gimstage.specs.tables import Choice, PartTable, arguments_of


class ContextTable(PartTable):
    """`[objective.context]`: what makes contexts of codes, on each module."""

    given: ClassVar[frozenset[str]] = frozenset({"in_channels"})

    def build(self, in_channels: int) -> Any:
        """The context module with torch's default initialisation, on the default device."""
        return self.part(in_channels=in_channels, **self.arguments())


class ObjectiveTable(PartTable):
    """What every table of an objective has."""

    given: ClassVar[frozenset[str]] = GIVEN

    @property
    def contexts(self) -> list[ContextTable]:
        """The tables of its context modules."""
        return [v for v in self.arguments().values() if isinstance(v, ContextTable)]

    @property
    def label_kind(self) -> Labels | None:
        """The labels it needs: one a "sample", one a "frame" of 10 ms, or none."""
        labels: Labels | None = self.part.labels_for(**self.arguments())
        return labels

    @property
    def chance_loss(self) -> float | None:
        """What guessing costs, in nats; None where that has no fixed price."""
        loss: float | None = self.part.chance_loss_for(**self.arguments())
        return loss

    def build(self, module: EncoderModule, shape: Shape, frames: int | None) -> Objective:
        """The objective of a module's codes, its weights freshly initialised.

        Args:
            module: whose codes it reads.
            shape: the shape of one unit of the module's input.
            frames: the frames of 10 ms in a crop of speech; None for images.
        """
        facts = {
            "code_channels": module.code_channels,
            "context_channels": module.context_channels,
            "code_shape": module.code_shape(shape),
            "frames": frames,
        }
        asked = {name: facts[name] for name in sorted(GIVEN & arguments_of(self.part))}
        keys = {
            name: value.build(module.context_channels) if isinstance(value, ContextTable) else value
            for name, value in self.arguments().items()
        }
        objective: Objective = self.part(**asked, **keys)
        return objective


CONTEXT_TABLES = Choice(ContextTable, CONTEXTS)
OBJECTIVE_TABLES = Choice(
    ObjectiveTable, Objective.kinds, outside=Objective, modules=CONTEXT_TABLES
)

# The type of a field: any table of an objective, read as its kind says.
if TYPE_CHECKING:
    ObjectiveField = ObjectiveTable
else:
    ObjectiveField = OBJECTIVE_TABLES.field
