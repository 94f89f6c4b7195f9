"""What a stage hands on is the same whether it is stored or recomputed."""

from dataclasses import replace

import pytest
import torch
from helpers import stores
from torch import Tensor

from gimstage.cache import ENCODINGS
from gimstage.errors import CacheError
from gimstage.inputs import HandOff


@pytest.fixture
def features() -> Tensor:
    """Features (n, channel, y, x) of both signs."""
    return torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(2))


def handoff(encoding: str = "float16", *, relu: bool = True, rectified: bool = False) -> HandOff:
    return HandOff(relu, rectified, ENCODINGS[encoding])


@pytest.mark.parametrize("encoding", stores.ENCODINGS)
def test_what_is_stored_is_read_back_as_what_is_restored(encoding: str, features: Tensor) -> None:
    plain = handoff(encoding)
    affine = plain.encoding.ranges(plain.apply(features), channel_axis=-3)
    each = replace(plain, affine=affine)
    out = torch.empty(features.shape, dtype=each.encoding.dtype)
    each.store(out, features, where="m", first_row=0)
    assert torch.equal(each.encoding.decode(out, affine), each.restored(features))


def test_features_go_through_relu_where_asked_for(features: Tensor) -> None:
    assert torch.equal(handoff().apply(features.clone()), features.relu())
    assert torch.equal(handoff(relu=False).apply(features.clone()), features)


def test_relu_of_what_is_rectified_already_is_spared(features: Tensor) -> None:
    # Values that no rectified module gives, so that a second pass would show.
    assert torch.equal(handoff(rectified=True).apply(features.clone()), features)


def test_storing_refuses_what_the_encoding_cannot_hold(features: Tensor) -> None:
    features[3, 1] = 1e6
    out = torch.empty(features.shape, dtype=torch.float16)
    with pytest.raises(CacheError) as caught:
        handoff(relu=False).store(out, features, where="stage demo/2", first_row=40)
    low = features[3].min().item()
    assert str(caught.value) == (
        f"stage demo/2, row 43: values from {low:g} to 1e+06; "
        "expected finite values within ±65504 for the encoding float16; "
        "store it as float32, or look for what makes the features grow"
    )
