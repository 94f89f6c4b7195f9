"""Sequences in arrays: axes in any order, ragged, long ones that are cut, their labels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gimstage.data.series import Series, SeriesFiles, SeriesSplit
from gimstage.errors import DataError

N, T, C = 10, 30, 2
X = np.random.default_rng(0).standard_normal((N, T, C)).astype(np.float32)


def series(root: Path, **changes: Any) -> Series:
    settings: dict[str, Any] = {
        "array": "x.npy",
        "axes": ("sample", "time", "channel"),
        "offsets": None,
        "entry_rows": None,
        "frame_rows": 5,
        "table": None,
    }
    return Series(SeriesFiles(root=root, **settings | changes))


def rows(split: SeriesSplit, index: int, start: int = 0, count: int | None = None) -> Any:
    count = int(split.samples[index]) - start if count is None else count
    out = np.empty((count, split.channels), np.float32)
    split.read(index, start, out)
    return out


def refusal(call: Any, *args: Any, **more: Any) -> str:
    with pytest.raises(DataError) as info:
        call(*args, **more)
    return str(info.value)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", X)
    return tmp_path


@pytest.mark.parametrize(
    "axes", ["sample time channel", "channel sample time", "time channel sample"]
)
def test_the_axes_of_an_array_may_stand_in_any_order(root: Path, axes: str) -> None:
    order = [("sample", "time", "channel").index(name) for name in axes.split()]
    np.save(root / "x.npy", X.transpose(order).astype(np.float64))
    train = SeriesSplit(series(root, axes=tuple(axes.split())), "train")
    for index, number in enumerate(map(int, train.ids)):
        assert np.array_equal(rows(train, index, 3, 20), X[number, 3:23])


def test_an_array_without_channels_has_one(root: Path) -> None:
    np.save(root / "x.npy", X[..., 0])
    train = SeriesSplit(series(root, axes=("sample", "time")), "train")
    assert np.array_equal(rows(train, 0)[:, 0], X[int(train.ids[0]), :, 0])


def test_a_hash_chooses_a_fifth_of_the_sequences_as_test(root: Path) -> None:
    own = series(root)
    assert {name: len(numbers) for name, numbers in own.splits.items()} == {"train": 8, "test": 2}
    assert own.told.division == "no split is told, so a hash of their numbers chose a fifth as test"


def test_sequences_end_to_end_are_told_apart_by_offsets(root: Path) -> None:
    np.save(root / "x.npy", X.reshape(N * T, C))
    np.save(root / "ends.npy", np.array([0, 7, 100, N * T]))
    ragged = series(root, axes=("time", "channel"), offsets="ends.npy")
    assert ragged.places.tolist() == [[0, 0, 7], [1, 7, 93], [2, 100, 200]]
    train = SeriesSplit(ragged, "train")
    first = int(train.places[1, 1])
    assert np.array_equal(rows(train, 1, 2, 40), X.reshape(-1, C)[first + 2 : first + 42])


def test_offsets_that_do_not_fit_are_refused(root: Path) -> None:
    np.save(root / "x.npy", X.reshape(N * T, C))
    np.save(root / "ends.npy", np.array([0, 100, 100, N * T]))
    assert refusal(series, root, axes=("time", "channel"), offsets="ends.npy") == (
        f"{root}/ends.npy: shape (4,), from 0 to 300; expected one axis, ascending from 0 to the "
        "300 rows of the array; numpy.cumsum([0, *lengths]) is such an array"
    )


def test_a_long_recording_is_cut_and_its_last_fifth_is_test(root: Path) -> None:
    np.save(root / "x.npy", X.reshape(N * T, C))
    long = series(root, axes=("time", "channel"), entry_rows=40)
    test = SeriesSplit(long, "test")
    assert SeriesSplit(long, "train").samples.tolist() == [40] * 6
    assert test.samples.tolist() == [40, 20]
    assert np.array_equal(rows(test, 1), X.reshape(-1, C)[280:])


def test_pieces_of_one_sequence_are_of_one_split(root: Path) -> None:
    own = series(root, entry_rows=10)
    of = {name: {*own.places[numbers, 0]} for name, numbers in own.splits.items()}
    assert (len(of["train"]), len(of["test"])) == (8, 2)
    assert SeriesSplit(own, "test").samples.tolist() == [10] * 6


def test_what_lies_beside_an_array_labels_sequences_or_rows(root: Path) -> None:
    np.save(root / "subject.npy", np.arange(N) % 3)
    phase = np.repeat(np.arange(N * T // 10), 10).reshape(N, T) % 4
    np.save(root / "phase.npy", phase)
    np.save(root / "other.npy", np.arange(N + 1))
    train = SeriesSplit(series(root), "train")
    assert list(train.columns) == ["subject"]
    assert train.column("subject").values.tolist() == [int(each) % 3 for each in train.ids]
    assert list(train.interval_columns()) == ["phase"]
    labels = train.frame_labels("phase")
    assert labels.classes == ("0", "1", "2", "3")
    assert labels.values[1].tolist() == phase[int(train.ids[1]), 2::5].tolist()


def test_what_cannot_be_read_beside_an_array_is_no_label(root: Path) -> None:
    np.save(root / "notes.npy", np.array([{"by": "me"}], object), allow_pickle=True)
    (root / "cut.npy").write_bytes(b"")
    np.save(root / "hand.npy", np.arange(N) % 2)
    assert list(SeriesSplit(series(root), "train").columns) == ["hand"]


def test_labels_of_bytes_are_read_as_text_and_a_time_that_is_none_is_a_gap(root: Path) -> None:
    np.save(root / "bird.npy", np.array([b"owl", b"jay"] * (N // 2)))
    np.save(root / "day.npy", np.array(["NaT", "2020-01-01"] * (N // 2), "M8[D]"))
    train = SeriesSplit(series(root), "train")
    assert train.column("bird").classes == ("jay", "owl")
    assert train.column("day").classes == ("2020-01-01",)


def test_a_table_labels_sequences_in_order_and_may_tell_their_split(root: Path) -> None:
    lines = [f"{'test' if n == 4 else 'train'},{'ab'[n % 2]}" for n in range(N)]
    (root / "labels.csv").write_text("\n".join(["split,hand", *lines]))
    test = SeriesSplit(series(root, table="labels.csv"), "test")
    assert (list(test.ids), list(test.columns)) == (["4"], ["hand"])
    assert test.column("hand").classes == ("a", "b")


def test_a_table_of_another_length_is_refused(root: Path) -> None:
    (root / "labels.csv").write_text("hand\na\nb\n")
    assert refusal(SeriesSplit, series(root, table="labels.csv"), "train") == (
        f"{root}/labels.csv: 2 lines below the names; expected 10, one a sequence in the order of "
        "the array; add or remove lines"
    )


def test_a_value_that_is_not_finite_is_refused_where_it_is_read(root: Path) -> None:
    holed = X.copy()
    holed[:, 12, 1] = np.nan
    np.save(root / "x.npy", holed)
    train = SeriesSplit(series(root), "train")
    rows(train, 0, 0, 12)
    assert refusal(rows, train, 0, 5) == (
        f"{root}/x.npy, sample {train.ids[0]}: nan in row 12, channel 1; expected finite numbers; "
        "fill the gaps: numpy.nan_to_num(x, copy=False), then save the array again"
    )


def test_other_axes_than_the_array_has_are_refused(root: Path) -> None:
    assert refusal(series, root, axes=("time", "channel"), entry_rows=10) == (
        f'{root}/x.npy: 3 axes of lengths (10, 30, 2); expected as many as axes = "time channel" '
        "of data.toml names; name every axis of the array"
    )


def test_a_split_that_is_not_there_is_refused(root: Path) -> None:
    assert refusal(SeriesSplit, series(root), "tset") == (
        f"{root}/x.npy: there is no split 'tset'; expected one of train, test; did you mean "
        "'test'?; no split is told, so a hash of their numbers chose a fifth as test"
    )
