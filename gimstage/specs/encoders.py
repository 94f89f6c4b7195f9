"""`[module]` and `[[modules]]`: tables of encoders, one for every kind there is."""

from typing import TYPE_CHECKING, Annotated, ClassVar

from gimstage.modules import EncoderModule
from gimstage.sizes.bounds import Positive
from gimstage.specs.base import LATER
from gimstage.specs.objectives import ObjectiveField
from gimstage.specs.tables import Choice, PartTable


class EncoderTable(PartTable):
    """What every table of an encoder may have besides its own keys, in `mode = "isolated"` only.

    `update_every = n` updates the module at every n-th step; `objective` is its own loss, where it
    is another than the stage's.
    """

    given: ClassVar[frozenset[str]] = frozenset({"in_channels"})
    beside: ClassVar[frozenset[str]] = frozenset({"kind", "objective", "update_every"})

    objective: Annotated[ObjectiveField | None, LATER] = None
    update_every: Annotated[Positive | None, LATER] = None

    def build(self, in_channels: int) -> EncoderModule:
        """The module with torch's default initialisation, on the current default device."""
        module: EncoderModule = self.part(in_channels=in_channels, **self.arguments())
        return module


ENCODER_TABLES = Choice(EncoderTable, EncoderModule.kinds, outside=EncoderModule)

# The type of a field: any table of an encoder, read as its kind says.
if TYPE_CHECKING:
    EncoderField = EncoderTable
else:
    EncoderField = ENCODER_TABLES.field
