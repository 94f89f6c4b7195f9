"""Every change recipe of docs/house.md is run: its Python, then a small recipe with its TOML."""

import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.homes import RECIPES, at
from helpers.recipes import toml

from gimstage.cache.encodings import ENCODINGS
from gimstage.cli import main
from gimstage.inputs import SOURCES
from gimstage.modules import EncoderModule
from gimstage.objectives import Objective
from gimstage.probe import PROBES
from gimstage.report import collect, write_report
from gimstage.report.document import SECTIONS
from gimstage.specs import DATA_SPECS, PROBE_SPECS

HOUSE = (Path(__file__).parents[1] / "docs/house.md").read_text()
REGISTRIES = [
    EncoderModule.kinds,
    Objective.kinds,
    ENCODINGS,
    DATA_SPECS,
    SOURCES,
    PROBE_SPECS,
    PROBES,
    SECTIONS,
    main.commands,
]


def recipe(heading: str) -> tuple[str, str]:
    """The Python and the TOML below a heading of the page; empty where there is none."""
    section = re.split(rf"^## {re.escape(heading)}$", HOUSE, flags=re.MULTILINE)[1]
    section = re.split(r"^## ", section, flags=re.MULTILINE)[0]
    blocks = dict(re.findall(r"^```(python|toml)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL))
    return blocks["python"], blocks.get("toml", "")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Takes out again what a recipe registers."""
    before = [dict(registry) for registry in REGISTRIES]
    yield
    for registry, entries in zip(REGISTRIES, before, strict=True):
        registry.clear()
        registry.update(entries)


def followed(heading: str, home: Path) -> Path:
    """A home in which a recipe of the page was followed: tables of its TOML replace the same ones.

    A file that names its source or task is replaced whole.
    """
    python, changed = recipe(heading)
    exec(python, {"__name__": "house"})
    shutil.copytree(RECIPES / "tiny", home / "tiny")
    if changed:
        name = changed.splitlines()[0].removeprefix("# ")
        path = next((home / "tiny").glob(name))
        tables = tomllib.loads(changed)
        whole = {"source", "task"} & tables.keys()
        path.write_text(toml(tables if whole else tomllib.loads(path.read_text()) | tables))
    return home


@pytest.mark.parametrize("heading", ["Add an encoder", "Add an objective", "Add an encoding"])
def test_a_stage_is_trained_with_a_new_kind(tmp_path: Path, heading: str) -> None:
    pipeline = at(followed(heading, tmp_path))
    pipeline.train_stage(1)
    pipeline.train_stage(2)
    assert [status.state for status in pipeline.statuses()] == ["done", "done", "missing"]


def test_a_new_source_is_trained_on(tmp_path: Path) -> None:
    pipeline = at(followed("Add a data source", tmp_path))
    pipeline.train_stage(1)
    assert pipeline.statuses()[0].state == "done"
    assert (tmp_path / "runs/data/pictures-7/train_X.bin").exists()


def test_a_new_task_is_probed(tmp_path: Path) -> None:
    pipeline = at(followed("Add a probe task", tmp_path))
    pipeline.train_stage(1)
    (row,) = pipeline.probe("probe")
    assert (row["task"], row["chance"]) == ("parity", 0.5)
    assert pipeline.probe_statuses()[0].state == "done"


def test_a_new_table_stands_in_the_report(tmp_path: Path) -> None:
    pipeline = at(followed("Add a table to the report", tmp_path))
    pipeline.train_stage(1)
    write_report(collect(tmp_path / "runs"), out=tmp_path / "report", watch=pipeline.watch)
    assert "### Devices" in (tmp_path / "report/report.md").read_text()


def test_a_new_command_answers(tmp_path: Path) -> None:
    followed("Add a command", tmp_path)
    outcome = CliRunner().invoke(main, ["disk", "--runs", str(tmp_path), "--json"])
    assert outcome.exit_code == 0, outcome.output
    assert '"bytes": ' in outcome.output


def test_every_recipe_of_the_page_is_followed_here() -> None:
    here = Path(__file__).read_text()
    headings = re.findall(r"^## (Add .*)$", HOUSE, re.MULTILINE)
    assert headings
    assert [heading for heading in headings if f'"{heading}"' not in here] == []


def test_every_room_has_its_line() -> None:
    package = Path(__file__).parents[1] / "gimstage"
    rooms = {path.stem for path in package.iterdir() if not path.name.startswith("_")}
    assert rooms <= set(re.findall(r"`(\w+)`", HOUSE.split("A *kind* is")[0]))
