"""What features.zarr of a stage looks like: its arrays, their axes, chunks and attributes.

images   features, codes (sample, view, row, column, channel, y, x); a chunk is a stored view
maps     features (sample, view, y, x, channel); a chunk is a square of positions
speech   features (frame, channel), utterances end to end, and `offsets` of their beginnings
"""

from gimstage.cache import ENCODINGS, StoreLayout
from gimstage.inputs import DataSet
from gimstage.modality.base import small_layout
from gimstage.recipe.chain import Chain


def features_layout(
    chain: Chain, data: DataSet, *, fingerprint: str, weights_sha256: str
) -> StoreLayout:
    """features.zarr of the chain's last stage, down to the byte.

    Args:
        chain: the stage, last of its chain.
        data: the data set.
        fingerprint: the fingerprint of what it hands on.
        weights_sha256: the SHA-256 of the very weights that computed it.
    """
    (arrays, small, attributes), output = data.store_form(chain), chain.last.spec.output
    if ENCODINGS[output.encoding].steps:
        channels = (arrays[0].shape[arrays[0].channel_axis],)
        small.append(small_layout("features_scale", channels, "float32", "channel"))
        small.append(small_layout("features_offset", channels, "float32", "channel"))
    return StoreLayout(
        arrays=tuple(arrays),
        small=tuple(small),
        attributes={
            "gimstage": f"features of module {chain.last.key}",
            "fingerprint": fingerprint,
            "weights_sha256": weights_sha256,
            "split": chain.data.train_split,
            "after_relu": output.relu,
            **attributes,
        },
    )


def planned_layout(chain: Chain, data: DataSet) -> StoreLayout:
    """The same before anything is computed: of the size it will have, for all digests are as long.

    Args:
        chain: the stage, last of its chain.
        data: the data set.
    """
    unknown = "0" * 64
    return features_layout(chain, data, fingerprint=unknown, weights_sha256=unknown)
