"""Tables of labels, and what they and patterns say of files: good ones, and every bad kind."""

from pathlib import Path

import pytest

from gimstage.data.listing import listing
from gimstage.data.tables import read_table
from gimstage.errors import DataError

IDS = ("a/one.wav", "a/two.wav", "b/one.wav", "b/three.wav")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four files, of which one name is there twice."""
    for name in IDS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def refusal(root: Path, text: str | bytes, name: str = "labels.csv") -> str:
    """What is said of a table, its folder's name left out."""
    (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError) as error:
        listing(root, (".wav",))
    return str(error.value).replace(f"{root}/", "")


@pytest.mark.parametrize(
    "path", ["./a/two.wav", "a\\two.wav", "two.wav", "two", "a/two"], ids=lambda path: path
)
def test_a_path_may_lack_its_folders_its_ending_or_both(root, path) -> None:
    (root / "labels.csv").write_text(f"path,who\n{path},anna\n")
    assert listing(root, (".wav",)).columns == {"who": ("anna",)}


@pytest.mark.parametrize("name", ["file", "filename", "file_name"])
def test_the_column_of_the_paths_may_have_another_usual_name(root, name) -> None:
    (root / "labels.csv").write_text(f"who,{name}\nanna,two.wav\n")
    assert list(listing(root, (".wav",)).files) == ["a/two.wav"]


def test_a_table_may_begin_with_a_mark_and_be_divided_by_semicolons(root) -> None:
    (root / "labels.csv").write_bytes('\ufeffpath;who\ntwo.wav;"a; b"\n\n'.encode())
    assert listing(root, (".wav",)).columns == {"who": ("a; b",)}


def test_a_column_without_a_name_is_a_running_number_and_no_label(root) -> None:
    (root / "labels.csv").write_text(",path,who\n0,two.wav,anna\n")
    assert set(listing(root, (".wav",)).columns) == {"who"}


def test_parquet_says_what_csv_says(root) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {
        "path": ["two.wav", "three.wav"],
        "split": ["train", "test"],
        "age": [31.0, None],
        "old": [True, False],
        "bytes": [b"1", b"2"],
    }
    parquet.write_table(pyarrow.table(columns), root / "labels.parquet")
    assert read_table(root / "labels.parquet").columns == {
        "path": ("two.wav", "three.wav"),
        "split": ("train", "test"),
        "age": ("31", None),
        "old": ("True", "False"),
    }
    assert listing(root, (".wav",)).ids("test") == ("b/three.wav",)


def test_no_parquet_is_refused_as_such(root) -> None:
    pytest.importorskip("pyarrow")
    assert refusal(root, "path\ntwo.wav\n", "labels.parquet") == (
        "labels.parquet: it is no parquet that can be read; expected a parquet file; "
        "save the table again"
    )


def test_rows_without_a_file_are_counted_and_the_first_is_named(root) -> None:
    text = "path\na/one.wav\na/two.wav\nb/four.wav\n"
    assert refusal(root, text) == (
        "labels.csv: paths of no file: 1 of 3, first 'b/four.wav' in line 4; "
        "expected a file for every row; fetch the files that are missing, or remove their rows"
    )


def test_where_most_paths_miss_the_table_is_told_what_a_path_looks_like(root) -> None:
    assert refusal(root, "path\nx/a/one.wav\nx/a/two.wav\n") == (
        "labels.csv: paths of no file: 2 of 2, first 'x/a/one.wav' in line 2; "
        "expected paths such as 'a/one.wav'; "
        "write the paths as the files are called, or fetch the files"
    )


def test_a_name_of_two_files_names_none(root) -> None:
    assert refusal(root, "path\none.wav\na/two.wav\nb/three.wav\n").startswith(
        "labels.csv: paths of no file: 1 of 3, first 'one.wav' in line 2; "
    )


def test_a_file_in_two_rows_is_refused_with_both_lines(root) -> None:
    assert refusal(root, "path,who\ntwo.wav,anna\na/two,bert\n") == (
        "labels.csv, line 3: 'a/two' is on line 2 too; expected a row a file; remove one of the two"
    )


def test_a_row_without_a_path_is_refused(root) -> None:
    assert refusal(root, "path,who\n,anna\n") == (
        "labels.csv, line 2: no path; expected a path in every row; "
        "give the path of its file, or remove the row"
    )


def test_rows_of_files_that_are_not_read_are_counted(root) -> None:
    (root / "labels.csv").write_text("path\ntwo.wav\nscan.dcm\n")
    assert listing(root, (".wav",)).left[".", ".dcm, a row of labels.csv"] == 1


def test_a_table_without_a_column_of_paths_says_how_one_is_renamed(root) -> None:
    assert refusal(root, "recording,who\ntwo.wav,anna\n").replace(str(root), "DIR") == (
        "labels.csv: no column 'path', but recording, who; expected a column 'path'; "
        "if 'recording' is that column: `sed -i 1s/recording/path/ labels.csv`"
    )


def test_a_row_of_another_length_is_named(root) -> None:
    assert refusal(root, "path,who\ntwo.wav,anna,9\n") == (
        "labels.csv, line 2: 3 cells; expected 2, as in the first line; "
        "mend the line; a cell that holds the separator stands in quotes"
    )


def test_two_columns_of_one_name_are_refused(root) -> None:
    assert refusal(root, "path,who,who\ntwo.wav,a,b\n") == (
        "labels.csv: two columns 'who'; expected every name once; rename one of the two"
    )


@pytest.mark.parametrize("text", ["", "path,who\n"], ids=["no byte", "only names"])
def test_a_table_without_a_row_is_refused(root, text) -> None:
    assert refusal(root, text) == (
        "labels.csv: it has no row; expected one row a file; add rows, or remove it"
    )


def test_a_table_in_latin_1_says_what_turns_it_into_utf_8(root) -> None:
    assert refusal(root, "path,who\ntwo.wav,J\xfcrg\n".encode("latin-1")) == (
        "labels.csv: it is not UTF-8; expected a table in UTF-8; "
        "save it as UTF-8: `iconv -f latin1 -t utf-8 labels.csv`"
    )


def test_an_open_quote_is_named_by_its_line(root) -> None:
    assert refusal(root, 'path,who\ntwo.wav,"anna\n') == (
        "labels.csv, line 2: unexpected end of data; expected a table; mend the line"
    )


def test_a_table_of_another_kind_is_refused(root) -> None:
    (root / "labels.xlsx").touch()
    with pytest.raises(DataError) as error:
        listing(root, (".wav",), table="labels.xlsx")
    assert str(error.value) == (
        f"{root}/labels.xlsx: a table that ends in '.xlsx'; expected .csv, .tsv, .parquet; "
        "save it as one of these"
    )


def test_a_pattern_is_read_from_the_end_of_the_path(root) -> None:
    found = listing(root, (".wav",), pattern="{room}/{word}.wav")
    assert found.columns["room"] == ("a", "a", "b", "b")
    assert found.columns["word"] == ("one", "two", "one", "three")


def test_a_pattern_that_no_path_fits_is_refused(root) -> None:
    with pytest.raises(DataError) as error:
        listing(root, (".wav",), pattern="{speaker}_*.flac")
    assert str(error.value) == (
        'pattern = "{speaker}_*.flac": none of 4 paths ends so; expected the end of paths such as '
        "'a/one.wav'; correct pattern in data.toml"
    )


@pytest.mark.parametrize("piece", ["{", "}", "{}", "{1}", "{a}{a}"])
def test_braces_that_hold_no_name_are_refused(root, piece) -> None:
    with pytest.raises(DataError) as error:
        listing(root, (".wav",), pattern=f"x{piece}.wav")
    shown = "{a}" if piece == "{a}{a}" else piece
    assert str(error.value) == (
        f"pattern = \"x{piece}.wav\": '{shown}'; expected names in braces, each once, such as "
        "{speaker}; correct pattern in data.toml"
    )


@pytest.mark.parametrize(
    ("header", "found", "cure"),
    [
        (" , ", "none with a name", "name the columns"),
        ("a/b,who", "a/b, who", "choose from: a/b, who"),
    ],
)
def test_columns_that_sed_cannot_rename_are_left_to_the_owner(root, header, found, cure) -> None:
    assert refusal(root, f"{header}\ntwo.wav,anna\n") == (
        f"labels.csv: no column 'path', but {found}; expected a column 'path'; {cure}"
    )
