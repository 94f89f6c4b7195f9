"""Options that a command would ignore are refused, and so are places on other machines."""

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.commands import gimstage

import gimstage as library
from gimstage.errors import GimstageError


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        ("probe --gpu-mem 1GB", "No such option '--gpu-mem'"),
        ("probe --max-disk 1B", "No such option '--max-disk'"),
        ("probe --checkpoint-every 9", "No such option '--checkpoint-every'"),
        ("extract 3 --gpu-context 1GB", "No such option '--gpu-context'"),
        ("extract 3 --checkpoint-every 9", "No such option '--checkpoint-every'"),
        ("run --gpu-context 1GB", "--gpu-context says nothing without --gpu-mem"),
        ("plan --gpu-workspace 1GB", "--gpu-workspace says nothing without --gpu-mem"),
        ("train-stage 1 --gpu-margin 0.2", "--gpu-margin says nothing without --gpu-mem"),
        ("inspect 1 --sample 3", "--sample says nothing without --png"),
        ("tables --seeds 2 --dry-run --out x", "--out says nothing with --dry-run"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(words: str, refusal: str) -> None:
    result = gimstage(*words.split())
    assert result.exit_code == 2
    assert refusal in result.stderr


def test_the_length_of_crops_says_nothing_of_images(tmp_path: Path) -> None:
    result = gimstage("data", "check", tmp_path, "--crop-frames", 9)
    assert result.exit_code == 2
    assert f"--crop-frames says nothing of {tmp_path}: no speech lies there" in result.stderr


@pytest.mark.parametrize(
    ("words", "url"),
    [
        ("run --runs", "s3://bucket/runs"),
        ("status --runs", "gs://bucket/runs"),
        ("verify --data", "az://container/data"),
        ("report --out", "https://host/report"),
        ("tables --seeds 2 --out", "s3://bucket/report"),
        ("inspect 1 --png", "http://host/x.png"),
        ("plan --recipe", "github://owner/recipe"),
        ("data check", "s3://bucket/data"),
        ("data demo", "s3://bucket/data"),
        ("data download stl10", "http://host/data"),
    ],
)
def test_a_place_on_another_machine_is_refused(words: str, url: str) -> None:
    result = gimstage(*words.split(), url)
    assert result.exit_code == 2
    assert f"{url}: a URL; expected a place on this machine" in result.stderr.replace("\n", " ")


@pytest.mark.parametrize("name", ["runs", "data"])
def test_a_session_on_another_machine_is_refused(name: str) -> None:
    with pytest.raises(GimstageError) as caught:
        library.open("stages/demo", **{name: "s3://bucket/x"})
    assert str(caught.value) == (
        f"{name}: s3://bucket/x is a URL; expected a folder on this machine"
    )


@pytest.mark.parametrize("look", [library.load, library.open_features])
def test_a_stage_on_another_machine_is_refused(look: Callable[[str], object]) -> None:
    with pytest.raises(GimstageError) as caught:
        look("s3://bucket/runs/demo/3")
    assert str(caught.value) == (
        "stage: s3://bucket/runs/demo/3 is a URL; expected a folder on this machine"
    )
