"""What `make` does with words that it, or the shell, would take apart."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXPECTED = (
    "expected one word without white space or signs such as $ and *; "
    "choose another, or call gimstage itself."
)


def make(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run make on our Makefile in a folder of its own."""
    shutil.copy(ROOT / "Makefile", folder)
    command = ["make", "--no-print-directory", *words]
    unset = {"RUNS", "RECIPE", "SEED", "DATA", "ARGS", "MAKEFLAGS", "MAKELEVEL"}
    environment = {key: value for key, value in os.environ.items() if key not in unset}
    settings = {"cwd": folder, "env": environment, "capture_output": True, "text": True}
    return subprocess.run(command, check=False, **settings)


@pytest.mark.parametrize(
    ("target", "name", "value"),
    [
        ("clean", "RUNS", "a b"),
        ("clean", "RUNS", ""),
        ("clean", "RUNS", "a*"),
        ("clean", "RUNS", "$(HOME)x;y"),
        ("all", "RUNS", "my runs"),
        ("tables", "RUNS", "my runs"),
        ("clean", "SEED", "2 3"),
        ("clean", "RECIPE", ".."),
        ("clean", "RECIPE", "../runs"),
        ("all", "RECIPE", "a;b"),
        ("tables", "RECIPES", "a/b"),
    ],
)
def test_what_is_not_one_plain_word_is_refused_and_nothing_is_done(
    tmp_path: Path, target: str, name: str, value: str
) -> None:
    for folder in ("a", "b", "b/demo", "runs"):
        (tmp_path / folder).mkdir()
    before = sorted(tmp_path.rglob("*"))
    result = make(tmp_path, target, f"{name}={value}")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("Makefile:")
    assert result.stderr.endswith(f"{EXPECTED}  Stop.\n")
    assert sorted(p for p in tmp_path.rglob("*") if p.name != "Makefile") == before


def test_clean_removes_the_runs_of_the_recipes_that_are_named(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    assert make(tmp_path, "clean", "RECIPE=one two").returncode == 0
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["three"]


def test_a_target_that_reads_none_of_them_does_not_care(tmp_path: Path) -> None:
    assert make(tmp_path, "help", "RUNS=a b").returncode == 0


def test_a_folder_of_data_may_be_called_anything(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    result = make(tmp_path, "-n", "tables", "DATA=my 'own' data; $$x")
    assert result.returncode == 0
    assert "--data 'my '\\''own'\\'' data; $x'" in result.stdout


def test_what_commands_write_into_the_working_tree_is_ignored() -> None:
    for path in ("report/index.html", "demo-1.png", "stl10_small@2-12.png", "runs/demo/1"):
        ignored = subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False)
        assert ignored.returncode == 0
