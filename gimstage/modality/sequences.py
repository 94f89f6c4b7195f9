"""Sequences, such as speech: a crop is a stretch of time and is encoded whole.

Shape letters: T rows in time, C channels.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from gimstage.cache import ArrayLayout, pick_shard_rows
from gimstage.errors import RecipeError, either
from gimstage.modality.base import Modality, StoreForm, small_layout
from gimstage.modules import EncoderModule, SequenceModule
from gimstage.specs import DataSpec, OutputSpec, SequenceDataSpec, Shape, StageSpec
from gimstage.specs.stage import StageCropSpec
from gimstage.views import StoredSpans

MOST_CHUNK_FRAMES = 400  # of which a window is read; 6.5 MB of 32 rows a frame and 256 channels


class SequenceModality(Modality):
    """Rows in time, of one channel or more.

    Args:
        data: the recipe's data.toml.
        views: the shorter crops that a stage trains on; None for those of `data`.
    """

    kind = SequenceDataSpec.kind
    reads = frozenset({"sequence"})
    crop_key = "crop_frames"
    along = "rows"

    def __init__(self, data: SequenceDataSpec, views: StageCropSpec | None) -> None:
        self.data, self.views = data, views or data.views
        self.warm_up_frames = (views and views.warm_up_frames) or 0

    @property
    def suited(self) -> str:
        """Those of the package, named one by one."""
        return either(kind for kind, part in EncoderModule.kinds.items() if self.suits(part))

    @property
    def unit_shape(self) -> Shape:
        """The shape of a crop, (T, C), in rows of raw data."""
        return (self.crop_frames * self.data.frame_rows, self.data.in_channels)

    @property
    def crop_frames(self) -> int:
        """The number of frames in a crop."""
        return self.views.crop_frames

    @property
    def units_per_crop(self) -> int:
        """One, for the crop is encoded as a whole."""
        return 1

    @property
    def raw_bytes(self) -> int:
        """The bytes of a crop's rows as they are read."""
        return self.data.sample_bytes * math.prod(self.unit_shape)

    def crop_shape(self, shape: Shape) -> Shape:
        """The shape of a crop, which is that of its one unit, (T, C)."""
        return shape

    def unit_of(self, module: EncoderModule, shape: Shape) -> Shape:
        """The shape of the one unit, which is that of the crop, (T, C)."""
        return shape

    def encoded_alone(self, module: EncoderModule) -> int:
        """Once: a crop is one unit."""
        return 1

    def input_shape(self, shapes: Sequence[Shape], below: Sequence[EncoderModule]) -> Shape:
        """(T, C) of what the lowest module reads, with the reach of all on the way."""
        rows = shapes[-1][0]
        for module in reversed(sequence_modules(below)):
            rows = module.reach(0, rows).rows
        return (rows, *shapes[0][1:])

    def length(self, shape: Shape) -> int:
        """The number of rows in time, T."""
        return shape[0]

    def crop_text(self, shape: Shape) -> str:
        """A crop in words, such as "128 rows"."""
        return f"{shape[0]} rows"

    def warm_up_rows(self, modules: Sequence[EncoderModule]) -> int:
        """The warm_up_frames of the stage's [views], in rows of what its module makes."""
        return self.warm_up_frames * rows_per_frame(self.data, modules)

    def whole_only(self, module: EncoderModule) -> str:
        """Several modules as one: what an inner one makes of padding is not padding."""
        if len(module.parts) > 1:
            return "several modules on sequences in a row, which encode whole sequences only"
        return ""

    def refuse(self, stage: StageSpec, modules: Sequence[EncoderModule], where: str) -> None:
        """Refuse crops longer than the data's, rows that no frame divides into, and codes twice."""
        longest, rows = self.data.views.crop_frames, samples_per_row(modules)
        if self.crop_frames > longest:
            raise RecipeError(
                f"{where} [views] crop_frames",
                f"{self.crop_frames} frames",
                expected=f"at most {longest}, the crop_frames of data.toml",
            )
        if self.data.frame_rows % rows:
            raise RecipeError(
                f"{where} [module] stride",
                f"a row every {rows} {self.data.row_name}, all strides multiplied",
                expected=f"a divisor of {self.data.frame_rows}, the {self.data.row_name} of "
                f"{self.data.frame_text} at which crops begin",
            )
        if self.warm_up_frames and not (modules[-1].recurrent and len(modules[-1].parts) == 1):
            raise RecipeError(
                f"{where} [views] warm_up_frames",
                f"{self.warm_up_frames}, for a module without a state to warm up",
                expected='it with one recurrent [module], such as "gru"',
                cure="remove the key",
            )
        if stage.output.codes:
            raise RecipeError(
                f"{where} [output] codes",
                "true, but the features of a sequence are its codes",
                expected="false",
            )


def sequence_modules(modules: Iterable[EncoderModule]) -> list[SequenceModule]:
    """The same modules, known to be on sequences.

    Raises:
        TypeError: one is not.
    """
    known = []
    for module in modules:
        if not isinstance(module, SequenceModule):
            raise TypeError(f"{type(module).__name__}; expected a SequenceModule")
        known.append(module)
    return known


def samples_per_row(modules: Iterable[EncoderModule]) -> int:
    """Rows of raw data per row of what comes out of a row of modules on sequences."""
    return math.prod(module.stride for module in sequence_modules(modules))


def rows_per_frame(data: DataSpec, modules: Iterable[EncoderModule]) -> int:
    """Rows of what comes out of a row of modules on sequences per frame of their data.

    Args:
        data: the data.toml of sequences.
        modules: from the data up.
    """
    assert isinstance(data, SequenceDataSpec), "images have no frames"
    return data.frame_rows // samples_per_row(modules)


def sequence_store(
    data: SequenceDataSpec,
    stored: StoredSpans,
    *,
    modules: Iterable[EncoderModule],
    output: OutputSpec,
    labels: int | None,
) -> StoreForm:
    """One chunk is as many rows as a crop has, whichever entries they belong to.

    Args:
        data: the recipe's data.toml.
        stored: the entries.
        modules: the modules of all stages, from the data up.
        output: how features are stored.
        labels: how many there are; None for none.
    """
    known = sequence_modules(modules)
    lengths = stored.entry_frames * data.frame_rows
    for module in known:
        lengths = np.array([module.length(int(n)) for n in lengths])
    per_frame = rows_per_frame(data, known)
    shape = (int(lengths.sum()), known[-1].out_channels)
    chunk_rows = per_frame * min(data.views.crop_frames, MOST_CHUNK_FRAMES)

    def array(shard_rows: int) -> ArrayLayout:
        return ArrayLayout(
            name="features",
            shape=shape,
            dims=("frame", "channel"),
            encoding=output.encoding,
            chunk=(chunk_rows, shape[1]),
            shard_rows=shard_rows,
        )

    row_bytes = array(chunk_rows).row_bytes
    shard_rows = pick_shard_rows(shape[0], row_bytes=row_bytes, chunk_rows=chunk_rows)
    entries = len(stored.source)
    columns = ["source_sample", "start_frame", "frames", *(["label"] if labels is not None else [])]
    small = [
        small_layout("offsets", (entries + 1,), "int64", "boundary"),
        *(small_layout(name, (entries,), "int64", "entry") for name in columns),
    ]
    return StoreForm([array(shard_rows)], small, {f"rows_per_{data.frame_name}": per_frame})
