"""Recipes: a folder of TOML files, read, checked and resolved into a chain of stages.

    stages/demo/  data.toml  1_first.toml  2_second.toml  3_third.toml  probe.toml

A recipe's name is its folder's name (with `@S` behind it when `--seed S` replaced its seeds). A
stage names its input: the data, a stage of this recipe, or a stage of a recipe lying beside it.
Everything that decides a stage's numbers is its *identity*, a plain dictionary; the identity's
SHA-256 is its *fingerprint*.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ValidationError

from gimstage.errors import RecipeError, nearest
from gimstage.specs import DataSpec, ProbeSpec, Shape, Spec, StageSpec

# Raised whenever the same recipe gives other numbers than before, so that old results turn stale.
ALGORITHMS = {"views": 1, "resnet": 1, "infonce": 1, "training": 1, "encodings": 1, "probe": 1}

Identity = dict[str, Any]
S = TypeVar("S", bound=Spec)


@dataclass(frozen=True)
class Stage:
    """One stage of a recipe.

    Args:
        recipe: name of the recipe it belongs to, seed suffix included.
        number: its number, the N of `train-stage N`.
        title: the words of its file name.
        spec: its TOML.
    """

    recipe: str
    number: int
    title: str
    spec: StageSpec

    @property
    def key(self) -> str:
        """`RECIPE/NUMBER`, unique below one runs folder."""
        return f"{self.recipe}/{self.number}"


@dataclass(frozen=True)
class Chain:
    """The data and the stages that lead from it up to one stage, which comes last."""

    data: DataSpec
    stages: tuple[Stage, ...]

    @property
    def last(self) -> Stage:
        """The stage the chain leads to."""
        return self.stages[-1]

    @property
    def upstream(self) -> "Chain | None":
        """The chain of the stage before, or None where the last stage reads the data."""
        return Chain(self.data, self.stages[:-1]) if len(self.stages) > 1 else None

    def shapes(self) -> list[Shape]:
        """(channels, height, width) of one position: the first module's input, then each output."""
        import torch

        shapes = [self.data.patch_shape]
        for stage in self.stages:
            with torch.device("meta"):
                module = stage.spec.module.build(shapes[-1][0])
            shapes.append(module.output_shape(shapes[-1]))
        return shapes

    def weights_identity(self, data_fingerprint: str) -> Identity:
        """Everything that decides the last stage's weights; stages are counted along the chain."""
        first = len(self.stages) == 1
        parts = ("views", "resnet", "infonce", "training", *(() if first else ("encodings",)))
        # What the demo's other splits hold changes nothing; the split in use has its own SHA-256.
        left_out = {"demo", "stored_views"} if first else {"demo"}
        identity: Identity = {
            "algorithms": {part: ALGORITHMS[part] for part in parts},
            "data": self.data.model_dump(exclude=left_out),
            "data_sha256": data_fingerprint,
        }
        for position, stage in enumerate(self.stages, start=1):
            own = stage.spec.model_dump(include={"module", "objective", "train"})
            handed_on = {} if stage is self.last else {"output": _output(stage)}
            identity[f"stage {position}"] = own | handed_on
        return identity

    def features_identity(self, data_fingerprint: str) -> Identity:
        """Everything that decides what the last stage hands on."""
        identity = self.weights_identity(data_fingerprint)
        identity["algorithms"]["encodings"] = ALGORITHMS["encodings"]
        identity["data"] = self.data.model_dump(exclude={"demo"})
        identity[f"stage {len(self.stages)}"]["output"] = _output(self.last)
        return identity


def _output(stage: Stage) -> dict[str, Any]:
    # Where the numbers lie does not change them; codes are an extra, not handed on.
    return stage.spec.output.model_dump(exclude={"store", "codes"})


def fingerprint(identity: Mapping[str, Any]) -> str:
    """SHA-256 of an identity, as 64 hexadecimal digits."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """One line for every key in which two identities differ: `key: old → new`."""
    before, after = dict(_leaves(old)), dict(_leaves(new))
    return [
        f"{key}: {_show(before.get(key))} → {_show(after.get(key))}"
        for key in dict.fromkeys([*after, *before])
        if before.get(key, _ABSENT) != after.get(key, _ABSENT)
    ]


_ABSENT = object()


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", list(value) if isinstance(value, tuple) else value


def _show(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value):
        return value[:12]
    return "absent" if value is None else json.dumps(value, ensure_ascii=False)


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
    """

    name: str
    folder: Path
    seed: int | None
    own_data: DataSpec | None
    stages: Mapping[int, Stage]
    probes: Mapping[str, ProbeSpec]

    @classmethod
    def load(cls, folder: Path | str, seed: int | None = None) -> Self:
        """The recipe in `folder`, every file checked and every input followed to the data.

        Raises:
            RecipeError: no such folder, a file that does not parse, an unknown, missing or
                unfit key, an input that leads nowhere or round in a circle.
        """
        recipe = cls._read(Path(folder), seed)
        for number in recipe.stages:
            chain = recipe.chain(number)
            _check_hand_over(chain)
            _check_reach(chain)
            if chain.data != recipe.data:
                raise RecipeError(
                    str(recipe.folder / "data.toml"),
                    f"not the data stage {number} is built on",
                    f"the data.toml of {chain.stages[0].key}",
                    "remove this data.toml; the recipe then uses that one",
                )
        for name, probe in recipe.probes.items():
            for ref in probe.inputs:
                recipe.chain(ref, where=f"{recipe.folder / name}.toml inputs")
        return recipe

    @classmethod
    def _read(cls, folder: Path, seed: int | None) -> Self:
        name = _checked_name(folder)
        full_name = name if seed is None else f"{name}@{seed}"
        stages = {
            number: Stage(full_name, number, title, _read_toml(path, StageSpec, seed))
            for number, (title, path) in _stage_files(folder).items()
        }
        probes = {
            p.stem: _read_toml(p, ProbeSpec, seed) for p in sorted(folder.glob("probe*.toml"))
        }
        if not stages and not probes:
            raise RecipeError(str(folder), "no stage files", "1_NAME.toml, 2_NAME.toml, …")
        data_toml = folder / "data.toml"
        data = _read_toml(data_toml, DataSpec, seed) if data_toml.exists() else None
        return cls(full_name, folder, seed, data, stages, probes)

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
            if stage.spec.input == "data":
                return Chain(recipe._data(), tuple(reversed(stages)))
            recipe, stage = recipe._locate(stage.spec.input, where)

    def _locate(self, ref: int | str, where: str) -> "tuple[Recipe, Stage]":
        name, _, number = str(ref).rpartition("/")
        recipe = self
        if name:
            recipe = type(self)._read(self.folder.absolute().parent / name, self.seed)
        if not number.isdigit() or int(number) not in recipe.stages:
            have = ", ".join(map(str, recipe.stages)) or "none"
            raise RecipeError(
                where, f"stage {ref} does not exist", f"a stage of {recipe.name}: {have}"
            )
        return recipe, recipe.stages[int(number)]

    @property
    def data(self) -> DataSpec:
        """The data its stages and probes come from, its own or that of a recipe it builds on."""
        if self.own_data is not None:
            return self.own_data
        refs = [*self.stages, *(ref for probe in self.probes.values() for ref in probe.inputs)]
        return self.chain(refs[0]).data

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


def _checked_name(folder: Path) -> str:
    name = folder.name
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
        raise RecipeError(
            f"recipe {str(folder)!r}",
            f"{name!r} cannot name a folder of runs",
            "a folder name of letters, digits, '_', '-' and '.'",
            "give the path of a recipe folder, such as stages/demo",
        )
    if not folder.is_dir():
        beside = [p.parent.name for p in folder.parent.glob("*/data.toml")]
        cure = nearest(name, beside) if beside else "see `ls stages`"
        raise RecipeError(f"recipe {folder}", "no such folder", "a folder of TOML files", cure)
    return name


def _stage_files(folder: Path) -> dict[int, tuple[str, Path]]:
    files: dict[int, tuple[str, Path]] = {}
    for path in folder.glob("*.toml"):
        match = re.fullmatch(r"(\d+)_(.+)", path.stem)
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


def _check_reach(chain: Chain) -> None:
    """Refuse a crop in which the farthest prediction has nowhere to point to."""
    side, objective = chain.data.live_views().crop_patches, chain.last.spec.objective
    needed = objective.prediction_gap + objective.prediction_steps + 1
    if min(side, objective.window or side) < needed:
        raise RecipeError(
            f"stage {chain.last.key} [objective]",
            f"prediction_steps = {objective.prediction_steps} with prediction_gap = "
            f"{objective.prediction_gap} on crops of {side} × {side} patches",
            f"at least {needed} patches a side, in [views] and window",
            "enlarge crop_px, or predict fewer steps",
        )


def _check_hand_over(chain: Chain) -> None:
    """Refuse what the module before rectifies or rounds away although the module needs it."""
    import torch

    if chain.upstream is None or not chain.upstream.last.spec.output.relu:
        return
    shapes = chain.shapes()
    with torch.device("meta"):
        module = chain.last.spec.module.build(shapes[-2][0])
    if not module.reads_through_relu:
        giver, reader = chain.upstream.last, chain.last
        raise RecipeError(
            f"stage {giver.key} [output] relu",
            f"true, but stage {reader.key} also reads negative values (its first block has no "
            "projection)",
            "false",
            f"set relu = false in stage {giver.number}, or give stage {reader.number} a stride "
            "of 2 or another width",
        )


def _read_toml(path: Path, kind: type[S], seed: int | None) -> S:
    """The file as a checked spec; its seeds of training and probing replaced where asked for."""
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(str(path), f"not valid TOML: {error}") from error
    except OSError as error:
        raise RecipeError(str(path), f"cannot be read: {error.strerror}") from error
    if seed is not None:
        for part in (v for k, v in table.items() if k != "demo" and isinstance(v, dict)):
            if "seed" in part:
                part["seed"] = seed
    try:
        return kind.model_validate(table)
    except ValidationError as error:
        raise _translated(path, kind, error) from error


def _translated(path: Path, kind: type[Spec], error: ValidationError) -> RecipeError:
    """The complaint of pydantic that tells most, in gimstage's four parts."""
    # A misspelt key is also a missing one; the misspelling tells more.
    complaint = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    keys = [part for part in complaint["loc"] if isinstance(part, str)]
    if complaint["type"] == "extra_forbidden":
        cure = nearest(keys[-1], _keys_of(kind, keys[:-1]))
        return RecipeError(_place(path, keys, complaint["input"]), "unknown key", cure=cure)
    if complaint["type"] == "missing":
        cure = "add it: nothing that changes a number has a default"
        return RecipeError(_place(path, keys, None), "missing", cure=cure)
    if keys[-1:] in (["int"], ["str"]):  # pydantic names the failed member of a union
        keys.pop()
    found = json.dumps(complaint["input"], ensure_ascii=False, default=str)
    message = complaint["msg"].removeprefix("Value error, ")
    if "; expected " in message:  # a check of whole tables says itself what it found
        found, _, message = message.partition("; expected ")
    expected = message.removeprefix("Input should be ")
    return RecipeError(_place(path, keys, complaint["input"]), found, expected)


def _place(path: Path, keys: list[str], value: Any) -> str:
    """`FILE [table] key`, or `FILE [table]` where the value is a table."""
    tables = keys if isinstance(value, dict) else keys[:-1]
    return " ".join([str(path), *(f"[{table}]" for table in tables), *keys[len(tables) :]])


def _keys_of(kind: type[BaseModel], tables: list[str]) -> list[str]:
    for table in tables:
        kind = _model_in(kind.model_fields[table].annotation)
    return list(kind.model_fields)


def _model_in(annotation: Any) -> type[BaseModel]:
    """The table model inside `Model` or `Model | None`."""
    options = [annotation, *getattr(annotation, "__args__", ())]
    return next(o for o in options if isinstance(o, type) and issubclass(o, BaseModel))
