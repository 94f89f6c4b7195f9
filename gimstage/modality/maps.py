"""Images as whole maps: a crop is a square of positions and is encoded whole.

Shape letters: N samples, V views, y x positions of a map, C channels.
"""

import math
from collections.abc import Iterable, Sequence

from gimstage.cache import ArrayLayout, pick_shard_rows
from gimstage.errors import RecipeError, either
from gimstage.modality.base import Modality, StoreForm, small_layout
from gimstage.modules import EncoderModule, MapModule
from gimstage.specs import ImageDataSpec, OutputSpec, Shape, StageSpec
from gimstage.specs.stage import MapCropSpec
from gimstage.views import StoredMaps

DIMENSIONS = ("sample", "view", "y", "x", "channel")
CHUNK_SIDE = 32  # positions: about so many a side


class MapModality(Modality):
    """Images that are encoded whole.

    Args:
        data: the recipe's data.toml.
        views: the smaller crops that a stage trains on; None for those of `data`.
    """

    kind = ImageDataSpec.kind
    reads = frozenset({"map"})
    crop_key = "crop_px"
    along = "positions a side"

    def __init__(self, data: ImageDataSpec, views: MapCropSpec | None) -> None:
        self.data, self.views = data, views

    @property
    def suited(self) -> str:
        """Those of the package, named one by one."""
        return either(kind for kind, part in EncoderModule.kinds.items() if self.suits(part))

    @property
    def crop_px(self) -> int:
        """The side of a crop, in pixels."""
        return (self.views or self.data.views).crop_px

    @property
    def unit_shape(self) -> Shape:
        """The shape of a crop, (y, x, C), in pixels."""
        return (self.crop_px, self.crop_px, self.data.in_channels)

    @property
    def units_per_crop(self) -> int:
        """One, for the crop is encoded as a whole."""
        return 1

    @property
    def raw_bytes(self) -> int:
        """Those of a crop's pixels, a byte a channel."""
        return self.data.raw_channels * self.crop_px**2

    def crop_shape(self, shape: Shape) -> Shape:
        """The shape of a crop, which is that of its one unit, (y, x, C)."""
        return shape

    def unit_of(self, module: EncoderModule, shape: Shape) -> Shape:
        """The shape of the one unit, which is that of the crop, (y, x, C)."""
        return shape

    def encoded_alone(self, module: EncoderModule) -> int:
        """Once: a crop is one unit."""
        return 1

    def input_shape(self, shapes: Sequence[Shape], below: Sequence[EncoderModule]) -> Shape:
        """(y, x, C) of what the lowest module reads, with the reach of all on the way."""
        side = shapes[-1][0]
        for module in reversed(map_modules(below)):
            side = module.reach(side).size
        return (side, side, *shapes[0][2:])

    def length(self, shape: Shape) -> int:
        """The number of rows of positions."""
        return shape[0]

    def crop_text(self, shape: Shape) -> str:
        """A crop in words, such as "16 × 16 positions"."""
        return f"{shape[0]} × {shape[1]} positions"

    def whole_only(self, module: EncoderModule) -> str:
        """Several modules as one: what an inner one makes of padding is not padding."""
        if len(module.parts) > 1:
            return "several modules on maps in a row, which encode whole images only"
        return ""

    def refuse(self, stage: StageSpec, modules: Sequence[EncoderModule], where: str) -> None:
        """Refuse crops that do not fit, or begin between two positions, and codes twice."""
        largest, stride = self.data.views.crop_px, px_per_position(modules[:-1])
        where_crop = f"{where} [views] crop_px" if self.views else "data.toml [views] crop_px"
        if largest > self.data.image_px:
            raise RecipeError(
                "data.toml [views] crop_px",
                f"{largest} px is larger than the image",
                f"at most {self.data.image_px}",
                "choose a smaller crop",
            )
        if self.crop_px > largest:
            raise RecipeError(
                where_crop,
                f"{self.crop_px} px",
                f"at most {largest}, the crop_px of data.toml",
                f"set crop_px = {self.crop_px} in data.toml, or a smaller one here",
            )
        if self.crop_px % stride:
            below = self.crop_px // stride * stride or stride
            raise RecipeError(
                where_crop,
                f"{self.crop_px} px",
                f"a multiple of {stride}, the pixels between two positions of what it reads",
                f"try crop_px = {below}",
            )
        if stage.output.codes:
            raise RecipeError(
                f"{where} [output] codes",
                "true, but the features of a map are its codes",
                expected="false",
            )

    def refuse_below(self, below: Modality, where: str) -> None:
        """Refuse a window smaller than that of the stage before: later stages see more."""
        before = below.unit_shape[0]
        if self.crop_px < before:
            raise RecipeError(
                f"{where} [views] crop_px",
                f"{self.crop_px} px, where the stage before has {before}",
                "windows that stay or grow from stage to stage",
                f"set crop_px = {before}, or a smaller one in the stage before",
            )


def map_modules(modules: Iterable[EncoderModule]) -> list[MapModule]:
    """The same modules, known to be on maps.

    Raises:
        TypeError: one is not.
    """
    known = []
    for module in modules:
        if not isinstance(module, MapModule):
            raise TypeError(f"{type(module).__name__}; expected a MapModule")
        known.append(module)
    return known


def px_per_position(modules: Iterable[EncoderModule]) -> int:
    """Pixels from one position to the next of what comes out of a row of modules on maps."""
    return math.prod(module.stride for module in map_modules(modules))


def map_side(image_px: int, modules: Iterable[EncoderModule]) -> int:
    """Positions a side of what a row of modules makes of a whole image of `image_px` a side."""
    side = image_px
    for module in map_modules(modules):
        side = module.side(side)
    return side


def chunk_side(side: int) -> int:
    """Positions a side of a chunk: a divisor of the map's, as near to `CHUNK_SIDE` as there is.

    The whole map where it has only smaller ones than a quarter of that.
    """
    divisors = [n for n in range(CHUNK_SIDE // 4, side) if side % n == 0] or [side]
    return min(divisors, key=lambda n: max(n / CHUNK_SIDE, CHUNK_SIDE / n))


def map_store(
    stored: StoredMaps,
    data: ImageDataSpec,
    modules: Sequence[EncoderModule],
    output: OutputSpec,
    *,
    labels: int | None,
) -> StoreForm:
    """One chunk is a square of positions of one view of one sample.

    Args:
        stored: the maps.
        data: the recipe's data.toml.
        modules: the modules of all stages, from the data up.
        output: how features are stored.
        labels: how many there are; None for none.
    """
    side = map_side(data.image_px, modules)
    chunk, channels = chunk_side(side), modules[-1].out_channels

    def array(rows: int) -> ArrayLayout:
        return ArrayLayout(
            name="features",
            shape=(stored.num_samples, stored.views, side, side, channels),
            dims=DIMENSIONS,
            encoding=output.encoding,
            chunk=(1, 1, chunk, chunk, channels),
            shard_rows=rows,
        )

    rows = pick_shard_rows(stored.num_samples, row_bytes=array(1).row_bytes, chunk_rows=1)
    small = [
        small_layout("source_sample", (stored.num_samples,), "int64", "sample"),
        small_layout("flip", (stored.views,), "bool", "view"),
    ]
    if labels is not None:
        small.append(small_layout("label", (labels,), "int64", "sample"))
    return StoreForm([array(rows)], small, {"px_per_position": px_per_position(modules)})
