"""Every cure that can be run: the command in backticks is pasted, and what failed then works."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.commands import gimstage, options
from helpers.homes import edit

Spoil = Callable[[Path], None]


def pasted(line: str) -> None:
    """Run a line of commands, as a shell would."""
    for command in line.split(" && "):
        program, *words = shlex.split(command)
        if program == "gimstage":
            result = gimstage(*words)
            assert result.exit_code == 0, result.output
        else:
            subprocess.run([program, *words], check=True)


def without(*names: str) -> Spoil:
    """What removes stages and probes."""
    return lambda home: [shutil.rmtree(home / "runs/tiny" / name) for name in names] and None


def flipped(name: str) -> Spoil:
    """What alters a byte of a file of the runs."""

    def spoil(home: Path) -> None:
        path = home / "runs/tiny" / name
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    return spoil


def made_a_folder(name: str) -> Spoil:
    """What puts a folder in the place of a file of the runs."""

    def spoil(home: Path) -> None:
        path = home / "runs/tiny" / name
        path.unlink()
        path.mkdir()

    return spoil


def stale(home: Path) -> None:
    edit(home, "1_*.toml", "steps = 12", "steps = 13")


def not_calibrated(home: Path) -> None:
    (home / "runs/calibration.json").write_text("{")


SHARD = "2/features.zarr/features/c.0.0.0.0.0.0.0"


@pytest.mark.parametrize(
    ("words", "spoil"),
    [
        ("train-stage 3", without("1", "2", "3")),
        ("train-stage 3", stale),
        ("inspect 2", without("2")),
        ("probe", without("2", "probe")),
        ("extract 2", without("2")),
        ("verify", without("1", "2", "3", "probe")),
        ("verify", flipped(SHARD)),
        ("verify", flipped("2/weights.safetensors")),
        ("verify", flipped("2/manifest.json")),
        ("verify", flipped("probe/manifest.json")),
        ("verify", made_a_folder("2/metrics.jsonl")),
        ("inspect 2", made_a_folder(SHARD)),
        ("inspect 2", flipped("2/features.zarr/features/zarr.json")),
        ("plan", not_calibrated),
    ],
)
def test_a_cure_can_be_pasted_and_cures(home: Path, words: str, spoil: Spoil) -> None:
    spoil(home)
    command = [*words.split(), *options(home)]
    refused = gimstage(*command)
    assert refused.exit_code == 1
    cure = re.findall("`([^`]*)`", refused.stderr)[-1]
    assert f"--recipe {home / 'tiny'} --runs {home / 'runs'}" in cure
    pasted(cure)
    assert gimstage(*command).exit_code == 0


def test_a_figure_is_drawn_once_its_folder_is_there(home: Path) -> None:
    png = home / "figures/x.png"
    command = ["inspect", 2, *options(home), "--png", png]
    refused = gimstage(*command)
    assert refused.exit_code == 1
    pasted(re.findall("`([^`]*)`", refused.stderr)[-1])
    assert gimstage(*command).exit_code == 0
    assert png.exists()


def test_what_is_in_the_way_of_the_runs_is_moved_away(fresh: Path) -> None:
    runs = fresh / "in the way"
    runs.symlink_to("nowhere")
    command = ["train-stage", 1, "--recipe", fresh / "tiny", "--runs", runs]
    refused = gimstage(*command)
    assert refused.exit_code == 1
    pasted(re.findall("`([^`]*)`", refused.stderr)[-1])
    assert gimstage(*command).exit_code == 0
