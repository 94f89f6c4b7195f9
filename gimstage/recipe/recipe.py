"""Recipes: a folder of TOML files, read, checked and resolved into chains of stages.

    stages/demo/  data.toml  1_first.toml  2_second.toml  3_third.toml  probe.toml

A recipe's name is its folder's name (with `@S` behind it when `--seed S` replaced its seeds). A
stage names its input: the data, a stage of this recipe, or data or a stage of a recipe beside it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gimstage.errors import RecipeError, guess
from gimstage.recipe.chain import Chain, Stage
from gimstage.recipe.checks import (
    check_hand_over,
    check_kind,
    check_once,
    check_output,
    check_own,
    check_probe,
    check_reach,
)
from gimstage.recipe.names import RunName, StageRef
from gimstage.recipe.shipped import recipe_folder, shipped_recipes
from gimstage.specs import DATA_SPECS, PROBE_SPECS, DataSpec, ProbeSpec, StageSpec
from gimstage.specs.reading import Table, parse, spec_by, spec_of


@dataclass(frozen=True)
class Recipe:
    """A loaded recipe.

    Args:
        name: folder name, with `@S` where the seeds were replaced.
        folder: where its TOML files lie.
        seed: the seed that replaces every seed of training and probing, or None.
        own_data: its data.toml; None where it lives on another recipe's stages.
        stages: by number, ascending.
        probes: by file name without suffix.
        shelf: where it was read, and where the recipes it builds on are.
    """

    name: str
    folder: Path
    seed: int | None
    own_data: DataSpec | None
    stages: Mapping[int, Stage]
    probes: Mapping[str, ProbeSpec]
    shelf: "Shelf" = field(repr=False, compare=False)

    @classmethod
    def load(
        cls, folder: Path | str, seed: int | None = None, *, shelf: "Shelf | None" = None
    ) -> "Recipe":
        """The recipe in `folder`, every file checked and every input followed to the data.

        Args:
            folder: where its TOML files lie, or the name of a recipe (see `recipe_folder`).
            seed: what replaces every seed of training and probing; None to keep them.
            shelf: files and recipes read before, which are not read again.

        Raises:
            RecipeError: no such folder, a file that does not parse, an unknown, missing or
                unfit key, an input that leads nowhere or round in a circle.
        """
        recipe = (shelf or Shelf()).recipe(recipe_folder(Path(folder)), seed)
        for number in recipe.stages:
            chain = recipe.chain(number)
            check_kind(chain)
            check_hand_over(chain)
            check_output(chain)
            check_reach(chain)
            if chain.data != recipe.data:
                own = recipe.own_data is not None
                raise RecipeError(
                    str(recipe.folder / "data.toml") if own else f"recipe {recipe.name}",
                    f"not the data stage {number} is built on" if own else "stages on several data",
                    f"the data.toml of {chain.stages[0].key}" if own else "one data.toml for all",
                    "remove this data.toml; the recipe then uses that one"
                    if own
                    else f"put stage {number} into a recipe of its own",
                )
        for name, probe in recipe.probes.items():
            where = f"{recipe.folder / name}.toml"
            chains = [recipe.chain(ref, where=f"{where} inputs") for ref in probe.inputs]
            check_once(chains, where)
            for chain in chains:
                check_probe(probe, chain, recipe.data, where)
            check_own(probe, chains, where)
        return recipe

    def seeded(self, seed: int) -> "Recipe":
        """This recipe with that seed in place of all its own, no file read again."""
        return type(self).load(self.folder, seed, shelf=self.shelf)

    def chain(self, ref: int | str, *, where: str = "") -> Chain:
        """The data and all stages from it up to the one `ref` names: N, or `RECIPE/N`.

        Raises:
            RecipeError: an input does not exist, the inputs form a circle, or there is no data.
        """
        stages: list[Stage] = []
        recipe, stage = self._locate(ref, where or f"recipe {self.name}")
        while True:
            where = f"{recipe.folder}/{stage.number}_{stage.title}.toml input"
            if stage in stages:
                circle = " → ".join(s.key for s in [*stages[stages.index(stage) :], stage])
                raise RecipeError(where, f"the inputs form a circle: {circle}", "a way to the data")
            stages.append(stage)
            reads = StageRef.parse(stage.spec.input)
            if reads.number is None:
                return Chain(recipe._beside(reads.recipe)._data(), tuple(reversed(stages)))
            recipe, stage = recipe._locate(stage.spec.input, where)

    def _locate(self, ref: int | str, where: str) -> "tuple[Recipe, Stage]":
        wanted = StageRef.parse(ref)
        recipe = self._beside(wanted.recipe)
        if wanted.number is None or wanted.number not in recipe.stages:
            have = ", ".join(map(str, recipe.stages)) or "none"
            raise RecipeError(
                where, f"stage {ref} does not exist", f"a stage of {recipe.name}: {have}"
            )
        return recipe, recipe.stages[wanted.number]

    def _beside(self, name: str) -> "Recipe":
        """The recipe of that name beside this one; this one for no name."""
        beside = self.folder.absolute().parent / name
        return self.shelf.recipe(beside, self.seed) if name else self

    @property
    def data(self) -> DataSpec:
        """The data its stages and probes come from, its own or that of a recipe it builds on."""
        if self.own_data is not None:
            return self.own_data
        refs = [*self.stages, *(ref for probe in self.probes.values() for ref in probe.inputs)]
        return self.chain(refs[0]).data if refs else self._data()

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits it trains and probes on, each once, that trained on first."""
        probed = [(probe.train_split, probe.test_split) for probe in self.probes.values()]
        return tuple(dict.fromkeys([self.data.train_split, *(n for both in probed for n in both)]))

    def probe(self, name: str) -> ProbeSpec:
        """The probe of that name.

        Raises:
            RecipeError: there is none.
        """
        if name not in self.probes:
            have = ", ".join(self.probes) or "none"
            raise RecipeError(
                f"recipe {self.name}", f"no probe {name!r}", f"one of {have}", f"see {self.folder}"
            )
        return self.probes[name]

    def _data(self) -> DataSpec:
        if self.own_data is None:
            raise RecipeError(
                str(self.folder), "no data.toml", 'one, for stages with input = "data"'
            )
        return self.own_data


class Shelf:
    """The recipes that one command reads: every folder of them and every TOML file once."""

    def __init__(self) -> None:
        self._recipes: dict[tuple[Path, int | None], Recipe] = {}
        self._tables: dict[Path, Table] = {}

    def recipe(self, folder: Path, seed: int | None) -> Recipe:
        """The recipe in a folder, each of its files checked, its inputs not followed yet.

        Raises:
            RecipeError: no such folder, or a file of it is wrong.
        """
        key = folder.absolute(), seed
        if key not in self._recipes:
            self._recipes[key] = self._read(folder, seed)
        return self._recipes[key]

    def _read(self, folder: Path, seed: int | None) -> Recipe:
        name = _checked_name(folder)
        full_name = str(RunName(name, seed))
        stages = {
            number: Stage(
                full_name, number, title, spec_of(StageSpec, path, self._table(path), seed)
            )
            for number, (title, path) in _stage_files(folder).items()
        }
        probes: dict[str, ProbeSpec] = {
            path.stem: spec_by("task", PROBE_SPECS, path, self._table(path), seed)
            for path in sorted(folder.glob("probe*.toml"))
        }
        if not stages and not probes:
            raise RecipeError(str(folder), "no stage files", "1_NAME.toml, 2_NAME.toml, …")
        data_toml = folder / "data.toml"
        data: DataSpec | None = None
        if data_toml.exists():
            data = spec_by("source", DATA_SPECS, data_toml, self._table(data_toml), seed)
        return Recipe(full_name, folder, seed, data, stages, probes, self)

    def _table(self, path: Path) -> Table:
        place = path.absolute()
        if place not in self._tables:
            self._tables[place] = parse(path)
        return self._tables[place]


def name_of(folder: Path) -> str:
    """The name of a recipe by its folder, which need not be there.

    Raises:
        RecipeError: it cannot name a folder of runs.
    """
    name = folder.name if ".." in folder.parts else folder.absolute().name
    if ".." in folder.parts[-1:] or not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise RecipeError(
            f"recipe {str(folder)!r}",
            f"{name!r} cannot name a folder of runs",
            "a folder name of letters, digits, '_', '-' and '.'",
            "give the path of a recipe folder, or a name that `gimstage recipes` lists",
        )
    return name


def _checked_name(folder: Path) -> str:
    name = name_of(folder)
    if not folder.is_dir():
        beside = {path.parent.name for path in folder.parent.glob("*/*.toml")}
        cure = guess(name, beside | shipped_recipes().keys()) or "see `gimstage recipes`"
        raise RecipeError(f"recipe {folder}", "no such folder", "a folder of TOML files", cure)
    return name


def _stage_files(folder: Path) -> dict[int, tuple[str, Path]]:
    files: dict[int, tuple[str, Path]] = {}
    for path in folder.glob("*.toml"):
        match = re.fullmatch(r"(\d+)_(.+)", path.stem, re.ASCII | re.DOTALL)
        if match is None:
            if path.stem != "data" and not path.stem.startswith("probe"):
                raise RecipeError(
                    str(path), "not a file of a recipe", "data.toml, N_NAME.toml or probe*.toml"
                )
            continue
        number = int(match[1])
        if number in files:
            raise RecipeError(str(path), f"a second stage {number}", "one file per number")
        files[number] = (match[2], path)
    return dict(sorted(files.items()))
