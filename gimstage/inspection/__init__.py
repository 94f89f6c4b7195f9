"""A look into what stages read and store.

features  features.zarr of a stage: form, values, channels
data      the data before the first stage: splits, labels, values, samples
"""

from gimstage.inspection.data import describe_data, draw_data
from gimstage.inspection.features import describe, draw

__all__ = ["describe", "describe_data", "draw", "draw_data"]
