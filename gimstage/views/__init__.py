"""Views: which part of a sample is looked at, cut alike from raw data and from cached features.

grids   images: crops, and windows of stored patch grids
maps    images as whole maps: squares of any size, at any stride
spans   speech: stretches of utterances, at any rate of rows
"""

from gimstage.views.grids import (
    Crops,
    Ints,
    LiveViews,
    StoredViews,
    Windows,
    cut_out,
    patch_grid,
)
from gimstage.views.maps import MapViews, Squares, StoredMaps
from gimstage.views.spans import LiveSpans, Spans, StoredSpans

__all__ = [
    "Crops",
    "Ints",
    "LiveSpans",
    "LiveViews",
    "MapViews",
    "Spans",
    "Squares",
    "StoredMaps",
    "StoredSpans",
    "StoredViews",
    "Windows",
    "cut_out",
    "patch_grid",
]
