"""Synthetic signals: what is written, and what is planned of it before."""

from pathlib import Path

import numpy as np
import pytest

from gimstage.data.demo_series import CHANNELS, ROWS, STATES, PlannedSeries, write_demo_series
from gimstage.data.series import AXES, Series, SeriesFiles, SeriesSplit
from gimstage.errors import DataError

DEMO = {"seed": 3, "subjects": 2, "train": 2, "test": 1}


def splits(root: Path, name: str) -> tuple[SeriesSplit, PlannedSeries]:
    written = SeriesSplit(Series(SeriesFiles(root, "x.npy", AXES, frame_rows=20)), name)
    return written, PlannedSeries(root, name, frame_rows=20, **DEMO)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("signals") / "demo"
    write_demo_series(root, **DEMO)
    return root


def test_the_same_numbers_give_the_same_bytes(root: Path, tmp_path: Path) -> None:
    write_demo_series(tmp_path / "again", **DEMO)
    for path in root.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
    write_demo_series(tmp_path / "other", **DEMO | {"seed": 4})
    assert not np.array_equal(np.load(tmp_path / "other/x.npy"), np.load(root / "x.npy"))


def test_signals_are_finite_in_microvolts_and_centred(root: Path) -> None:
    signals = np.load(root / "x.npy")
    assert signals.shape == (6, ROWS, CHANNELS)
    assert np.isfinite(signals).all()
    assert (np.abs(signals.mean((0, 1))) < 2).all()
    assert ((signals.std((0, 1)) > 5) & (signals.std((0, 1)) < 30)).all()


@pytest.mark.parametrize("name", ["train", "test"])
def test_what_is_planned_is_what_is_written(root: Path, name: str) -> None:
    written, planned = splits(root, name)
    assert list(planned.ids) == list(written.ids)
    assert planned.samples.tolist() == written.samples.tolist()
    assert planned.channels == written.channels
    for own in (planned, written):
        assert list(own.columns) == ["subject"]
        assert list(own.interval_columns()) == ["state"]
    subjects = [own.column("subject") for own in (planned, written)]
    assert subjects[0].classes == subjects[1].classes
    assert np.array_equal(subjects[0].values, subjects[1].values)
    states = [own.frame_labels("state") for own in (planned, written)]
    assert states[0].classes == states[1].classes
    for index in range(len(planned)):
        assert np.array_equal(states[0].values[index], states[1].values[index])


def test_every_state_lasts_and_is_followed_by_another(root: Path) -> None:
    states = np.load(root / "state.npy")
    assert {*np.unique(states)} == set(range(STATES))
    runs = np.diff(np.flatnonzero(np.diff(states[0])))
    assert runs.min() >= 250


def test_signals_that_are_not_written_cannot_be_read(tmp_path: Path) -> None:
    planned = PlannedSeries(tmp_path / "none", "train", frame_rows=20, **DEMO)
    with pytest.raises(DataError) as info:
        planned.read(0, 0, np.empty((1, CHANNELS), np.float32))
    assert str(info.value) == (
        f"{tmp_path}/none: the data of this demo is not written yet; any command that trains or "
        "probes writes it"
    )
