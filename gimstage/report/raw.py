"""The raw data behind a run, found again by its fingerprint: nothing else may be drawn from."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, zip_longest
from pathlib import Path

from gimstage.data.digests import remembered_files
from gimstage.data.kinds import data_folders
from gimstage.data.rawstore import read_record
from gimstage.errors import DamagedCacheError, DataError
from gimstage.inputs import DataSet, find_data, memo_path
from gimstage.runs.manifest import Manifest
from gimstage.specs import DataSpec


def find_raw(manifest: Manifest, root: Path, data: Path | None) -> DataSet | None:
    """The data set a stage was trained on; None where no folder holds the same bytes.

    Args:
        manifest: the manifest of the stage.
        root: the runs folder.
        data: a folder to look at first.

    Raises:
        StaleCacheError: this release cannot read what the stage says of its data.
    """
    spec = manifest.chain().data
    named = [] if data is None else [(data, spec)]
    others = ((folder, spec) for folder in dict.fromkeys(_folders(root)))
    for folder, found in chain(named, _imported(spec, root), others):
        with suppress(DataError):
            data_set = find_data(found, folder, root)
            if data_set.fingerprint(spec.train_split, root) == manifest.data_sha256:
                return data_set
    return None


def _imported(spec: DataSpec, root: Path) -> Iterator[tuple[Path, DataSpec]]:
    """Where imported files lie, and how they were found there, as their imports recorded."""
    for path in sorted((root / "data").glob("*.zarr/import.json")):
        with suppress(DataError, DamagedCacheError):
            record = read_record(path.parent)
            if record.get("source") == spec.source:
                yield Path(record["root"]), spec.model_copy(update=record["finding"])


def _folders(root: Path) -> Iterator[Path]:
    """Where data may lie: a demo's below the runs, wherever files were once read."""
    yield from sorted((root / "data").glob("demo-*"))
    files = map(data_folders, remembered_files(memo_path(root)))
    levels = zip_longest(*files)  # the lowest folders of all files first
    yield from (folder for level in levels for folder in level if folder)
