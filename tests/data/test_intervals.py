"""Labels of stretches of time: tables, CTM and TextGrid, and what frames have of them."""

from pathlib import Path

import numpy as np
import pytest

from gimstage.data.intervals import read_intervals
from gimstage.data.textgrid import read_textgrid
from gimstage.errors import DataError

IDS = ("a/one.wav", "a/two.wav")
LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 0.3
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "phones"
        xmin = 0
        xmax = 0.3
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 0.1
            text = "a"
        intervals [2]:
            xmin = 0.1
            xmax = 0.2
            text = ""
        intervals [3]:
            xmin = 0.2
            xmax = 0.3
            text = "say ""b"" 2"
    item [2]:
        class = "TextTier"
        name = "bells"
        xmin = 0
        xmax = 0.3
        points: size = 1
        points [1]:
            number = 0.15
            mark = "ding"
"""
SHORT = "\n".join(
    ['"ooTextFile"', '"TextGrid"', "0", "0.3", "<exists>", "1"]
    + ['"IntervalTier"', '"phones"', "0", "0.3", "1", "0", "0.1", '"a"', ""]
)


def told(root: Path, name: str, text: str | bytes) -> dict[str, dict[str, list[tuple]]]:
    """What a file of stretches says of `IDS`, the places left out."""
    path = root / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    columns = read_intervals(root, IDS).columns
    return {
        label: {id_: [each[:3] for each in stretches] for id_, stretches in files.items()}
        for label, files in columns.items()
    }


def refusal(root: Path, name: str, text: str) -> str:
    with pytest.raises(DataError) as error:
        told(root, name, text)
    return str(error.value).replace(f"{root}/", "").replace(str(root), "DIR")


def test_a_table_gives_every_further_column_as_labels_in_order_of_time(tmp_path) -> None:
    text = "path,start,end,phone,word\na/one.wav,0.1,0.2,b,\na/one.wav,0,0.1,a,ab\ntwo,0,1,c,cd\n"
    assert told(tmp_path, "intervals.csv", text) == {
        "phone": {
            "a/one.wav": [(0.0, 0.1, "a"), (0.1, 0.2, "b")],
            "a/two.wav": [(0.0, 1.0, "c")],
        },
        "word": {"a/one.wav": [(0.0, 0.1, "ab")], "a/two.wav": [(0.0, 1.0, "cd")]},
    }


def test_ctm_gives_start_and_duration_of_labels(tmp_path) -> None:
    text = ";; made by an aligner\none 1 0.5 0.25 dog 0.9\none 1 0.0 0.5 the\n"
    assert told(tmp_path, "words.ctm", text) == {
        "label": {"a/one.wav": [(0.0, 0.5, "the"), (0.5, 0.75, "dog")]}
    }


@pytest.mark.parametrize("place", ["a/one.TextGrid", "one.textgrid", "grids/one.TextGrid"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_textgrid_is_of_the_file_called_like_it_and_a_tier_is_a_label(
    tmp_path, place, encoding
) -> None:
    assert told(tmp_path, place, LONG.encode(encoding)) == {
        "phones": {"a/one.wav": [(0.0, 0.1, "a"), (0.2, 0.3, 'say "b" 2')]}
    }


def test_the_short_form_of_a_textgrid_says_the_same(tmp_path) -> None:
    (tmp_path / "x.TextGrid").write_text(SHORT)
    assert read_textgrid(tmp_path / "x.TextGrid") == {"phones": [(0.0, 0.1, "a")]}


@pytest.mark.parametrize("text", ["", "no grid", SHORT[:-4], SHORT.replace("\n0.1\n", '\n"x"\n')])
def test_what_is_no_textgrid_is_refused(tmp_path, text) -> None:
    assert refusal(tmp_path, "one.TextGrid", text) == (
        "one.TextGrid: it is no TextGrid that can be read; expected a TextGrid in text form; "
        "save it again with Praat, as a text file"
    )


def test_a_frame_has_the_label_that_holds_at_its_middle(tmp_path) -> None:
    text = "path,start,end,what\none,0.004,0.016,b\none,0.03,9,a\n"
    told(tmp_path, "intervals.csv", text)
    intervals = read_intervals(tmp_path, IDS)
    assert intervals.classes == {"what": ("a", "b")}
    labels = intervals.of_split("what", IDS[::-1], np.array([3, 5]), 0.01)
    assert labels.classes == ("a", "b")
    assert {index: own.tolist() for index, own in labels.values.items()} == {1: [1, 1, -1, 0, 0]}


def test_without_files_of_stretches_there_is_no_label(tmp_path) -> None:
    assert read_intervals(tmp_path, IDS).columns == {}


def test_rows_of_other_files_and_of_no_time_are_not_labels(tmp_path) -> None:
    text = "path,start,end,what\none,0,1,a\nelse,0,1,b\none,1,1,c\n"
    assert told(tmp_path, "intervals.csv", text) == {"what": {"a/one.wav": [(0.0, 1.0, "a")]}}
    assert read_intervals(tmp_path, IDS).unknown == 1


def test_the_digest_is_of_what_is_said_and_not_of_where(tmp_path) -> None:
    told(tmp_path / "x", "intervals.csv", "path,start,end,what\none,0,1,a\n\n")
    told(tmp_path / "y", "intervals.tsv", "end\tpath\tstart\twhat\n1\ta/one.wav\t0.0\ta\n")
    told(tmp_path / "z", "intervals.csv", "path,start,end,what\none,0,1,b\n")
    x, y, z = (read_intervals(tmp_path / name, IDS).sha256("what", IDS) for name in "xyz")
    assert x == y
    assert x != z


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("one,x,1,a", "a time 'x'; expected a number, such as 0.25; mend the line"),
        ("one,0,,a", "a time ''; expected a number, such as 0.25; mend the line"),
        ("one,0,inf,a", "a time 'inf'; expected a number, such as 0.25; mend the line"),
        (
            "one,2,1,a",
            "from 2 to 1; expected times from 0 on, the end after the start; mend the line",
        ),
        (
            "one,-1,1,a",
            "from -1 to 1; expected times from 0 on, the end after the start; mend the line",
        ),
    ],
)
def test_a_time_that_is_none_is_refused_with_its_line(tmp_path, row, message) -> None:
    text = f"path,start,end,what\n{row}\n"
    assert refusal(tmp_path, "intervals.csv", text) == f"intervals.csv, line 2: {message}"


def test_two_labels_at_a_time_are_refused(tmp_path) -> None:
    text = "path,start,end,what\none,0,1,a\none,0.5,2,b\n"
    assert refusal(tmp_path, "intervals.csv", text) == (
        "intervals.csv, line 3: 'b' begins at 0.5, before 'a' ends; "
        "expected one label at a time in a column; mend it, or intervals.csv, line 2, "
        "which ends at 1"
    )


def test_a_line_of_ctm_that_is_too_short_is_refused(tmp_path) -> None:
    assert refusal(tmp_path, "words.ctm", "one 1 0.5\n") == (
        "words.ctm, line 1: 3 words; expected file, channel, start, duration and label; "
        "mend the line"
    )


def test_stretches_of_no_file_at_all_are_refused(tmp_path) -> None:
    assert refusal(tmp_path, "intervals.csv", "path,start,end,what\nthree,0,1,a\n") == (
        "intervals.csv: it names no file below DIR; expected names such as 'a/one.wav'; "
        "call them as the files are called"
    )


def test_a_table_of_times_without_a_label_is_refused(tmp_path) -> None:
    assert refusal(tmp_path, "intervals.csv", "path,start,end\none,0,1\n") == (
        "intervals.csv: no column but path, start and end; expected a column of labels; "
        "add it, called as the label is to be called"
    )
