"""Folders of somebody's own files: what is read, of which split, and how it is labelled."""

from pathlib import Path

import pytest

from gimstage.data.listing import listing
from gimstage.errors import DataError, NoLabelsError

PNG = (".png",)


def made(root: Path, *names: str) -> Path:
    """A folder of empty files, which a listing does not open."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def numbered(folder: str, count: int) -> list[str]:
    return [f"{folder}{number:02}.png" for number in range(count)]


def test_a_file_is_called_by_its_path_below_the_folder_in_order(tmp_path) -> None:
    root = made(tmp_path, "b/2.PNG", "b/1.png", "a.png", "b/c/3.png")
    assert list(listing(root, PNG).files) == ["a.png", "b/1.png", "b/2.PNG", "b/c/3.png"]
    assert listing(root, PNG).files["b/2.PNG"] == root / "b/2.PNG"


def test_folders_named_as_splits_are_splits_and_those_below_are_classes(tmp_path) -> None:
    root = made(tmp_path, "train/cat/1.png", "train/dog/2.png", "Test/dog/3.png", "readme.png")
    found = listing(root, PNG)
    assert found.ids("train") == ("train/cat/1.png", "train/dog/2.png")
    assert found.ids("test") == ("Test/dog/3.png",)
    train, test = found.column("class", "train"), found.column("class", "test")
    assert train.classes == test.classes == ("cat", "dog")
    assert train.values.tolist() == [0, 1]
    assert test.values.tolist() == [1]
    assert found.notes() == [
        "2 train, 1 test: told by the folders",
        "left in .: 1 in no folder of a split",
    ]


def test_one_folder_called_train_among_others_is_a_class(tmp_path) -> None:
    root = made(tmp_path, *numbered("train/", 5), *numbered("bus/", 5))
    assert listing(root, PNG).column("class", "train").classes == ("bus", "train")


def test_without_splits_a_hash_chooses_a_fifth_of_every_class_as_test(tmp_path) -> None:
    root = made(tmp_path, *numbered("cat/", 10), *numbered("dog/", 5))
    found = listing(root, PNG)
    tested = [id_.split("/")[0] for id_ in found.ids("test")]
    assert tested == ["cat", "cat", "dog"]
    assert sorted(found.ids("train") + found.ids("test")) == list(found.files)
    assert found.notes() == [
        "12 train, 3 test: no split is told, so a hash of the names chose a fifth of every class "
        "as test"
    ]


def test_without_classes_a_hash_chooses_a_fifth_of_all_as_test(tmp_path) -> None:
    assert listing(made(tmp_path, *numbered("all/", 10)), PNG).notes() == [
        "8 train, 2 test: no split is told, so a hash of the names chose a fifth of all as test"
    ]


def test_files_in_one_folder_have_no_class(tmp_path) -> None:
    found = listing(made(tmp_path, *numbered("all/", 4)), PNG)
    assert found.columns == {}
    with pytest.raises(NoLabelsError) as error:
        found.column("class", "train")
    assert str(error.value) == (
        f"{tmp_path}: no labels 'class'; expected a folder a class, a table or a pattern; give "
        "labels in one of these ways, or leave the label out"
    )


def test_a_table_says_splits_and_labels_and_which_files_are_read(tmp_path) -> None:
    root = made(tmp_path, "x/1.png", "x/2.png", "x/3.png", "x/4.png")
    (root / "labels.csv").write_text(
        "path,split,age,who\nx/1.png,train,9,anna\nx/2.png,train,,\nx/3.png,test,10,bert\n"
    )
    found = listing(root, PNG)
    assert found.ids("train") == ("x/1.png", "x/2.png")
    assert found.columns == {"age": ("9", None, "10"), "who": ("anna", None, "bert")}
    assert found.column("age", "train").classes == ("9", "10")
    assert found.column("age", "train").values.tolist() == [0, -1]
    assert found.notes() == [
        "2 train, 1 test: told by a column 'split'",
        "label 'age': 1 of 3 files have none",
        "label 'who': 1 of 3 files have none",
        "left in .: 1 not in labels.csv",
    ]


def test_a_row_without_a_split_is_left_out(tmp_path) -> None:
    root = made(tmp_path, "1.png", "2.png")
    (root / "labels.tsv").write_text("path\tsplit\n1.png\ttrain\n2.png\t\n")
    found = listing(root, PNG)
    assert list(found.files) == ["1.png"]
    assert found.notes()[-1] == "left in .: 1 without a split"


def test_splits_of_a_table_are_called_as_folders_of_splits_are(tmp_path) -> None:
    root = made(tmp_path, "1.png", "2.png", "3.png")
    (root / "labels.csv").write_text("path,split\n1.png,Train\n2.png,TEST\n3.png,Dev\n")
    assert list(listing(root, [".png"]).splits) == ["train", "test", "Dev"]


def test_a_column_of_the_table_is_taken_before_a_folder_of_that_name(tmp_path) -> None:
    root = made(tmp_path, "a/1.png", "b/2.png")
    (root / "labels.csv").write_text("path,class\na/1.png,x\nb/2.png,y\n")
    assert listing(root, PNG).columns["class"] == ("x", "y")


def test_the_names_of_a_pattern_are_columns_and_may_say_the_split(tmp_path) -> None:
    root = made(tmp_path, "deep/train/anna/3_1.png", "deep/test/bert/4_1.png", "deep/odd.png")
    found = listing(root, PNG, pattern="{split}/{speaker}/{session}_*.png")
    assert found.columns["speaker"] == ("bert", "anna")
    assert found.columns["session"] == ("4", "3")
    assert found.ids("test") == ("deep/test/bert/4_1.png",)
    assert found.left == {(".", "without a split"): 1}


def test_two_tables_are_refused_unless_one_is_named(tmp_path) -> None:
    root = made(tmp_path, "1.png")
    for name in ("labels.csv", "labels.tsv"):
        (root / name).write_text("path\n1.png\n")
    with pytest.raises(DataError) as error:
        listing(root, PNG)
    assert str(error.value) == (
        f"{root}: labels.csv and labels.tsv; expected one table of labels; "
        'name one: table = "labels.csv" in data.toml'
    )
    assert listing(root, PNG, table="labels.tsv").table == root / "labels.tsv"


def test_what_is_not_read_is_counted_by_its_ending_and_hidden_folders_are_not_seen(
    tmp_path,
) -> None:
    root = made(tmp_path, "1.png", "._1.png", "2.jpg", "3.jpg", "4.wav", ".cache/5.png", "Makefile")
    assert listing(root, PNG).notes()[1:] == ["left in .: 1 ._* of macOS; 2 .jpg; 1 .wav"]


def test_links_to_folders_are_named_and_not_looked_into(tmp_path) -> None:
    made(tmp_path / "elsewhere", "2.png")
    root = made(tmp_path / "set", "1.png")
    (root / "more").symlink_to(tmp_path / "elsewhere")
    found = listing(root, PNG)
    assert list(found.files) == ["1.png"]
    assert found.notes()[1] == f"links to folders, not looked into: {root / 'more'}"


def test_a_folder_of_nothing_that_is_read_says_what_lies_there(tmp_path) -> None:
    root = made(tmp_path, "a.wav", "b.wav", "notes.txt")
    with pytest.raises(DataError) as error:
        listing(root, (".png", ".jpg"))
    assert str(error.value) == (
        f"{root}: 2 .wav files, 1 .txt file; expected files that end in .jpg, .png; "
        "give the folder that holds them: --data DIR"
    )


def test_an_unknown_split_names_those_there_are_and_how_they_are_told(tmp_path) -> None:
    found = listing(made(tmp_path, "train/1.png", "valid/2.png"), PNG)
    with pytest.raises(DataError) as error:
        found.split("val")
    assert str(error.value) == (
        f"{tmp_path}: there is no split 'val'; expected one of train, valid; "
        "did you mean 'valid'?; told by the folders"
    )


def test_a_name_that_is_no_text_is_written_out(tmp_path) -> None:
    (tmp_path / b"\xff.png".decode("utf-8", "surrogateescape")).touch()
    assert list(listing(tmp_path, PNG).files) == ["\\xff.png"]


def test_classes_that_are_numbers_are_in_numerical_order(tmp_path) -> None:
    names = [f"{number}.png" for number in range(300)]
    root = made(tmp_path, *names)
    lines = [f"{name},train,{number * 250}" for number, name in enumerate(names)]
    (root / "labels.csv").write_text("\n".join(["path,split,id", *lines]))
    column = listing(root, PNG).column("id", "train")
    assert column.classes[:3] == ("0", "250", "500")
    assert column.values.max() == 299


def test_a_file_in_place_of_its_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    with pytest.raises(DataError) as caught:
        listing(tmp_path / "a.wav", {".wav"})
    assert str(caught.value) == (
        f"{tmp_path}/a.wav: it is a file; expected the folder that holds the files; give that: "
        f"--data {tmp_path}"
    )


def test_names_that_differ_in_how_an_accent_is_written_are_refused(tmp_path) -> None:
    made(tmp_path, "\u00e9.png", "e\u0301.png")
    if len(list(tmp_path.iterdir())) < 2:
        pytest.skip("this file system takes both for one name")
    with pytest.raises(DataError) as caught:
        listing(tmp_path, PNG)
    assert str(caught.value) == (
        f"{tmp_path}: two files are called '\u00e9.png'; expected names that differ once their "
        r"accents are composed; rename one: their bytes are b'e\xcc\x81.png' and b'\xc3\xa9.png'"
    )
