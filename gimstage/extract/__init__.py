"""A frozen module becomes features.zarr: read, encode in tiles, round, write, all at once.

base        the order of things: missing shards, block by block, written by a thread of its own
grids       patch grids of images
maps        whole maps of images
sequences   rows of utterances
"""

from collections.abc import Callable
from typing import Any

from gimstage.extract.base import Extraction
from gimstage.extract.grids import GridExtraction
from gimstage.extract.maps import MapExtraction
from gimstage.extract.sequences import SequenceExtraction
from gimstage.inputs import DataSet, Source
from gimstage.modules import EncoderModule
from gimstage.modules.base import Reads
from gimstage.recipe.chain import Chain

__all__ = ["Extraction", "GridExtraction", "MapExtraction", "SequenceExtraction", "extraction"]

EXTRACTIONS: dict[Reads, Callable[..., Extraction]] = {
    "patch": GridExtraction,
    "map": MapExtraction,
    "sequence": SequenceExtraction,
}


def extraction(
    chain: Chain, module: EncoderModule, data: DataSet, source: Source, **settings: Any
) -> Extraction:
    """The extraction that suits a stage's data.

    Args:
        chain: the stage, last of its chain.
        module: its frozen module.
        data: the data set.
        source: what the stage reads.
        settings: device and workers.
    """
    kind = EXTRACTIONS[module.reads]
    return kind(chain, module, source=source, stored=data.stored, **settings)
