"""Two small recipes, one upon the other, run with two seeds as a campaign."""

import json
import shutil
from pathlib import Path

from click.testing import CliRunner, Result

from gimstage.cli import main
from gimstage.progress import Watch
from gimstage.recipe.recipe import Recipe
from gimstage.work.base import Settings
from gimstage.work.campaign import Campaign, in_order
from helpers.homes import CPU, RECIPES

SETTINGS = Settings(device=CPU, workers=1, max_disk=None, checkpoint_every_s=1e9)
NAMES = ["base@2", "top@2", "base@3", "top@3"]


def rewrite(path: Path, *changes: tuple[str, str]) -> None:
    """Replace texts, which must be there, in a file."""
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def write_recipes(home: Path) -> Path:
    """Two recipes in a home: base, one stage and its probe, and top, a second stage upon it."""
    base, top = home / "stages/base", home / "stages/top"
    base.mkdir(parents=True)
    top.mkdir()
    for name in ("data.toml", "1_first.toml", "probe.toml"):
        shutil.copy(RECIPES / "tiny" / name, base)
    rewrite(base / "probe.toml", ("[1, 2, 3]", "[1]"))
    shutil.copy(RECIPES / "tiny/2_second.toml", top / "1_second.toml")
    rewrite(top / "1_second.toml", ("input = 1", 'input = "base/1"'))
    shutil.copy(base / "probe.toml", top)
    return home


def campaign(home: Path, watch: Watch | None = None) -> Campaign:
    """Of both recipes with seeds 2 and 3."""
    recipes = in_order([home / "stages/top"])
    seeded = [Recipe.load(recipe.folder, seed) for seed in (2, 3) for recipe in recipes]
    root = home / "runs"
    return Campaign(seeded, data=None, root=root, settings=SETTINGS, watch=watch or Watch())


def tables(home: Path, *arguments: object, names: tuple[str, ...] = ("top", "base")) -> Result:
    """Run the command on recipes of a home with seeds 2 and 3."""
    folders = [home / "stages" / name for name in names]
    options = ["--seeds", "2,3", "--runs", home / "runs"]
    options += [] if "--dry-run" in arguments else ["--out", home / "report"]
    words = ["tables", *folders, *options, *arguments]
    return CliRunner().invoke(main, [str(word) for word in words])


def document(home: Path, *arguments: object, **names: tuple[str, ...]) -> dict[str, object]:
    """The JSON document it prints."""
    result = tables(home, *arguments, "--json", **names)
    assert result.stderr == ""
    found: dict[str, object] = json.loads(result.stdout)
    return found
