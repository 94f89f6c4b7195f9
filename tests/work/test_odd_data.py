"""Whole commands on data as people have it: what is said of it, and which probes are left out."""

import shutil
from pathlib import Path

import pytest
from helpers.commands import gimstage
from helpers.homes import RECIPES

from gimstage.data.demo import write_demo
from gimstage.data.demo_speech import write_demo_speech


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe of one stage with both probes, on synthetic speech as if it were real."""
    home = tmp_path_factory.mktemp("speech")
    recipe = home / "spk"
    shutil.copytree(RECIPES / "tiny_audio", recipe)
    for path in recipe.glob("[2-9]_*.toml"):
        path.unlink()
    for path in recipe.glob("probe*.toml"):
        text = path.read_text()
        start = text.index("inputs =")
        path.write_text(text.replace(text[start : text.index("\n", start)], "inputs = [1]"))
    text = (recipe / "data.toml").read_text()
    start = text.index("[demo]")
    text = text[:start] + "\n".join(text[start:].partition("\n[")[1:])
    (recipe / "data.toml").write_text(text.replace("demo_speech", "librispeech"))
    write_demo_speech(home / "data", speakers=3, train=4, test=2, seed=1)
    return home


@pytest.fixture
def home(speech: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(speech, tmp_path / "home"))


def on(home: Path, *words: object) -> tuple[int, str]:
    """Exit code and all that a command prints, on the recipe and the data of a home."""
    options = ["--recipe", home / "spk", "--data", home / "data", "--runs", home / "runs"]
    result = gimstage(*words, *options)
    return result.exit_code, result.output


def unseen(home: Path) -> None:
    """Give the test split speakers of its own, as lists of speech have them."""
    lists = [next((home / "data").rglob(f"{split}_split.txt")) for split in ("train", "test")]
    ids = sorted(id_ for path in lists for id_ in path.read_text().split())
    tested = ids[-1].split("-")[0]
    for path, own in zip(lists, (False, True), strict=True):
        path.write_text("".join(f"{i}\n" for i in ids if i.startswith(f"{tested}-") is own))


def test_a_probe_of_speakers_is_left_out_where_none_could_be_told(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unseen(home)
    code, shown = on(home, "run")
    assert code == 0
    assert "phone" in shown
    (left,) = (line for line in caplog.messages if "left out" in line)
    assert left.startswith("spk/probe_speaker is left out: ")
    assert on(home, "probe")[0] == 0


def test_a_probe_of_speakers_that_is_asked_for_by_name_is_refused(home: Path) -> None:
    unseen(home)
    on(home, "train-stage", 1)
    code, shown = on(home, "probe", "probe_speaker")
    assert code == 1
    assert "speakers of 'test' that 'train' lacks: 1" in shown.replace("\n", " ")


def test_a_run_says_what_of_the_files_is_remarkable(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flac = next((home / "data").rglob("*.flac"))
    flac.with_name("._" + flac.name).write_bytes(b"x")
    assert on(home, "run")[0] == 0
    left = flac.relative_to(home / "data").parents[2]
    assert f"{home / 'data'}: left in {left}: 1 ._* of macOS" in caplog.messages


def test_subsets_enter_fingerprints_only_where_they_are_set(home: Path) -> None:
    on(home, "train-stage", 1)
    toml = home / "spk/data.toml"
    before = toml.read_text()
    toml.write_text(before.replace("[views]", 'subsets = ["train-clean-100"]\n[views]', 1))
    assert "absent" in on(home, "status", "--why")[1]
    toml.write_text(before)
    assert "done" in on(home, "status")[1]


def test_extracting_from_other_data_says_that_the_data_differ(home: Path) -> None:
    on(home, "train-stage", 1)
    shutil.rmtree(home / "data")
    write_demo_speech(home / "data", speakers=3, train=4, test=2, seed=2)
    code, shown = on(home, "extract", 1)
    assert code == 1
    assert "stage spk/1: trained on other data, of SHA-256" in shown.replace("\n", " ")


def test_images_without_labels_are_trained_on_and_their_probe_left_out(tmp_path: Path) -> None:
    recipe = Path(shutil.copytree(RECIPES / "tiny", tmp_path / "spk"))
    for path in recipe.glob("[23]_*.toml"):
        path.unlink()
    text = (recipe / "probe.toml").read_text()
    start = text.index("inputs =")
    text = text.replace(text[start : text.index("\n", start)], "inputs = [1]")
    (recipe / "probe.toml").write_text(text)
    (recipe / "probe_again.toml").write_text(text)
    write_demo(tmp_path / "data", unlabeled=30, train=10, test=10, seed=1)
    for name in ("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin", "class_names.txt"):
        (tmp_path / "data" / name).unlink()
    assert on(tmp_path, "run")[0] == 0
    assert on(tmp_path, "probe", "probe")[0] == 1
