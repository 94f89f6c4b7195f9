"""What runs and modules are called: on disk, in manifests, in the rows of probes.

    small            RunName("small", None)                           a recipe with its own seeds
    small@3          RunName("small", 3)                              its seeds replaced by 3
    small@3/2        ModuleKey(RunName("small", 3), 2, None)          a stage of it
    small@3/2.1      ModuleKey(RunName("small", 3), 2, 1)             a module of that stage

and in the TOML of recipes, which know of no seeds:

    2                StageRef("", 2)                                  stage 2 of this recipe
    small/2          StageRef("small", 2)                             that of the recipe beside it
    small/data       StageRef("small", None)                          what that one is trained on

This file imports nothing of gimstage.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Self


@dataclass(frozen=True)
class RunName:
    """The folder of a recipe below the runs folder.

    Args:
        recipe: its name.
        seed: that replaced all seeds of the recipe; None where it keeps its own.
    """

    recipe: str
    seed: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """The name in `RECIPE` or `RECIPE@SEED`.

        Raises:
            ValueError: what stands behind the @ is no seed.
        """
        recipe, at, seed = text.partition("@")
        if at and not re.fullmatch(r"\d+", seed, re.ASCII):
            raise ValueError(f"'{seed}' is no seed")
        return cls(recipe, int(seed) if at else None)

    def __str__(self) -> str:
        """The name of its folder below the runs folder."""
        return self.recipe if self.seed is None else f"{self.recipe}@{self.seed}"


@dataclass(frozen=True)
class ModuleKey:
    """A stage of a run, or one of the modules of a stage that trains several.

    Args:
        run: whose stage it is.
        stage: the stage's number.
        module: counted from 1 in its stage; None for the stage as a whole.
    """

    run: RunName
    stage: int
    module: int | None = None

    @classmethod
    def parse(cls, text: str, within: RunName | None = None) -> Self:
        """The key in `RUN/STAGE` or `RUN/STAGE.MODULE`.

        Args:
            text: the key.
            within: the run that is meant where the key names none.

        Raises:
            ValueError: it is no such key.
        """
        run, _, numbers = text.rpartition("/")
        match = re.fullmatch(r"(\d+)(?:\.(\d+))?", numbers, re.ASCII)
        if match is None or not (run or within):
            raise ValueError(f"'{text}' names no stage")
        owner = RunName.parse(run) if run or within is None else within
        return cls(owner, int(match[1]), None if match[2] is None else int(match[2]))

    def __str__(self) -> str:
        """The whole key, such as "demo@2/1.3"."""
        return f"{self.run}/{self.number}"

    @property
    def number(self) -> str:
        """What its own run calls it: `STAGE` or `STAGE.MODULE`."""
        return str(self.stage) if self.module is None else f"{self.stage}.{self.module}"

    @property
    def whole_stage(self) -> Self:
        """The key of the stage it is a module of."""
        return replace(self, module=None)

    def seedless(self) -> Self:
        """The same of the recipe with its own seeds."""
        return replace(self, run=RunName(self.run.recipe))

    def seen_from(self, run: RunName) -> str:
        """What a run calls it: its number alone where it is that run's own."""
        return self.number if self.run == run else str(self)


@dataclass(frozen=True)
class StageRef:
    """What a stage or a probe names as its input.

    Args:
        recipe: the recipe whose it is; empty for the recipe that names it.
        number: the stage's number; None for the recipe's data.
    """

    recipe: str
    number: int | None

    @classmethod
    def parse(cls, ref: int | str) -> Self:
        """The reference in `N`, `RECIPE/N`, `data` or `RECIPE/data`."""
        recipe, _, word = str(ref).rpartition("/")
        return cls(recipe, int(word) if re.fullmatch(r"\d+", word, re.ASCII) else None)


def nameless(identity: Mapping[str, Any], run: RunName) -> dict[str, Any]:
    """A probe's identity as every run that asks for the same probe would write it.

    Args:
        identity: as it was written, its stages by their keys.
        run: who wrote it; its own stages go by their numbers, those of others without their seed.
    """
    plain = dict(identity)
    for name in ("weights", "classifiers"):
        if isinstance(table := plain.get(name), Mapping):
            plain[name] = {_nameless(key, run): value for key, value in table.items()}
    return plain


def _nameless(text: str, run: RunName) -> str:
    with suppress(ValueError):
        key = ModuleKey.parse(text)
        return key.number if key.run == run else str(key.seedless())
    return text
