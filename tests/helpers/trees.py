"""A folder as it lies there, to see whether anything was written."""

import os
from pathlib import Path

Tree = dict[str, tuple[int, int, int, int]]


def tree(folder: Path) -> Tree:
    """Mode, size, and when content and entry last changed of a folder and all below it, by path."""
    paths = [folder, *folder.rglob("*")]
    states = {str(path.relative_to(folder)): os.lstat(path) for path in paths}
    return {
        path: (state.st_mode, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
        for path, state in states.items()
    }
