"""A recipe's folder for some data, written once its files are known to hold together."""

import os
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory

from gimstage.data.sources import source_in
from gimstage.drafts.draft import Pages, drafted
from gimstage.drafts.look import look_at
from gimstage.drafts.page import Table
from gimstage.drafts.reasons import standing
from gimstage.errors import DataError, RecipeError
from gimstage.recipe.recipe import Recipe, name_of
from gimstage.recipe.shipped import recipe_folder, shipped_recipes
from gimstage.sizes import format_bytes
from gimstage.specs import DATA_SPECS
from gimstage.work.base import Settings
from gimstage.work.pipeline import Pipeline

BASES = {"images": "stl10_small", "speech": "librispeech_small", "array": "demo_series"}
DISK_SHARE = 0.25  # of what is free, that features may take before they are stored in less


def write_draft(
    folder: Path, data: Path | None, runs: Path, *, base: Path | None, settings: Settings
) -> list[str]:
    """Look at some data and write a recipe for it.

    Args:
        folder: to write it to; there is none yet.
        data: the folder with the data, or an array.
        runs: the folder of all runs.
        base: a recipe whose stages are taken; None for the small one of the data's kind.
        settings: how to compute, for the plan.

    Returns:
        The names of the files.

    Raises:
        DataError: no data is given, or no source reads it.
        RecipeError: the folder is there already, or the base does not suit the data.
    """
    name = name_of(folder)
    if os.path.lexists(folder):
        cure = "choose another name, or move what lies there"
        raise RecipeError(str(folder), "it is there already", "a name that is free", cure)
    if data is None:
        raise DataError("--data", "not given", "the folder that holds the data", "add --data DIR")
    source = source_in(data)
    kind = DATA_SPECS[source].kind
    place = recipe_folder(base) if base else shipped_recipes()[BASES.get(source, BASES[kind])]
    pages = drafted(look_at(data, runs, _data_of(place, kind)), place)
    with TemporaryDirectory() as scratch:
        trial = Path(scratch, name)
        _write(trial, pages)
        pipeline = Pipeline.look(Recipe.load(trial), data, runs, settings=settings)
        _fit_disk(pages, pipeline)
        _write(trial, pages)
        Recipe.load(trial)
    _write(folder, pages)
    return list(pages)


def _data_of(base: Path, kind: str) -> Table:
    """The data.toml of a recipe, which is of a kind.

    Raises:
        RecipeError: there is no such recipe, it has no data.toml of its own, or of another kind.
    """
    recipe = Recipe.load(base)
    if not (base / "data.toml").exists():
        found, cure = "it has no data.toml, and builds on another recipe", "take that one"
        raise RecipeError(f"--from {base.name}", found, "a recipe with one", cure)
    if recipe.data.kind != kind:
        found, cure = f"a recipe of {recipe.data.kind}, and the data are {kind}", "leave --from out"
        raise RecipeError(f"--from {base.name}", found, f"one of {kind}", cure)
    return tomllib.loads((base / "data.toml").read_text("utf-8"))


def _write(folder: Path, pages: Pages) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in pages.items():
        (folder / name).write_text(page.text(standing), "utf-8")


def _fit_disk(pages: Pages, pipeline: Pipeline) -> None:
    """Store features in half the bytes where they would take a great part of the free disk."""
    needed = sum(plan.cache_bytes or 0 for plan in pipeline.plans())
    free = pipeline.free_disk()
    stages = [page for page in pages.values() if page.table.get("output", {}).get("encoding")]
    if needed <= DISK_SHARE * free:
        return
    reason = f"half of float16: that would take {format_bytes(needed)} of {format_bytes(free)}"
    for page in stages:
        page.set("output.encoding", "uint8", reason)
    if needed / 2 <= DISK_SHARE * free:
        return
    for page in stages[:-1]:
        page.set("output.encoding", "float16", "as what is not stored is rounded")
        page.set("output.store", "none", f"{reason}; computed again at every step instead")
