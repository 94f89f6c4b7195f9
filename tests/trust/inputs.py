"""Recipes, options and data sets that nobody could mean.

Each command ends soon and in small memory, without a traceback; what it refuses it names, and what
means nothing at all is refused.
"""

import shutil
import tomllib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

import click
from helpers.recipes import toml

from trust.bench import Attempt, Bench, Campaign, Result, dice, excess
from trust.datasets import spoil
from trust.forge import SOON
from trust.homes import IMAGES, SPEECH, copied, on, write_recipe
from trust.judge import manners
from trust.nasty import LONG, TEXTS, THINGS, places
from trust.references import Reference, finished_reference
from trust.warm import Outcome, command

# TOML for any key; what stands first means nothing anywhere.
_NONSENSE = ("nan", "inf", "-inf", "1e308", "9" * 30, "9" * 5000, "[" * 5000)
_DOUBTFUL = (
    *(
        "9223372036854775807",
        "-1",
        "0",
        "1",
        "7",
        "1e-300",
        "-0.5",
        "true",
        "1979-05-27",
        "07:32:00",
        "{}",
        "[]",
    ),
    *("[[]]", "[nan]", "[1, 1, 1]", "{x = 1}", '""', '" "', '"x"', '".."', '"../../x/1"', '"/"'),
    *('"[/red]"', '"\\u0000"', '"\\u202e"', '"１"', '"s3://x/y"', '"mine:Class"', '"os:system"'),
    f'"{LONG}"',
)
_NAMES = (
    "0_x",
    "１_x",
    "-1_x",
    "99999999999999999999_x",
    "2_again",
    "x",
    "probe_[b]",
    "probe_../x",
)

# For any option or argument; an empty one means nothing anywhere.
_WORDS = (
    *("", "nan", " ", "inf", "-inf", "-1", "0", "1e999", "9" * 30, "9" * 5000, "１", "0x10", "1_0"),
    *("x", ".", "..", "/dev/null", "/dev/zero", "/etc/passwd", "/proc/x", "~nobody/x", "nowhere"),
    *(
        "s3://bucket/x",
        "https://localhost/x",
        "pipe",
        "loop",
        "file",
        "[b]",
        "[/b]",
        "a\nb",
        "\x1b[31m",
    ),
    *("200GB", "1e9TB", "-5GB", "0.0000001B", "cuda:99", "cuda:-1", "mps", "😀", "ä" * 300, LONG),
)


def attempts(bench: Bench, seed: int) -> Iterator[Attempt]:
    """Recipes, options and data sets in turn, for ever."""
    finished = {name: finished_reference(bench, name) for name in (IMAGES, SPEECH)}
    options = list(_options())
    number = 0
    while True:
        for name in (IMAGES, SPEECH, IMAGES):
            yield partial(spoiled_recipe, finished[name], seed, number)
            number += 1
        for _ in range(2):
            words, option = options[number % len(options)]
            yield partial(strange_option, finished[IMAGES], words, option, seed, number)
            number += 1
        yield partial(spoiled_data, finished[(IMAGES, SPEECH)[number // 6 % 2]], seed, number)
        number += 1


def spoiled_recipe(
    reference: Reference, seed: int, number: int, bench: Bench, folder: Path
) -> Result:
    """Change one thing of a recipe; look, and train if that says nothing."""
    home, random = _unrun(reference, folder), dice(seed, "recipes", number)
    what, nonsense = _spoil_recipe(home / reference.recipe, random)
    wrong = []
    for words in (["status"], ["plan"], ["train-stage", "1"]):
        outcome = _ended(bench, home, *words, *on(reference.recipe))
        wrong += [f"{words[0]}: {each}" for each in _bad_ending(bench, outcome)]
        if outcome.code == 0 and nonsense:
            wrong.append(f"{words[0]}: accepted")
        if outcome.code != 0:
            break
    return Result([f"{what}: {each}" for each in wrong])


def _unrun(reference: Reference, folder: Path) -> Path:
    """A home with the recipe and its data, not run."""
    home = folder / "home"
    write_recipe(home, reference.recipe)
    copied(reference.home / "runs/data", home / "runs/data")
    shutil.copy2(reference.home / "runs/predictions.json", home / "runs")
    return home


def _spoil_recipe(recipe: Path, random: Random) -> tuple[str, bool]:
    """Change one thing of a recipe: what was done, and whether that means nothing anywhere."""
    path = random.choice(sorted(recipe.iterdir()))
    chance = random.random()
    if chance < 0.05:
        name = random.choice(_NAMES)
        path.rename(path.with_name(name.replace("/", "∕") + ".toml"))
        return f"{path.name} as {name}", False
    if chance < 0.1:
        name = random.choice([*TEXTS, *THINGS])
        path.unlink()
        THINGS[name](path) if name in THINGS else path.write_bytes(TEXTS[name])
        return f"{name} as {path.name}", False
    table = tomllib.loads(path.read_text())
    place = random.choice([place for place in places(table) if isinstance(place[-1], str)])
    value = random.choice(_NONSENSE if random.random() < 0.3 else _DOUBTFUL)
    inner = table
    for key in place[:-1]:
        inner = inner[key]
    key = random.choice([place[-1]] * 9 + ["unknown"])
    inner[key] = "@value@"
    path.write_text(toml(table).replace('"@value@"', value))
    name = ".".join([*map(str, place[:-1]), key])
    return f"{path.name}, {name} = {value[:40]}", value in _NONSENSE


def _options() -> Iterator[tuple[list[str], str]]:
    """Every argument and option of every command, each with the words it takes to get there."""
    from gimstage.cli import main

    given = {"number": ["1"], "folder": ["new"], "seeds": ["--seeds", "2"], "folders": [IMAGES]}
    given |= {name: [f"--{name}", "5"] for name in ("speakers", "train", "test", "unlabeled")}
    groups = {"": main, "data": main.commands["data"]}
    for group, commands in groups.items():
        for name, each in commands.commands.items():
            if isinstance(each, click.Group):
                continue
            for parameter in each.params:
                if getattr(parameter, "is_flag", False):
                    continue
                others = [p.name for p in each.params if p is not parameter]
                words = [*group.split(), name]
                if name == "download" and parameter.name != "name":
                    words.append("stl10")
                words += [word for other in others for word in given.get(other, [])]
                named = {p.name for p in each.params}
                words += ["--recipe", IMAGES] * ("recipe" in named - {parameter.name})
                yield words, "" if isinstance(parameter, click.Argument) else parameter.opts[0]


def strange_option(
    reference: Reference,
    words: list[str],
    option: str,
    seed: int,
    number: int,
    bench: Bench,
    folder: Path,
) -> Result:
    """A command that has all it needs, with one strange word."""
    home = copied(reference.home, folder / "home")
    for name, thing in (
        ("pipe", "a pipe"),
        ("loop", "a link to itself"),
        ("file", "1 TB of zeros"),
    ):
        THINGS[thing](home / name)
    word = dice(seed, "options", number).choice(_WORDS)
    words = [*words, option, word] if option else [*words, "--", word]
    outcome = _ended(bench, home, *words)
    wrong = _bad_ending(bench, outcome)
    if outcome.code == 0 and (word == "" or (word == "nan" and option)):
        wrong.append("accepted")
    return Result([f"{' '.join(words)[:200]!r}: {each}" for each in wrong])


def spoiled_data(
    reference: Reference, seed: int, number: int, bench: Bench, folder: Path
) -> Result:
    """Change one file of a data set; check it, look at it, train on it."""
    home, random = folder / "home", dice(seed, "data", number)
    write_recipe(home, reference.recipe)
    (data,) = (path for path in (reference.home / "runs/data").iterdir() if path.is_dir())
    copied(data, home / "own")
    (home / "runs").mkdir()
    shutil.copy2(reference.home / "runs/predictions.json", home / "runs")
    what = spoil(home / "own", random)
    wrong = []
    options = on(reference.recipe, data="own")
    for words in (["data", "check", "own"], ["status", *options], ["run", *options]):
        outcome = _ended(bench, home, *words)
        wrong += [f"{words[0]}: {each}" for each in _bad_ending(bench, outcome)]
    return Result([f"{what}: {each}" for each in wrong])


def _ended(bench: Bench, home: Path, *words: str) -> Outcome:
    return command(*words, folder=home, patience=SOON if bench.patience else None)


def _bad_ending(bench: Bench, outcome: Outcome) -> list[str]:
    return manners(outcome) + excess(outcome, SOON if bench.patience else None)


INPUTS = Campaign("inputs", "recipes, options, data that mean nothing", 1000, 12, attempts)
