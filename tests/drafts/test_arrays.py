"""What a draft takes the axes of arrays for, and which arrays it refuses."""

from pathlib import Path

import numpy as np
import pytest

from gimstage.drafts.arrays import choose_array
from gimstage.errors import DataError


def test_a_single_number_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.float32(3))
    with pytest.raises(DataError) as caught:
        choose_array(tmp_path, {})
    assert str(caught.value) == (
        "--data: an array of 0 axes; expected sequences, of one to three; "
        "name its axes in a data.toml of your own"
    )
