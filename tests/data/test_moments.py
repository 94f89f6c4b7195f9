"""Mean and standard deviation, piece by piece."""

import numpy as np

from gimstage.data.moments import Moments


def test_pieces_give_the_moments_of_the_whole() -> None:
    whole = np.random.default_rng(1).normal([[1e6], [-3]], [[1e-2], [5]], (2, 1000))
    moments = Moments()
    for piece in np.split(whole, [1, 10, 10, 700], axis=1):
        moments.add(piece)
    np.testing.assert_allclose(moments.mean, whole.mean(1), rtol=1e-12)
    np.testing.assert_allclose(moments.std, whole.std(1), rtol=1e-6)
    assert moments.count == 1000


def test_maps_of_integers_count_every_pixel() -> None:
    moments = Moments()
    moments.add(np.array([[[0, 255], [255, 0]]], np.uint8))
    assert (moments.count, moments.mean.tolist(), moments.std.tolist()) == (4, [127.5], [127.5])
