"""What becomes of a damaged file: it is set aside and made again, and both are said aloud."""

import logging
import shutil
from pathlib import Path

_log = logging.getLogger(__name__)


def set_aside(path: Path, reason: str, then: str) -> None:
    """Rename a damaged file or folder to NAME.damaged, in place of an earlier one, with a warning.

    Args:
        path: what is damaged, or missing.
        reason: what is wrong with it.
        then: what is done instead of using it.
    """
    aside = path.with_name(path.name + ".damaged")
    if not (path.exists() or path.is_symlink()):
        _log.warning("%s: %s; %s", path, reason, then)
        return
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside)
    else:
        aside.unlink(missing_ok=True)
    path.rename(aside)
    _log.warning("%s: %s; set aside as %s, %s", path, reason, aside.name, then)
