"""Values to stored values and back."""

import math

import numpy as np
import pytest
import torch
from helpers import stores
from torch import Tensor

from gimstage.cache import ENCODINGS, Affine, check_values, fidelity
from gimstage.errors import CacheError

UINT8 = ENCODINGS["uint8"]


@pytest.fixture(scope="module")
def gaussian() -> Tensor:
    """Values like a module's residual sums: (sample, channel, y, x), each channel its own width."""
    generator = torch.Generator().manual_seed(1)
    width = torch.linspace(0.5, 3, 16).view(-1, 1, 1)
    return torch.randn(24, 16, 28, 28, generator=generator) * width


def test_float32_comes_back_exactly(gaussian: Tensor) -> None:
    assert torch.equal(ENCODINGS["float32"].decode(ENCODINGS["float32"].encode(gaussian)), gaussian)


@pytest.mark.parametrize("encoding", ["float16", "float16_zstd"])
def test_float16_comes_back_exactly(encoding: str, gaussian: Tensor) -> None:
    halves = gaussian.half().float()
    assert torch.equal(ENCODINGS[encoding].decode(ENCODINGS[encoding].encode(halves)), halves)


def test_round5_is_the_nearest_even_number_of_5_bits_for_every_finite_float16() -> None:
    every = np.arange(65536, dtype=np.uint16).view(np.float16)
    every = every[np.abs(every) <= 64512]
    mantissa, exponent = np.frexp(every.astype(np.float64))
    # Below 2**-14 the spacing no longer shrinks.
    step = np.exp2(np.maximum(exponent, -13) - 6.0)
    nearest = np.rint(every.astype(np.float64) / step) * step
    assert np.array_equal(ENCODINGS["round5"].encode(torch.from_numpy(every)).numpy(), nearest)
    assert np.abs(mantissa).max() < 1


def test_round5_keeps_43_db(gaussian: Tensor) -> None:
    found = fidelity(gaussian, ENCODINGS["round5"], channel_axis=-3)
    assert found["snr_db"] > 43
    assert found["worst_channel_snr_db"] > 43


def test_uint8_keeps_40_db(gaussian: Tensor) -> None:
    affine = UINT8.ranges(gaussian, channel_axis=-3)
    found = fidelity(gaussian, UINT8, channel_axis=-3, affine=affine)
    assert found["snr_db"] > 40
    assert found["worst_channel_snr_db"] > 39
    assert found["clipped"] == 0


def test_uint8_errs_by_half_a_step_at_most(gaussian: Tensor) -> None:
    affine = UINT8.ranges(gaussian, channel_axis=-3)
    back = UINT8.decode(UINT8.encode(gaussian, affine), affine)
    steps = (back - gaussian).abs() / affine.scale.view(-1, 1, 1)
    assert steps.max() < 0.501


def test_uint8_counts_what_it_clips() -> None:
    affine = UINT8.ranges(torch.tensor([[0.0], [255.0]]), channel_axis=-1)
    values = torch.tensor([[-9.0], [0.0], [100.0], [300.0]])
    assert UINT8.encode(values, affine).flatten().tolist() == [0, 0, 100, 255]
    found = fidelity(values, UINT8, channel_axis=-1, affine=affine)
    assert found["clipped"] == 0.5
    assert found["max_error"] == 45


def test_a_constant_channel_comes_back_exactly() -> None:
    values = torch.tensor([[7.25, 0.0], [7.25, 1.0]])
    affine = UINT8.ranges(values, channel_axis=-1)
    assert (affine.scale > 0).all()
    assert torch.equal(UINT8.decode(UINT8.encode(values, affine), affine), values)


def test_calibration_survives_the_widest_range() -> None:
    values = torch.tensor([[-3e38], [3e38]])
    affine = UINT8.ranges(values, channel_axis=-1)
    assert torch.isfinite(affine.scale).all()


def test_uint8_without_its_map_is_refused() -> None:
    with pytest.raises(CacheError) as caught:
        UINT8.encode(torch.zeros(1))
    assert str(caught.value) == (
        "encoding uint8: no scale and offset; expected those that `ranges` measures"
    )


def test_decoding_follows_channels_through_leading_axes() -> None:
    affine = Affine(torch.tensor([1.0, 10.0]), torch.tensor([0.0, 5.0]), -2)
    raw = torch.ones(3, 1, 2, 4, dtype=torch.uint8)
    assert UINT8.decode(raw, affine)[2, 0, :, 3].tolist() == [1, 15]


@pytest.mark.parametrize(
    ("encoding", "bad", "message"),
    [
        (
            "float16",
            math.nan,
            "stage demo/2, row 41: values from nan to nan; expected finite values within "
            "±65504 for the encoding float16; "
            "store it as float32, or look for what makes the features grow",
        ),
        (
            "float32",
            -math.inf,
            "stage demo/2, row 41: values from -inf to 1; expected finite values within "
            "±3.40282e+38 for the encoding float32; "
            "store it as float32, or look for what makes the features grow",
        ),
        (
            "round5",
            65000,
            "stage demo/2, row 41: values from 1 to 65000; expected finite values within "
            "±64512 for the encoding round5; "
            "store it as float32, or look for what makes the features grow",
        ),
    ],
)
def test_a_value_that_cannot_be_stored_is_refused(encoding: str, bad: float, message: str) -> None:
    values = torch.ones(3, 2, 2)
    values[1, 0, 1] = bad
    with pytest.raises(CacheError) as caught:
        check_values(
            values, ENCODINGS[encoding], where="stage demo/2", first_row=40, rectified=False
        )
    assert str(caught.value) == message


@pytest.mark.parametrize(("encoding", "limit"), [("float16", 65504.0), ("round5", 64512.0)])
def test_the_largest_value_allowed_is_stored_exactly(encoding: str, limit: float) -> None:
    values = torch.tensor([[limit, -limit]])
    check_values(values, ENCODINGS[encoding], where="m", first_row=0, rectified=False)
    assert torch.equal(ENCODINGS[encoding].decode(ENCODINGS[encoding].encode(values)), values)


def test_an_exact_encoding_reports_no_decibels(gaussian: Tensor) -> None:
    found = fidelity(gaussian, ENCODINGS["float32"], channel_axis=-3)
    assert found == {
        "snr_db": None,
        "worst_channel_snr_db": None,
        "max_error": 0,
        "clipped": 0,
    }


def test_fidelity_is_the_ratio_of_signal_to_error() -> None:
    affine = Affine(torch.tensor([1.0]), torch.tensor([0.0]), -1)
    found = fidelity(torch.tensor([[10.5], [100.0]]), UINT8, channel_axis=-1, affine=affine)
    assert found["snr_db"] == pytest.approx(10 * math.log10((10.5**2 + 100**2) / 0.5**2))


def test_the_worst_channel_is_reported() -> None:
    affine = Affine(torch.tensor([1.0, 8.0]), torch.tensor([0.0, 0.0]), -1)
    found = fidelity(torch.tensor([[10.5, 4.0]]), UINT8, channel_axis=-1, affine=affine)
    assert found["worst_channel_snr_db"] == pytest.approx(0)


def test_noise_on_a_silent_channel_is_a_finite_number() -> None:
    affine = Affine(torch.tensor([1.0]), torch.tensor([0.5]), -1)
    found = fidelity(torch.zeros(4, 1), UINT8, channel_axis=-1, affine=affine)
    assert found["snr_db"] < -1000
    assert math.isfinite(found["snr_db"])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("encoding", stores.ENCODINGS)
def test_a_gpu_encodes_and_decodes_the_same(encoding: str, gaussian: Tensor) -> None:
    affine = UINT8.ranges(gaussian, channel_axis=-3)
    here = ENCODINGS[encoding].encode(gaussian, affine)
    there = ENCODINGS[encoding].encode(gaussian.cuda(), affine)
    assert torch.equal(here, there.cpu())
    back = ENCODINGS[encoding].decode(there, affine).cpu()
    torch.testing.assert_close(back, ENCODINGS[encoding].decode(here, affine), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 1e6])
def test_rectified_values_are_refused_by_their_largest_alone(wrong: float) -> None:
    values = torch.ones(3, 4)
    check_values(values, ENCODINGS["float16"], where="m", first_row=0, rectified=True)
    values[2, 1] = wrong
    with pytest.raises(CacheError) as caught:
        check_values(values, ENCODINGS["float16"], where="m", first_row=0, rectified=True)
    assert str(caught.value).startswith("m, row 2: values from ")
