"""Images: a crop is a grid of patches, each encoded alone, unless a module reads whole grids.

Shape letters: G patches per side of a crop, C channels, y x map inside a patch.
"""

from collections.abc import Sequence

from gimstage.cache import ArrayLayout, pick_shard_rows
from gimstage.errors import RecipeError
from gimstage.modality.base import Modality, StoreForm, small_layout
from gimstage.modules import EncoderModule
from gimstage.specs import ImageDataSpec, OutputSpec, Shape, StageSpec
from gimstage.views import StoredViews

DIMENSIONS = ("sample", "view", "row", "column", "channel", "y", "x")


class ImageModality(Modality):
    """Images.

    Args:
        data: the recipe's data.toml.
    """

    kind = ImageDataSpec.kind
    reads = frozenset({"patch", "grid"})
    crop_key = "crop_px"
    along = "patches a side"

    def __init__(self, data: ImageDataSpec) -> None:
        self.data = data

    @property
    def suited(self) -> str:
        """Which modules suit: most of them."""
        return "one for images"

    @property
    def unit_shape(self) -> Shape:
        """(C, y, x) of a patch of pixels."""
        px = self.data.live_views().patch_px
        return (self.data.in_channels, px, px)

    @property
    def crop_patches(self) -> int:
        """Patches per side of a crop, G."""
        return self.data.live_views().crop_patches

    @property
    def units_per_crop(self) -> int:
        """The patches of a crop, G²."""
        return self.crop_patches**2

    @property
    def raw_bytes(self) -> int:
        """Those of a crop's pixels, a byte a channel."""
        return self.data.raw_channels * self.data.views.crop_px**2

    def crop_shape(self, shape: Shape) -> Shape:
        """(G, G, C, y, x) of patches (C, y, x)."""
        return (self.crop_patches, self.crop_patches, *shape)

    def unit_of(self, module: EncoderModule, shape: Shape) -> Shape:
        """That very patch, or the grid of them for a module that encodes whole grids."""
        return self.crop_shape(shape) if module.reads == "grid" else shape

    def encoded_alone(self, module: EncoderModule) -> int:
        """Once for every patch, or for all of them."""
        return 1 if module.reads == "grid" else self.units_per_crop

    def input_shape(self, shapes: Sequence[Shape], below: Sequence[EncoderModule]) -> Shape:
        """(G, G, C, y, x): a patch depends on no other, so the same grid is read at any depth."""
        return self.crop_shape(shapes[0])

    def length(self, shape: Shape) -> int:
        """The number of rows of patches, G."""
        return self.crop_patches

    def crop_text(self, shape: Shape) -> str:
        """A crop in words, such as "7 × 7 patches"."""
        return f"{self.crop_patches} × {self.crop_patches} patches"

    def whole_only(self, module: EncoderModule) -> str:
        """Modules on whole grids: a place in a grid depends on where the grid ends."""
        if module.reads == "grid":
            return "a module that encodes whole grids, a crop's not being part of a larger one's"
        return ""

    def refuse(self, stage: StageSpec, modules: Sequence[EncoderModule], where: str) -> None:
        """Refuse [views]: all stages train on the crops of data.toml."""
        if stage.views is not None:
            raise RecipeError(
                f"{where} [views]",
                "given for images cut into patches",
                expected="it with sequences, or whole maps (no patch_px in data.toml), only",
                cure="remove the table",
            )


def grid_store(
    stored: StoredViews, shape: Shape, output: OutputSpec, *, labels: int | None
) -> StoreForm:
    """One chunk is one stored view of one sample; features and codes share their shards.

    Args:
        stored: the views.
        shape: (C, y, x) of the features of a patch.
        output: what is stored of them, and how.
        labels: how many there are; None for none.
    """
    grid = (stored.num_samples, stored.count, stored.patches, stored.patches)
    shape = (*grid, *shape)

    def array(name: str, shape: Shape, encoding: str, rows: int) -> ArrayLayout:
        return ArrayLayout(
            name=name,
            shape=shape,
            dims=DIMENSIONS[: len(shape)],
            encoding=encoding,
            chunk=(1, 1, *shape[2:]),
            shard_rows=rows,
        )

    one = array("features", shape, output.encoding, 1)
    rows = pick_shard_rows(shape[0], row_bytes=one.row_bytes, chunk_rows=1)
    arrays = [array("features", shape, output.encoding, rows)]
    if output.codes:
        arrays.append(array("codes", shape[:5], "float32", rows))
    small = [
        small_layout("source_sample", shape[:1], "int64", "sample"),
        small_layout("origin_y", shape[:2], "int64", "sample", "view"),
        small_layout("origin_x", shape[:2], "int64", "sample", "view"),
        small_layout("flip", shape[:2], "bool", "sample", "view"),
    ]
    if labels is not None:
        small.append(small_layout("label", shape[:1], "int64", "sample"))
    attributes = {
        "patch_px": stored.live.patch_px,
        "stride_px": stored.live.stride_px,
        "crop_patches": stored.live.crop_patches,
    }
    return StoreForm(arrays, small, attributes)
