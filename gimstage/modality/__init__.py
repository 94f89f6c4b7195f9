"""What differs between images and sequences, asked of one object that a chain owns.

    chain ─► Modality ─► shapes of crops and units, bytes, axes of prediction, words, what suits

base        the questions
images      their answers for images, cut into grids of patches
maps        their answers for images as whole maps, crops of which are encoded whole
sequences   their answers for sequences, crops of which are encoded whole

Here is arithmetic on recipes and modules. What needs the data itself is asked of a `DataSet`.
"""

from gimstage.modality.base import Modality
from gimstage.modality.images import ImageModality
from gimstage.modality.maps import MapModality
from gimstage.modality.sequences import (
    SequenceModality,
    rows_per_frame,
    samples_per_row,
    sequence_modules,
)
from gimstage.specs import DataSpec, ImageDataSpec
from gimstage.specs.stage import MapCropSpec, StageCropSpec

__all__ = [
    "ImageModality",
    "MapModality",
    "Modality",
    "SequenceModality",
    "modality_of",
    "rows_per_frame",
    "samples_per_row",
    "sequence_modules",
]


def modality_of(data: DataSpec, views: StageCropSpec | MapCropSpec | None = None) -> Modality:
    """What answers for a recipe's kind of data.

    Args:
        data: the recipe's data.toml.
        views: the smaller crops that a stage trains on; None for the data's own.
    """
    if not isinstance(data, ImageDataSpec):
        return SequenceModality(data, None if isinstance(views, MapCropSpec) else views)
    if data.views.patch_px is None:
        return MapModality(data, views if isinstance(views, MapCropSpec) else None)
    return ImageModality(data)
