"""Data that is other than its fingerprint says, in single bits and under old times."""

import subprocess
from pathlib import Path

import pytest
from helpers.digests import flip
from helpers.homes import at, bits, states

from gimstage.errors import ChangedDataError
from gimstage.inputs.reread import verify_data
from gimstage.progress import Interrupted, Progress, Watch
from gimstage.runs.folder import RunFolder
from gimstage.work.pipeline import Pipeline


def images_of(home: Path, split: str = "unlabeled") -> Path:
    return next((home / "runs/data").glob(f"demo-*/{split}_X.bin"))


def remembered(home: Path) -> Path:
    """The same home, once a run has read its data there."""
    data = at(home).data
    digests = data.digests(home / "runs")
    for split in ("unlabeled", "train", "test"):
        digests.of(data.files(split).values())
    digests.keep()
    return home


def verify(pipeline: Pipeline, watch: Watch | None = None) -> None:
    """Compare the data with all that the stages and the probes say of it."""
    folders = sorted((pipeline.root / "tiny").iterdir())
    records = [record for folder in folders if (record := RunFolder(folder).record())]
    verify_data(pipeline.data, records, runs=pipeline.root, watch=watch or Watch())


def test_a_stage_is_not_trained_on_a_pixel_that_flipped_under_its_old_time(fresh: Path) -> None:
    at(fresh).run()
    before = bits(fresh)
    manifest = fresh / "runs/tiny/1/manifest.json"
    manifest.with_name("weights.safetensors").unlink()
    manifest.unlink()
    flip(images_of(fresh))
    with pytest.raises(ChangedDataError) as info:
        at(fresh).train_stage(1)
    assert info.value.where == str(images_of(fresh))
    assert not manifest.exists()
    subprocess.run(info.value.cure.split("`")[1], shell=True, check=True)
    at(fresh).run()
    assert bits(fresh) == before


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_probe_is_not_fitted_on_a_pixel_that_flipped_under_its_old_time(
    home: Path, split: str
) -> None:
    RunFolder(remembered(home) / "runs/tiny/probe").withdraw()
    flip(images_of(home, split))
    with pytest.raises(ChangedDataError):
        at(home).probe("probe")
    assert states(home)[-1] == "missing"


class FlipAt(Watch):
    """A watch that flips a bit of a file when it hears of a task."""

    def __init__(self, task: str, path: Path) -> None:
        super().__init__(report=self._flip)
        self.task, self.path = task, path

    def due(self) -> bool:
        return True

    def _flip(self, progress: Progress) -> None:
        if progress.task == self.task:
            flip(self.path)
            self.task = ""


@pytest.mark.parametrize("task", ["tiny/1 train", "tiny/1 extract"])
def test_a_stage_whose_data_change_meanwhile_is_not_committed(fresh: Path, task: str) -> None:
    path = images_of(fresh)
    with pytest.raises(ChangedDataError):
        at(fresh, FlipAt(task, path)).train_stage(1)
    folder = fresh / "runs/tiny/1"
    assert not (folder / "manifest.json").exists()
    assert not (folder / "features.zarr").exists()
    assert not (folder / "checkpoint").exists()


class Hearing(Watch):
    """A watch that keeps all tasks it hears of, and asks to stop once it hears of one of them."""

    def __init__(self, stop_at: str = "") -> None:
        super().__init__(report=self._hear)
        self.tasks: list[str] = []
        self.stop_at = stop_at

    def due(self) -> bool:
        return True

    def _hear(self, progress: Progress) -> None:
        self.tasks.append(progress.task)
        if progress.task == self.stop_at:
            self.stop.set()


def test_a_training_interrupted_before_its_data_changed_starts_anew(fresh: Path) -> None:
    with pytest.raises(Interrupted):
        at(fresh, Hearing("tiny/1 train")).train_stage(1)
    assert (fresh / "runs/tiny/1/checkpoint").exists()
    flip(images_of(fresh))
    with pytest.raises(ChangedDataError):
        at(fresh).train_stage(1)
    assert not (fresh / "runs/tiny/1/checkpoint").exists()


def test_reading_the_data_is_shown_once_for_all_stages(fresh: Path) -> None:
    remembered(fresh)
    images_of(fresh).chmod(0o600)  # so that this process has not read it as it is
    watch = Hearing()
    at(fresh, watch).run()
    shown = [task for task in watch.tasks if task.endswith("verify")]
    assert list(dict.fromkeys(shown)) == ["tiny/1 verify", "tiny/2 verify"]
    # Stage 3 reads the features of 2, stage 2 those of 1; the data only stage 1.
    assert watch.tasks[0] == "tiny/1 verify"


def test_data_as_all_records_say_it_is_passes(home: Path) -> None:
    heard: list[Progress] = []
    verify(at(home), Watch(report=heard.append))
    assert {each.task for each in heard} <= {"data verify"}


@pytest.mark.parametrize("split", ["unlabeled", "train", "test"])
def test_a_flipped_pixel_is_found_by_its_file(home: Path, split: str) -> None:
    flip(images_of(remembered(home), split))
    with pytest.raises(ChangedDataError) as info:
        verify(at(home))
    assert info.value.where == str(images_of(home, split))


def test_other_data_than_was_trained_on_is_named_by_its_split(home: Path) -> None:
    (home / "runs/data/fingerprints.json").unlink()
    pipeline = at(home)
    flip(images_of(home))
    sha = pipeline.runs.data_sha256
    with pytest.raises(ChangedDataError) as info:
        verify(at(home))
    other = at(home).runs.data_sha256
    assert str(info.value) == (
        f"{images_of(home).parent}, split 'unlabeled': SHA-256 {other[:12]}…; "
        f"expected {sha[:12]}…, which tiny/1 was made of; "
        f"run `rm -r {images_of(home).parent}`: the next command draws it again"
    )
    assert not (home / "runs/data/fingerprints.json").exists()
