"""Waiting for another process without a clock."""

import subprocess
import time
from pathlib import Path
from typing import Any


def wait_for(path: Path, process: "subprocess.Popen[Any]") -> None:
    """Wait until a process has written a file, however busy the machine is.

    Raises:
        AssertionError: the process ended without writing it.
    """
    while not path.exists():
        assert process.poll() is None
        time.sleep(0.01)
