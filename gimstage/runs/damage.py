"""What is damaged in a folder of runs before it is worked on: set aside, and said so."""

import os
from contextlib import suppress
from typing import get_args

from gimstage.errors import CacheError, DamagedCacheError
from gimstage.files import UnreadableError, require_regular, set_aside, write_json
from gimstage.runs.folder import RunFolder, check_digest
from gimstage.runs.manifest import KeptName, Manifest

_AGAIN = "it is made again"


def clear_the_way(folder: RunFolder) -> None:
    """Set aside a manifest that is none, and what lies where files and folders should be.

    A record of memory that is damaged is written again from the manifest, and losses that are
    damaged are done without. Other files of other bytes than the manifest names are left to those
    who know how to make them again.

    Raises:
        CacheError: a newer gimstage left its manifest here, which nobody works over.
    """
    try:
        record = folder.record()
    except DamagedCacheError as error:
        set_aside(folder.manifest_path, error.found, "what it should tell of is checked again")
        record = None
    if isinstance(record, Manifest):
        _restore_memory(folder, record)
        _do_without_metrics(folder, record)
    for path in (folder.path / name for name in get_args(KeptName)):
        try:
            with suppress(FileNotFoundError):
                require_regular(path)
        except UnreadableError as error:
            set_aside(path, str(error), _AGAIN)
    for place in (folder.training.path, folder.features):
        if os.path.lexists(place) and not place.is_dir():
            set_aside(place, "no folder", _AGAIN)


def _restore_memory(folder: RunFolder, manifest: Manifest) -> None:
    digest = manifest.digests.get(folder.memory.name)
    if digest is None or manifest.memory is None:
        return
    try:
        check_digest(folder.memory, digest)
    except CacheError as error:
        set_aside(folder.memory, error.found, "it is written again from the manifest")
        write_json(folder.memory, manifest.memory.model_dump())


def _do_without_metrics(folder: RunFolder, manifest: Manifest) -> None:
    """Go on without the losses of a training where they are damaged.

    Nothing is made from them, and to have them again would take the whole training.
    """
    digest = manifest.digests.get(folder.metrics.name)
    if digest is None:
        return
    try:
        check_digest(folder.metrics, digest)
    except CacheError as error:
        then = "the stage goes on without its losses, but for the first and the last"
        set_aside(folder.metrics, error.found, then)
        others = [file for file in manifest.files if file.path != folder.metrics.name]
        folder.record_again(manifest.model_copy(update={"files": others}))
