"""What a stage reads: raw data, the stored features of the stage before, or those recomputed.

base      what all of it has in common
labels    what labels tell, for identities and losses
draws     which samples a training sees, and which places of them
ahead     batches read ahead, and moved to the device
reread    that data still is what its fingerprint says, before it is trained on and after
handoff   from a module's features to the values that the next stage reads
imported  data that is decoded once, into a raw store below the runs folder
images    images of any source, and what is stored of them
cuts      the two ways they are cut
grids     into grids of patches: their pixels and stored features
maps      as whole maps: the same
stl10     images in STL-10's layout
demo_large  large synthetic images
sequences crops of sequences of any source, and what is stored of them
series    sequences in an array of somebody's own
speech    those of LibriSpeech's layout: utterances, speakers and phones
rows      their raw and their stored rows
"""

from pathlib import Path

import torch

from gimstage.device import module_to_device
from gimstage.inputs.ahead import prefetched, to_device
from gimstage.inputs.base import (
    DataSet,
    Source,
    encoded_again,
    memo_path,
)
from gimstage.inputs.cuts import Pixels
from gimstage.inputs.demo_large import LargeImages
from gimstage.inputs.draws import Places, TrainingDraws
from gimstage.inputs.grids import PixelSource
from gimstage.inputs.handoff import HandOff
from gimstage.inputs.image_arrays import ArrayImages
from gimstage.inputs.images import Images
from gimstage.inputs.imported import Imported
from gimstage.inputs.maps import MapSource
from gimstage.inputs.own_images import OwnImages
from gimstage.inputs.own_sound import Sound
from gimstage.inputs.rows import SequenceSource, WaveSource
from gimstage.inputs.sequences import Sequences
from gimstage.inputs.series import DemoSeries, SeriesSet
from gimstage.inputs.speech import Speech
from gimstage.inputs.stl10 import Stl10Images
from gimstage.recipe.chain import Chain
from gimstage.runs.folder import features_usable
from gimstage.runs.state import Runs
from gimstage.specs import DataSpec
from gimstage.stack import trained_module

__all__ = [
    "ArrayImages",
    "DataSet",
    "HandOff",
    "Images",
    "Imported",
    "LargeImages",
    "OwnImages",
    "MapSource",
    "PixelSource",
    "Pixels",
    "SequenceSource",
    "Sequences",
    "Sound",
    "Stl10Images",
    "SeriesSet",
    "Source",
    "Speech",
    "TrainingDraws",
    "WaveSource",
    "Places",
    "find_data",
    "memo_path",
    "encoded_again",
    "output_source",
    "prefetched",
    "to_device",
]


# By the source that a data.toml names.
SOURCES: dict[str, type[DataSet]] = {
    "stl10": Stl10Images,
    "demo_images": Stl10Images,
    "demo_large": LargeImages,
    "images": OwnImages,
    "librispeech": Speech,
    "demo_speech": Speech,
    "sound": Sound,
    "array": SeriesSet,
    "demo_series": DemoSeries,
    "image_array": ArrayImages,
}


def find_data(spec: DataSpec, data: Path | None, runs: Path) -> DataSet:
    """The data a recipe asks for: where `--data` says, or the demo's own.

    Raises:
        DataError: a recipe on real data without `--data`.
    """
    return SOURCES[spec.source].find(spec, data, runs)


def output_source(runs: Runs, data: DataSet, chain: Chain | None, device: torch.device) -> Source:
    """What the chain's last stage hands on: read where it lies on disk, else recomputed.

    Raises:
        StaleCacheError: the stage is not done.
        DamagedCacheError: its files are damaged.
    """
    if chain is None:
        return data.source()
    manifest, folder = runs.require(chain), runs.stage_folder(chain)
    if features_usable(folder, manifest):
        return data.feature_source(folder.features)
    below = output_source(runs, data, chain.upstream, device)
    module = module_to_device(trained_module(runs, chain), device)
    return data.recomputed_source(below, module, HandOff.of(chain.last.spec.output, module))
