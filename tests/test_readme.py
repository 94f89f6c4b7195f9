"""What the README and its pages tell a reader to run is run, and what they show is read."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click import Group

from gimstage.cli import main
from gimstage.recipe.recipe import Recipe

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "tests/recipes"
OF_USERS = ("own-data", "recipes", "paper", "results", "disk")
PAGES = ["README.md", *(f"docs/{page}.md" for page in OF_USERS)]
ALL = "\n".join(path.read_text() for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")])
README = "\n".join((ROOT / page).read_text() for page in PAGES)


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which the demos are the tiny recipes, with this Python as its .venv."""
    clone = tmp_path_factory.mktemp("clone")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, clone)
    shutil.copytree(RECIPES / "tiny", clone / "stages/demo")
    shutil.copytree(RECIPES / "tiny_audio", clone / "stages/demo_audio")
    (clone / ".venv/bin").mkdir(parents=True)
    (clone / ".venv/ready").touch()
    (clone / ".venv/bin/activate").write_text("")
    for name in ("gimstage", "python"):
        (clone / ".venv/bin" / name).symlink_to(Path(sys.executable).parent / name)
    return clone


def test_every_shell_block_runs_as_it_stands(clone: Path) -> None:
    path = f"{clone / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"
    for block in blocks("sh"):
        command = ["bash", "-euo", "pipefail", "-c", block]
        done = subprocess.run(
            command, cwd=clone, env=os.environ | {"PATH": path}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert (clone / "runs/demo/probe/manifest.json").exists()
    for block in blocks("python"):
        done = subprocess.run(
            [sys.executable, "-c", block], cwd=clone, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_make_continues_where_it_is_told_and_is_quiet_when_done(clone: Path) -> None:
    def make() -> str:
        done = subprocess.run(
            ["make", "all"], cwd=clone, capture_output=True, text=True, check=True
        )
        return done.stdout

    make()
    assert "stage demo/" not in make()
    (clone / "runs/demo/3/manifest.json").unlink()
    again = make()
    assert "stage demo/3 done" in again
    assert "stage demo/2" not in again


def test_make_fills_the_tables_of_the_recipes_and_seeds_it_is_told(clone: Path) -> None:
    def make(*words: str) -> "subprocess.CompletedProcess[str]":
        command = ["make", "tables", "RUNS=tables", *words]
        environment = {k: v for k, v in os.environ.items() if k not in ("DATA", "GIMSTAGE_DATA")}
        return subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True)

    done = make("RECIPES=demo", "SEEDS=2 3")
    assert done.returncode == 0, done.stderr
    assert "the report: report/index.html" in done.stdout
    assert all((clone / f"tables/demo@{seed}/probe/manifest.json").exists() for seed in (2, 3))
    shutil.copytree(ROOT / "stages/stl10_small", clone / "stages/stl10_small")
    refused = make()
    assert refused.returncode != 0
    assert "error --data: not given, but needed by stl10_small; " in refused.stderr
    assert "`make tables DATA=DIR`" in refused.stderr


def test_commands_that_need_real_data_exist_with_these_options() -> None:
    lines = [line for block in blocks("console") for line in block.splitlines() if line[:1] == "$"]
    assert lines
    for line in lines:
        words = line.removeprefix("$ ").partition("#")[0].split()
        assert words.pop(0) == "gimstage"
        command = main
        while isinstance(command, Group):
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known


def test_the_stage_shown_is_a_stage(tmp_path: Path) -> None:
    stage, _ = blocks("toml")
    folder = shutil.copytree(ROOT / "stages/stl10", tmp_path / "shown")
    (folder / "2_conv128.toml").write_text(stage)
    assert Recipe.load(folder).chain(2).shapes()[-1] == (512, 8, 8)


def test_the_modules_shown_are_the_beginning_of_a_stage(tmp_path: Path) -> None:
    _, modules = blocks("toml")
    shutil.copytree(ROOT / "stages/stl10", tmp_path / "stl10")
    folder = tmp_path / "shown"
    folder.mkdir()
    rest = next((ROOT / "stages/stl10").glob("3_*.toml")).read_text().partition("[train]")
    (folder / "1_shown.toml").write_text(modules + "\n" + "".join(rest[1:]))
    assert Recipe.load(folder).chain(1).modules()[-1].out_channels == 512


def test_every_command_is_named_in_the_readme_or_its_pages() -> None:
    assert [name for name in main.commands if f"gimstage {name}" not in ALL] == []


def test_every_recipe_is_named_in_the_readme_or_its_pages() -> None:
    assert [p.name for p in (ROOT / "stages").iterdir() if f"stages/{p.name}" not in ALL] == []


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))])
def test_every_link_to_a_page_leads_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^):]+)\)", (ROOT / page).read_text())
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


def test_a_stranger_reads_a_command_within_twenty_lines() -> None:
    beginning = (ROOT / "README.md").read_text().splitlines()
    assert any(line.startswith("$ gimstage") for line in beginning[:20])
    assert len(beginning) <= 260
