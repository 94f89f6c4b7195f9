"""The recipes that come with gimstage, and how a recipe is found by its name.

An installed package has them inside, in `gimstage/stages/`; a checkout beside itself, in `stages/`.

This file imports nothing of gimstage.
"""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def shipped_recipes() -> dict[str, Path]:
    """The folders of the recipes that come along, by their names, ascending."""
    homes = (_PACKAGE / "stages", _PACKAGE.parent / "stages")
    home = next((home for home in homes if home.is_dir()), None)
    if home is None:
        return {}
    return {folder.name: folder for folder in sorted(home.iterdir()) if any(folder.glob("*.toml"))}


def recipe_folder(named: Path) -> Path:
    """The folder that is meant by a path or by a name.

    What lies at the path goes first; then `stages/NAME` below the current folder; then, of those
    that come along, the one of that name. Both `demo` and `stages/demo` are names.

    Args:
        named: a path, or the name of a recipe.

    Returns:
        The folder; `named` itself where there is none.
    """
    if named.exists() or named.parent not in (Path(), Path("stages")) or not named.name:
        return named
    here = Path("stages", named.name)
    return here if here.is_dir() else shipped_recipes().get(named.name, named)


def first_comment(folder: Path) -> str:
    """What the files of a recipe say of it: the first comment of its only stage or its data."""
    stages = sorted(folder.glob("[0-9]*.toml"))
    files = [*(stages if len(stages) == 1 else []), folder / "data.toml", *stages]
    for path in [*files, *sorted(folder.glob("probe*.toml"))]:
        line = path.read_text("utf-8").split("\n", 1)[0] if path.exists() else ""
        if line.startswith("# "):
            return line.removeprefix("# ")
    return ""
