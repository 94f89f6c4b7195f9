"""No number of a recipe is so large that it fills a machine before anything can say why."""

import math
import os
import shutil
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import pytest
from annotated_types import Le, Len, Lt, MaxLen
from helpers.homes import RECIPES
from pydantic import BaseModel

from gimstage.errors import RecipeError
from gimstage.modules import CONTEXTS, EncoderModule
from gimstage.objectives import Objective
from gimstage.recipe.recipe import Recipe
from gimstage.specs import DATA_SPECS, PROBE_SPECS, StageSpec
from gimstage.specs.encoders import ENCODER_TABLES
from gimstage.specs.objectives import CONTEXT_TABLES, OBJECTIVE_TABLES
from gimstage.specs.outside import UNTRUSTED

STAGES = Path(__file__).parents[2] / "stages"


def tables() -> Iterator[type[BaseModel]]:
    """The spec of every table there is, those inside others too."""
    waiting = [StageSpec, *DATA_SPECS.values(), *PROBE_SPECS.values()]
    for choice, kinds in (
        (ENCODER_TABLES, EncoderModule.kinds),
        (OBJECTIVE_TABLES, Objective.kinds),
        (CONTEXT_TABLES, CONTEXTS),
    ):
        waiting += [choice.table(kind, UNTRUSTED) for kind in kinds if "." not in kind]
    seen: set[type[BaseModel]] = set()
    while waiting:
        table = waiting.pop()
        if table not in seen:
            seen.add(table)
            yield table
            for field in table.model_fields.values():
                waiting += [leaf for leaf, _ in leaves(field.annotation) if is_model(leaf)]


def is_model(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, BaseModel)


def leaves(hint: Any, marks: tuple[Any, ...] = ()) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Every plain type in a hint, and the marks of ranges that stand over it."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        own = [m for mark in inner[1:] for m in getattr(mark, "metadata", [mark])]
        yield from leaves(inner[0], (*marks, *own))
    elif origin in (Union, types.UnionType):
        for each in inner:
            yield from leaves(each, marks)
    elif origin is list:
        yield list, marks
        yield from leaves(inner[0])
    else:
        yield hint, marks


FIELDS = {
    f"{table.__name__}.{name}": list(leaves(field.annotation, tuple(field.metadata)))
    for table in tables()
    for name, field in table.model_fields.items()
    if name not in ("input", "inputs")  # numbers of stages, which are only looked up
}


@pytest.mark.parametrize("key", FIELDS)
def test_every_number_and_every_list_of_a_recipe_has_an_upper_bound(key: str) -> None:
    for leaf, marks in FIELDS[key]:
        if leaf in (int, float):
            assert any(isinstance(mark, Le | Lt) for mark in marks)
        elif leaf is list and not key.endswith((".mean", ".std")):  # one for every channel
            assert any(isinstance(mark, MaxLen | Len) for mark in marks)


ABSURD = [
    ("data.toml", "unlabeled = 48", "unlabeled = 1000000000", "[demo] unlabeled: 1000000000"),
    ("data.toml", "mean = [0.4120]", "mean = [nan]", "mean: NaN; expected a finite number"),
    ("data.toml", "mean = [0.4120]", "mean = [1e7]", "mean: 10000000.0; expected less than"),
    ("data.toml", 'source = "demo_images"', "source = []", "source: []; choose from: array"),
    ("data.toml", 'source = "demo_images"', "source = {}", "source: {}; choose from: array"),
    ("data.toml", "count = 1", f"count = 1{'0' * 30}", "count: a longer integer; expected one of"),
    ("data.toml", "count = 1", f"count = {'9' * 5000}", ": not valid TOML: a number of too many"),
    ("data.toml", "count = 1", f"count = 0x{'f' * 5000}", "count: a longer integer; expected"),
    ("data.toml", "count = 1", f"x = {'[' * 5000}{']' * 5000}", ": not valid TOML: nested too"),
    ("data.toml", "count = 1", f"{'x.' * 100}x = 1", ": not valid TOML: nested too deep"),
    ("data.toml", "count = 1", f"# {'x' * 2**20}", ": 1,048,"),
    ("1_first.toml", "width = 2", f"width = 1{'0' * 30}", "[module] width: a longer integer"),
    ("1_first.toml", "blocks = 1", "blocks = 20000", "blocks: 20000; expected less than or equal"),
    ("1_first.toml", "width = 2", "width = 65536", "stage tiny/1: 330,714,447,976 weights, 5.3 TB"),
    ("1_first.toml", "learning_rate = 1e-3", "learning_rate = inf", "learning_rate: Infinity; exp"),
    (
        "1_first.toml",
        "num_negatives = 4",
        "num_negatives = 1000000000",
        "num_negatives: 1000000000",
    ),
    ("1_first.toml", 'kind = "resnet"', "kind = []", "[module] kind: []; choose from: conv1d"),
    ("1_first.toml", "steps = 12", "steps = 10000000000", "[train] steps: 10000000000; expected"),
    ("2_second.toml", "input = 1", 'input = "１"', 'input: "１"; expected "data", the number of'),
    ("2_second.toml", "input = 1", f'input = "{"1" * 400}"', 'input: "1111'),
    ("probe.toml", "inputs = [1, 2, 3]", "inputs = [1, 1]", "inputs: stage tiny/1 twice; expected"),
    ("probe.toml", "inputs = [1, 2, 3]", 'inputs = [1, "tiny/1"]', "inputs: stage tiny/1 twice"),
    ("probe.toml", "inputs = [1, 2, 3]", f"inputs = [{'1,' * 2000}]", "inputs: [1, 1, 1, 1,"),
]


IDS = [f"{case[0]} {case[2]}"[:40] for case in ABSURD]


@pytest.mark.parametrize(("file", "plain", "absurd", "said"), ABSURD, ids=IDS)
def test_a_value_without_sense_is_one_message(
    tmp_path: Path, file: str, plain: str, absurd: str, said: str
) -> None:
    recipe = shutil.copytree(RECIPES / "tiny", tmp_path / "tiny")
    text = (recipe / file).read_text()
    assert plain in text
    (recipe / file).write_text(text.replace(plain, absurd, 1))
    message = refusal(recipe)
    assert said in message
    assert len(message) < 600


def refusal(recipe: Path) -> str:
    with pytest.raises(RecipeError) as error:
        Recipe.load(recipe)
    return str(error.value)


def test_a_stage_file_is_numbered_in_plain_digits(tmp_path: Path) -> None:
    recipe = shutil.copytree(RECIPES / "tiny", tmp_path / "tiny")
    (recipe / "1_first.toml").rename(recipe / "１_first.toml")
    assert refusal(recipe) == (
        f"{recipe}/１_first.toml: not a file of a recipe; "
        "expected data.toml, N_NAME.toml or probe*.toml"
    )


@pytest.mark.parametrize("file", ["data.toml", "1_first.toml", "probe.toml"])
def test_what_is_no_regular_file_is_not_read(tmp_path: Path, file: str) -> None:
    recipe = shutil.copytree(RECIPES / "tiny", tmp_path / "tiny")
    for make, said in (
        (os.mkfifo, "no regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "no regular file"),
        (Path.mkdir, "a folder"),
    ):
        shutil.rmtree(recipe)
        shutil.copytree(RECIPES / "tiny", recipe)
        (recipe / file).unlink()
        make(recipe / file)
        assert refusal(recipe) == f"{recipe}/{file}: {said}; expected a file of TOML"


@pytest.mark.parametrize("path", sorted(STAGES.rglob("*.toml")), ids=lambda p: p.parent.name)
def test_numbers_of_our_own_recipes_are_far_from_their_bounds(path: Path) -> None:
    def numbers(value: Any) -> Iterator[float]:
        if isinstance(value, dict | list):
            for each in value.values() if isinstance(value, dict) else value:
                yield from numbers(each)
        elif isinstance(value, int | float):
            yield value

    assert all(
        abs(n) < 10**7 and math.isfinite(n) for n in numbers(tomllib.loads(path.read_text()))
    )
