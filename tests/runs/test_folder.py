"""What a stage's folder holds: its weights, a training to install, its features."""

from pathlib import Path

import pytest
from helpers.homes import at

from gimstage.errors import CacheError, DamagedCacheError
from gimstage.runs.folder import RunFolder, check_files


@pytest.mark.parametrize("name", ["weights", "objective"])
def test_weights_of_other_bytes_are_named(home: Path, name: str) -> None:
    folder = at(home).runs.folder("tiny/1")
    path, manifest = getattr(folder, name), folder.manifest()
    again = f"gimstage train-stage 1 --recipe stages/tiny --runs {home / 'runs'}"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DamagedCacheError) as caught:
        check_files(folder, manifest)
    assert str(caught.value) == (f"{path}: other bytes than its manifest names; run `{again}`")
    path.unlink()
    with pytest.raises(DamagedCacheError) as caught:
        check_files(folder, manifest)
    assert str(caught.value) == (
        f"{path}: missing; expected the file its manifest names; run `{again}`"
    )


def test_a_training_is_installed_with_its_weights_last(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.training.path.mkdir()
    for name in ("weights", "objective", "metrics", "memory", "manifest_path"):
        getattr(folder.training, name).write_text(f"new {name}")
    for path in folder.training.states:
        path.write_text("new state")
    folder.manifest_path.write_text("of the weights before")
    folder.install()
    left = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert left == {
        "weights.safetensors": "new weights",
        "objective.safetensors": "new objective",
        "metrics.jsonl": "new metrics",
        "memory.json": "new memory",
    }


def test_installing_again_finishes_what_was_begun(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.training.path.mkdir()
    folder.objective.write_text("new objective")  # moved before the kill
    folder.training.weights.write_text("new weights")
    folder.weights.write_text("old weights")
    folder.install()
    assert folder.weights.read_text() == "new weights"
    assert folder.objective.read_text() == "new objective"
    assert not folder.training.path.exists()


def test_features_that_are_not_finished_are_refused_with_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(CacheError) as caught:
        RunFolder(tmp_path).open_features()
    assert str(caught.value) == (
        f"{tmp_path}: no finished features; name the folder of a stage, as in runs/demo/1"
    )
