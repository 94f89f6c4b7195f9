"""Stored features, described and drawn."""

from pathlib import Path

import pytest
from helpers.homes import at
from helpers.rows import features

from gimstage.errors import CacheError
from gimstage.inspection import draw


@pytest.fixture(scope="module")
def finished(finished_speech: Path) -> Path:
    """The small recipe is that of speech."""
    return finished_speech


def test_a_stored_sequence_is_drawn(finished: Path, tmp_path: Path) -> None:
    for number in (1, 6):
        draw(features(finished, number), at(finished).data, tmp_path / "x.png", sample=2, title="x")
        assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(CacheError) as caught:
        draw(features(finished, 6), at(finished).data, tmp_path / "y.png", sample=15, title="y")
    assert str(caught.value) == f"{features(finished, 6)}: no sample 15; expected 0 to 14"
