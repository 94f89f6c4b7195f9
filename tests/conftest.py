"""What all tests share: the golden fixtures and where they lie."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

Golden = dict[str, Tensor]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let another folder of the same format stand in for the golden fixtures."""
    parser.addoption(
        "--golden",
        type=Path,
        default=Path(__file__).parent / "golden",
        metavar="DIR",
        help="folder of .npz fixtures that the golden tests run on",
    )


@pytest.fixture(scope="session")
def golden(request: pytest.FixtureRequest) -> Callable[[str], Golden]:
    """Loads a fixture by name: floating arrays as float64 tensors, all others as int64."""
    folder: Path = request.config.getoption("--golden")

    def load(name: str) -> Golden:
        with np.load(folder / f"{name}.npz") as arrays:
            return {key: _wide(torch.from_numpy(arrays[key])) for key in arrays.files}

    return load


def _wide(array: Tensor) -> Tensor:
    return array.to(torch.float64 if array.is_floating_point() else torch.int64)
