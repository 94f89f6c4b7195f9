"""The data behind a run: found where it lies, and only if its bytes are the same."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.digests import fingerprint
from helpers.manifests import IMAGES, write_stage
from PIL import Image

from gimstage.data.demo import write_demo
from gimstage.data.digests import Digests
from gimstage.data.kinds import data_folders
from gimstage.data.stl10 import files
from gimstage.inputs import find_data, memo_path
from gimstage.progress import Watch
from gimstage.report.raw import find_raw
from gimstage.runs.folder import RunFolder
from gimstage.runs.manifest import Manifest
from gimstage.specs import OwnImagesSpec


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images that nobody has read yet."""
    folder = tmp_path_factory.mktemp("images") / "data"
    write_demo(folder, unlabeled=6, train=10, test=10, seed=1)
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def manifest(runs: Path, images: Path, tmp_path: Path) -> Manifest:
    """That of a stage which was trained on the images, though not by a run that remembers where."""
    sha = fingerprint(files(images, "unlabeled"))
    folder = write_stage(runs, "small/1", data=IMAGES, data_sha256=sha)
    found = RunFolder(folder).manifest()
    assert found is not None
    return found


def remember(runs: Path, *paths: Path) -> None:
    """As if a run had read files, of which some are gone since."""
    digests = Digests(memo_path(runs))
    for path in paths:
        gone = not path.exists()
        if gone:
            path.parent.mkdir()
            path.touch()
        digests.of([path])
        if gone:
            shutil.rmtree(path.parent)
    digests.keep()


def test_data_is_found_where_it_is_said_to_be(manifest: Manifest, runs: Path, images: Path) -> None:
    found = find_raw(manifest, runs, images)
    assert found is not None
    assert found.root == images


def test_data_nobody_knows_of_is_not_found(manifest: Manifest, runs: Path) -> None:
    assert find_raw(manifest, runs, None) is None


def test_a_demos_data_is_found_below_the_runs(manifest: Manifest, runs: Path, images: Path) -> None:
    shutil.copytree(images, runs / "data/demo-6-10-10-1")
    found = find_raw(manifest, runs, None)
    assert found is not None
    assert found.root == runs / "data/demo-6-10-10-1"


def test_data_is_found_where_a_run_once_read_it(
    manifest: Manifest, runs: Path, images: Path
) -> None:
    remember(runs, images.parent / "gone/unlabeled_X.bin", images / "unlabeled_X.bin")
    found = find_raw(manifest, runs, None)
    assert found is not None
    assert found.root == images


def test_data_of_other_bytes_is_passed_over_for_the_right_one(
    manifest: Manifest, runs: Path, images: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    write_demo(other, unlabeled=6, train=10, test=10, seed=2)
    remember(runs, images / "unlabeled_X.bin")
    found = find_raw(manifest, runs, other)
    assert found is not None
    assert found.root == images


def test_a_folder_without_data_is_passed_over(
    manifest: Manifest, runs: Path, images: Path, tmp_path: Path
) -> None:
    remember(runs, images / "unlabeled_X.bin")
    assert find_raw(manifest, runs, tmp_path / "nowhere") is not None


@pytest.mark.parametrize("memo", ["", "{", "[3]", "7", "null", '{"notes.txt": 1}'])
def test_a_memo_that_says_nothing_is_as_good_as_none(
    manifest: Manifest, runs: Path, memo: str
) -> None:
    (runs / "data").mkdir(parents=True)
    (runs / "data/fingerprints.json").write_text(memo)
    assert find_raw(manifest, runs, None) is None


def test_images_that_were_imported_are_found_where_they_were_imported_from(
    tmp_path: Path, runs: Path
) -> None:
    table: dict[str, Any] = IMAGES | {"source": "images", "size_px": 88, "fit": "crop"}
    table |= {"train_split": "train"}
    spec = OwnImagesSpec.model_validate(table | {"table": "words.csv"})
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(6):
        image = Image.new("L", (88, 99 + number), number)
        image.save(photos / f"{number}.png")
    lines = [f"{n}.png,{'test' if n % 2 else 'train'}\n" for n in range(6)]
    (photos / "words.csv").write_text("path,split\n" + "".join(lines))
    data = find_data(spec, photos, runs)
    data.make(Watch())
    sha = data.fingerprint("train", runs)
    folder = write_stage(runs, "small/1", data=spec.identity(), data_sha256=sha)
    manifest = RunFolder(folder).manifest()
    assert manifest is not None
    found = find_raw(manifest, runs, None)
    assert found is not None
    assert found.root == photos
    (photos / "1.png").unlink()
    assert find_raw(manifest, runs, None) is None


@pytest.mark.parametrize(
    ("file", "folders"),
    [
        ("a/b/c.npy", ["a/b/c.npy", "a/b", "a"]),
        ("a/b/x.zarr/eeg/c/0/0", ["a/b/x.zarr", "a/b"]),
        ("a/b/train_X.bin", ["a/b"]),
        ("a/b/notes.txt", []),
    ],
)
def test_a_files_data_begins_in_the_folders_of_its_layout(file: str, folders: list[str]) -> None:
    assert data_folders(Path(file)) == list(map(Path, folders))
