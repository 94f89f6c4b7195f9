"""How what is finished is shown, and how data is counted."""

from pathlib import Path
from typing import Any

import pytest
from helpers.commands import gimstage

from gimstage.cli.data import download_progress
from gimstage.cli.data_check import SHEET_ROWS, _speech_notes, data_table, speech_table
from gimstage.cli.look import inspect_table, verified_table
from gimstage.data.check import check
from gimstage.data.check_speech import check_speech
from gimstage.data.demo import write_demo
from gimstage.data.demo_speech import write_demo_speech
from gimstage.progress import Interrupted, Progress, Watch


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images") / "data"
    write_demo(folder, unlabeled=12, train=10, test=10, seed=1)
    return folder


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech") / "data"
    write_demo_speech(folder, speakers=2, train=3, test=1, seed=1)
    return folder


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("shape", [48, 1, 8], "48 × 1 × 8"),
        ("codecs", ["bytes", "crc32c"], "bytes, crc32c"),
        ("bytes", 1_234_567, "1,234,567 (1.2 MB)"),
        ("shards", 3, "3"),
        ("values", {"min": 0.0, "mean": 0.123456}, "min 0  mean 0.1235"),
        ("attributes", {"raw_bytes": 2_000}, "raw_bytes 2,000 (2.0 kB)"),
        ("loss_of_encoding", {"snr_db": None}, "snr_db None"),
        ("path", "runs/x", "runs/x"),
    ],
)
def test_a_fact_is_shown_in_the_words_that_suit_it(name: str, value: Any, words: str) -> None:
    table = inspect_table("features of stage x/1", {name: value})
    assert table.title == "features of stage x/1"
    assert table.rows == [(name.replace("_", " "), words)]


def test_what_was_verified_is_named_with_what_was_found() -> None:
    whole = {"stage": "1", "read": ["manifest.json", "data"], "damage": [], "set_aside": []}
    damaged = {"probe": "probe", "read": [], "damage": ["x: cut", "y: cut"], "set_aside": ["z"]}
    table = verified_table("tiny", [whole, damaged])
    assert table.title == "tiny: every byte read"
    assert table.rows == [
        ("1", "manifest.json, data", "as its manifest says"),
        ("probe", "nothing", "2 damaged\nset aside earlier: z"),
    ]


def test_images_are_counted_by_split_and_label(images: Path) -> None:
    table = data_table(check(images), None)
    assert [(row[0], row[1], row[2]) for row in table.rows] == [
        ("train", "10", "276.5 kB"),
        ("test", "10", "276.5 kB"),
        ("unlabeled", "12", "331.8 kB"),
    ]
    assert table.rows[2][-1] == "none"
    counts = [int(word) for word in table.rows[0][-1].split() if word.isdigit()]
    assert sum(counts) == 10
    assert table.note == ""


def test_a_contact_sheet_is_named_below_the_counts(images: Path) -> None:
    assert data_table(check(images), Path("x.png")).note == "contact sheet: x.png"


def test_speech_is_counted_by_split(speech: Path) -> None:
    table = speech_table(check_speech(speech, shortest_frames=128), None)
    assert [(row[0], row[1], row[2]) for row in table.rows] == [
        ("train", "2", "6"),
        ("test", "2", "2"),
    ]
    assert {row[6] for row in table.rows} == {"6 (100 %)", "2 (100 %)"}
    assert all(row[-1].startswith("16000 Hz: ") for row in table.rows)
    assert table.note == ""


def test_utterances_too_short_are_named_below_and_those_beyond_five_left_out(
    speech: Path,
) -> None:
    train, test = _speech_notes(check_speech(speech, shortest_frames=10**6), None)
    assert train.startswith("train, shorter than 1000000 frames of 10 ms: ")
    assert train.endswith(", …")
    assert train.count(", ") == 6  # after the split, between five names, before the dots
    assert "…" not in test


def test_spectrograms_are_named_last(speech: Path) -> None:
    notes = _speech_notes(check_speech(speech, shortest_frames=128), Path("x.png"))
    assert notes == ["spectrograms: x.png"]
    assert SHEET_ROWS == 6


def test_a_download_tells_its_end_and_how_far_it_came() -> None:
    told: list[Progress] = []
    report = download_progress(Watch(told.append))
    report(100, 300)
    report(300, 300)
    assert [(each.done, each.total, each.unit) for each in told] == [
        (100, 300, "bytes"),
        (300, 300, "bytes"),
    ]


def test_what_lay_there_before_is_no_speed_of_a_download() -> None:
    told: list[Progress] = []
    download_progress(Watch(told.append))(10**9, 10**9)
    assert [each.bytes_per_s for each in told] == [0]


def test_a_download_of_unknown_length_tells_no_total() -> None:
    told: list[Progress] = []
    download_progress(Watch(told.append))(5, None)
    assert told[0].total == 0


def test_a_download_stops_when_it_is_asked_to() -> None:
    watch = Watch()
    watch.stop.set()
    with pytest.raises(Interrupted):
        download_progress(watch)(1, 2)


@pytest.mark.parametrize(
    ("words", "value", "range_"),
    [
        ("data demo x --train", "0", "1<=x<=1000000"),
        ("data demo x --unlabeled", "1000000000", "1<=x<=1000000"),
        ("data demo-audio x --speakers", "1", "2<=x<=10000"),
        ("data demo-audio x --test", "1000000", "1<=x<=10000"),
        ("data check x --crop-frames", "0", "1<=x<=8640000"),
        ("run --seed", "-1", "0<=x<=9223372036854775807"),
        ("run --checkpoint-every", "0.0", "0.001<=x<=2592000"),
        ("run --checkpoint-every", "nan", "0.001<=x<=2592000"),
        ("run --checkpoint-every", "inf", "0.001<=x<=2592000"),
        ("plan --gpu-margin", "nan", "0<=x<1"),
        ("inspect 1 --sample", "-1", "x>=0"),
        ("plan --gpu-margin", "1.0", "0<=x<1"),
        ("run --workers", "65", "1<=x<=64"),
    ],
)
def test_a_value_out_of_range_is_wrong_usage(words: str, value: str, range_: str) -> None:
    result = gimstage(*words.split(), value)
    message = f"'{words.split()[-1]}': {value} is not in the range {range_}."
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == f"Error: Invalid value for {message}"


@pytest.mark.parametrize(
    "words",
    ["status --recipe", "status --runs", "status --data", "run --max-disk", "plan --gpu-mem"]
    + ["plan --gpu-context", "report --out", "inspect 1 --png", "data check", "tables --seeds 2"],
)
def test_an_empty_word_is_wrong_usage_and_never_the_current_folder(words: str) -> None:
    result = gimstage(*words.split(), "")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].endswith(
        ": ''; expected a value; is a variable of the shell not set?"
    )


@pytest.mark.parametrize("words", [["report"], ["data", "check", "nowhere"]])
def test_what_is_not_there_is_one_message(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = gimstage(*words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error {'runs' if words == ['report'] else 'nowhere'}: ")
    assert list(tmp_path.iterdir()) == []
