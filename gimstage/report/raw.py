"""The raw data behind a run, found again by its fingerprint: nothing else may be drawn from."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any

from gimstage.data.kinds import data_folders
from gimstage.errors import DataError
from gimstage.inputs import DataSet, find_data
from gimstage.specs import DATA_SPECS


def find_raw(identity: Mapping[str, Any], root: Path, data: Path | None) -> DataSet | None:
    """The data set a stage was trained on; None where no folder holds the same bytes.

    Args:
        identity: of the stage, its stored views included.
        root: the runs folder.
        data: a folder to look at first.
    """
    kind = DATA_SPECS[identity["data"]["source"]]
    # Of [validation] an identity has only what decides which samples are held out.
    table = {key: value for key, value in identity["data"].items() if key != "validation"}
    # A demo's data lies on disk as the real one's, but how it was written is no identity.
    spec = kind.model_validate({**table, "source": kind.layout})
    for folder in dict.fromkeys(_folders(root, data)):
        with suppress(DataError):
            found = find_data(spec, folder, root)
            if found.fingerprint(spec.train_split, root) == identity["data_sha256"]:
                return found
    return None


def _folders(root: Path, data: Path | None) -> Iterator[Path]:
    """Where data may lie: as told, a demo's below the runs, wherever files were once read."""
    if data is not None:
        yield data
    yield from sorted((root / "data").glob("demo-*"))
    try:
        files = [Path(name) for name in json.loads((root / "data/fingerprints.json").read_text())]
    except (OSError, ValueError, TypeError):
        return
    levels = zip_longest(*map(data_folders, files))  # the lowest folders of all files first
    yield from (folder for level in levels for folder in level if folder)
