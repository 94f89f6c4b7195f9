"""pytest's option `--golden DIR`, which names another folder of golden fixtures.

A plugin, found by its entry point: pytest must know the option before it reads DIR as a folder of
tests. This file imports nothing of gimstage.
"""

from pathlib import Path
from typing import Any


def pytest_addoption(parser: Any) -> None:
    """Let another folder of the same format stand in for the golden fixtures."""
    parser.addoption(
        "--golden",
        type=Path,
        default=None,
        metavar="DIR",
        help="folder of .npz fixtures that gimstage's golden tests run on",
    )
