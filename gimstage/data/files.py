"""Reading and making data sets so that failure is a message.

Serves the data sources: the system's errors become `DataError`, and a new folder appears whole.
Imports `errors` and `files`, nothing else of gimstage.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gimstage.errors import DataError
from gimstage.files import UnreadableError, require_regular


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Inside, a failure of the system to read `path` is raised as a DataError naming it."""
    try:
        yield
    except FileNotFoundError as error:
        cure = "check the path of the data set, or fetch the set again"
        raise DataError(str(path), "there is no such file or folder", cure=cure) from error
    except UnreadableError as error:
        cure = "check what it is, or fetch the set again"
        raise DataError(str(path), f"it is {error}", "a file", cure) from error
    except OSError as error:
        found = f"it cannot be read ({error.strerror})"
        raise DataError(str(path), found, cure="check what it is and who may read it") from error


def require_file(path: Path) -> None:
    """Refuse what could not be read to an end, such as a pipe, or not at all; inside `reading`.

    Raises:
        UnreadableError: it is no regular file.
        OSError: there is none.
    """
    if not path.is_symlink() or path.exists():
        require_regular(path)


@contextmanager
def new_folder(root: Path) -> Iterator[Path]:
    """Inside, an empty folder to fill; on leaving it becomes `root`, whole or not at all.

    Args:
        root: the folder to make; it must not exist, or be empty.

    Raises:
        DataError: the folder holds something, or cannot be written.
    """
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise DataError(str(root), "it holds something already", "a new folder", "remove it first")
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}.") as temporary:
            whole = Path(temporary) / "whole"
            whole.mkdir()
            yield whole
            _appear(whole, root)
    except OSError as error:
        found = f"it cannot be written ({error.strerror or error})"
        cure = "check the disk's free space and who may write there"
        raise DataError(str(root), found, cure=cure) from error


def _appear(whole: Path, root: Path) -> None:
    """Give a finished folder its name, unless another process was faster to write the same.

    Raises:
        OSError: it cannot be renamed.
    """
    try:
        whole.replace(root)
    except OSError:
        if not (root.is_dir() and sorted(os.listdir(root)) == sorted(os.listdir(whole))):
            raise
