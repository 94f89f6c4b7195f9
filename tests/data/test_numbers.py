"""Columns of numbers in a table: which are channels, which are labels, which cannot be read."""

from pathlib import Path

import numpy as np
import pytest

from gimstage.data.arraykinds import largest_of, numbers_in
from gimstage.data.arrays import arrays_below, beside, open_array
from gimstage.data.series import Series, SeriesFiles, SeriesSplit
from gimstage.data.sources import source_in
from gimstage.errors import DataError

ROWS = 60
WALK = ["walk" if row < 25 else "run" for row in range(ROWS)]


def refusal(root: Path, inside: str) -> str:
    with pytest.raises(DataError) as info:
        open_array(root, inside)
    return str(info.value).replace(str(root), "DATA")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    lines = [f"{row / 50},{row},{-row},9.81,{WALK[row]}" for row in range(ROWS)]
    (tmp_path / "acc.csv").write_text("\n".join(["time,x,y,z,activity", *lines]))
    return tmp_path


def test_the_columns_of_numbers_but_for_the_time_are_channels(root: Path) -> None:
    assert list(arrays_below(root)) == ["acc.csv/x,y,z"]
    assert list(arrays_below(root / "acc.csv")) == ["x,y,z"]
    values = open_array(root, "acc.csv").values
    assert values.shape == (ROWS, 3)
    assert values[7].tolist() == [7, -7, 9.81]
    assert np.array_equal(open_array(root, "acc.csv/y,x").values, values[:, [1, 0]])
    assert open_array(root, "acc.csv/x").shape == (ROWS,)


@pytest.mark.parametrize(
    ("place", "inside", "others"),
    [
        ("", "acc.csv", ["acc.csv/activity"]),
        ("", "acc.csv/x,y", ["acc.csv/z", "acc.csv/activity"]),
        ("acc.csv", ".", ["activity"]),
        ("acc.csv", "x,y,z", ["activity"]),
    ],
)
def test_the_other_columns_stand_beside_them(
    root: Path, place: str, inside: str, others: list[str]
) -> None:
    assert list(beside(root / place, inside)) == others


def test_a_column_of_texts_labels_stretches_of_time(root: Path) -> None:
    files = SeriesFiles(root, "acc.csv", ("time", "channel"), frame_rows=5, entry_rows=30)
    train = SeriesSplit(Series(files), "train")
    assert list(train.interval_columns()) == ["activity"]
    labels = train.frame_labels("activity")
    assert labels.classes == ("run", "walk")
    assert labels.values[0].tolist() == [1, 1, 1, 1, 1, 0]


def test_a_table_alone_in_a_folder_is_an_array(root: Path) -> None:
    assert source_in(root) == source_in(root / "acc.csv") == "array"


@pytest.mark.parametrize("separator", [";", "\t"])
def test_cells_may_be_separated_otherwise(tmp_path: Path, separator: str) -> None:
    path = tmp_path / ("a.tsv" if separator == "\t" else "a.csv")
    path.write_text(f"x{separator}y\n1{separator}2\n3{separator}4\n")
    assert open_array(tmp_path, path.name).values.tolist() == [[1, 2], [3, 4]]


def test_a_column_that_is_not_there_is_refused_with_those_that_are(root: Path) -> None:
    assert refusal(root, "acc.csv/x,w") == (
        "DATA/acc.csv: there is no column 'w'; expected one of time, x, y, z, activity; choose "
        "from: activity, time, x, y, z"
    )


def test_a_cell_that_is_no_number_is_refused(root: Path) -> None:
    text = (root / "acc.csv").read_text()
    (root / "acc.csv").write_text(text.replace("\n0.02,1,-1,", "\n0.02,,-1,"))
    assert refusal(root, "acc.csv/x,y") == (
        "DATA/acc.csv: could not convert string '' to float64 at row 1, column 2; expected a "
        'number in every cell; name the columns that hold numbers, such as array = "FILE/x,y,z" '
        "in data.toml"
    )


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n")
    assert refusal(tmp_path, "a.csv/x,y") == (
        "DATA/a.csv: it has no row; expected a row of names, then numbers; fill it"
    )


def test_why_the_only_array_in_a_place_cannot_be_read_is_said(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones(3, complex))
    with pytest.raises(DataError) as info:
        largest_of(numbers_in(tmp_path), tmp_path)
    assert str(info.value) == (
        f"{tmp_path}/x.npy: dtype complex128; expected integers or real numbers; save it as such: "
        "x.astype('float32')"
    )
