"""What a finished stage's manifest vouches for, and what one of the release before does."""

import hashlib
import json
from pathlib import Path

import pytest
from helpers.homes import at, states
from helpers.manifests import BESIDE

from gimstage.errors import DamagedCacheError
from gimstage.runs.folder import check_files


def as_the_release_before(home: Path) -> list[Path]:
    """Turn all manifests of a home into those of format 1; their paths."""
    paths = sorted((home / "runs").glob("*/*/manifest.json"))
    for path in paths:
        document = json.loads(path.read_text())
        del document["sha256"]
        document.pop("files", None)
        path.write_text(json.dumps(document | {"format": 1}))
    return paths


def test_a_manifest_lists_every_file_beside_it(finished: Path) -> None:
    folder = finished / "runs/tiny/2"
    written = json.loads((folder / "manifest.json").read_text())
    assert written["files"] == [
        {
            "path": name,
            "bytes": (folder / name).stat().st_size,
            "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest(),
        }
        for name in BESIDE
    ]


def test_runs_of_the_release_before_are_done(home: Path) -> None:
    texts = {path: path.read_text() for path in as_the_release_before(home)}
    assert states(home) == ["done"] * 4
    at(home).run()
    assert {path: path.read_text() for path in texts} == texts


def test_what_the_release_before_did_not_vouch_for_is_not_looked_at(home: Path) -> None:
    as_the_release_before(home)
    (home / "runs/tiny/2/metrics.jsonl").write_text("")
    assert states(home) == ["done"] * 4


@pytest.mark.parametrize("name", BESIDE)
def test_a_file_that_lost_a_bit_is_damage(home: Path, name: str) -> None:
    path = home / "runs/tiny/2" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert states(home) == ["done", "damaged", "stale", "stale"]


@pytest.mark.parametrize("name", BESIDE)
def test_a_folder_in_place_of_a_file_is_damage(home: Path, name: str) -> None:
    path = home / "runs/tiny/2" / name
    path.unlink()
    path.mkdir()
    folder = at(home).runs.folder("tiny/2")
    manifest = folder.manifest()
    assert manifest is not None
    with pytest.raises(DamagedCacheError) as caught:
        check_files(folder, manifest)
    assert str(caught.value) == (
        f"{path}: a folder; expected the file its manifest names; run `"
        f"gimstage train-stage 2 --recipe stages/tiny --runs {home / 'runs'}`"
    )
    assert states(home) == ["done", "damaged", "stale", "stale"]
