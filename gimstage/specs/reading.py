"""A TOML file becomes a spec, or a message that names file and key."""

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from gimstage.errors import RecipeError, nearest
from gimstage.files import DEEPEST, UnreadableError, read_regular
from gimstage.specs.base import KindError, Spec
from gimstage.specs.outside import Reading
from gimstage.specs.tables import Choice

S = TypeVar("S", bound=Spec)


Table = dict[str, Any]

MOST_TOML_BYTES = 1 << 20  # of a file; a long recipe has a thousandth of it


def parse(path: Path) -> Table:
    """What a TOML file holds, unchecked.

    Raises:
        RecipeError: it is no TOML, or cannot be read.
    """
    try:
        table = tomllib.loads(read_regular(path, most_bytes=MOST_TOML_BYTES).decode("utf-8"))
    except UnreadableError as error:
        raise RecipeError(str(path), str(error), "a file of TOML") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _no_toml(path, str(error)) from error
    except RecursionError as error:
        raise _no_toml(path, "nested too deep") from error
    except ValueError as error:  # of int(), which refuses to take all day
        raise _no_toml(path, "a number of too many digits") from error
    except OSError as error:
        cure = "see what it is and who may read it"
        raise RecipeError(str(path), f"cannot be read: {error.strerror}", cure=cure) from error
    _refuse_absurd(path, table)
    return table


def _refuse_absurd(path: Path, table: Table) -> None:
    """Refuse tables so deep, or integers so long, that nothing behind this could show them."""
    level: list[tuple[list[str], Any]] = [([], table)]
    for _ in range(DEEPEST):
        inner = [
            (keys if isinstance(value, list) else [*keys, str(key)], entry)
            for keys, value in level
            if isinstance(value, dict | list)
            for key, entry in (value.items() if isinstance(value, dict) else enumerate(value))
        ]
        for keys, value in inner:
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                expected = "one of at most 64 bits, as TOML has them"
                raise RecipeError(_place(path, keys, None), "a longer integer", expected)
        level = inner
    if level:
        raise _no_toml(path, "nested too deep")


def _no_toml(path: Path, reason: str) -> RecipeError:
    return RecipeError(str(path), f"not valid TOML: {reason}", cure="correct that in the file")


def spec_by(
    key: str, kinds: Mapping[str, type[S]], path: Path, table: Table, seed: int | None
) -> S:
    """What a file holds, as the spec that its `key` chooses; raises as `spec_of`."""
    chosen = table.get(key)
    if chosen is None:
        raise RecipeError(f"{path} {key}", "missing", cure=f"choose from: {', '.join(kinds)}")
    if not isinstance(chosen, str) or chosen not in kinds:
        cure = nearest(str(chosen), kinds)
        raise RecipeError(f"{path} {key}", shown(chosen), cure=cure)
    return spec_of(kinds[chosen], path, table, seed)


def spec_of(kind: type[S], path: Path, table: Table, seed: int | None) -> S:
    """What a file holds, as a checked spec.

    Args:
        kind: the kind of the spec.
        path: the file, named in errors.
        table: what it holds.
        seed: what replaces its seeds of training and probing; None to keep them.

    Raises:
        RecipeError: a key is unknown, missing or unfit.
    """
    if seed is not None:
        table = {
            key: _seeded(value, seed) if key != "demo" else value for key, value in table.items()
        }
    try:
        return kind.model_validate(table, context=Reading(path.parent, trust=True))
    except ValidationError as error:
        raise _translated(path, kind, table, error) from error


def _seeded(value: Any, seed: int) -> Any:
    """A table with that seed, if it has any; every other value as it is."""
    return value | {"seed": seed} if isinstance(value, dict) and "seed" in value else value


def _translated(
    path: Path, kind: type[Spec], table: Mapping[str, Any], error: ValidationError
) -> RecipeError:
    """The complaint of pydantic that tells most, in gimstage's four parts."""
    # A misspelt key is also a missing one; the misspelling tells more.
    complaint = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    keys, holder = _followed(kind, complaint["loc"], table, path.parent)
    reason = complaint.get("ctx", {}).get("error")
    if isinstance(reason, KindError):
        place = _place(path, [*keys, "kind"], None)
        return RecipeError(place, reason.found, reason.expected, reason.cure)
    where = _place(path, keys, complaint["input"])
    if complaint["type"] == "extra_forbidden":
        return RecipeError(where, "unknown key", cure=nearest(keys[-1], holder.model_fields))
    if complaint["type"] == "missing":
        cure = "add it: nothing that changes a number has a default"
        return RecipeError(_place(path, keys, None), "missing", cure=cure)
    if complaint["type"] in _NO_TABLES or keys == ["modules"]:
        return _misshapen(path, keys, complaint["input"])
    found = shown(complaint["input"])
    if complaint["type"] == "literal_error" and isinstance(complaint["input"], str):
        expected = complaint["ctx"]["expected"]
        known = re.findall("'([^']*)'", expected)
        close = nearest(complaint["input"], known)
        return RecipeError(where, found, expected, close if close.startswith("did") else "")
    if complaint["type"] == "too_short":
        return RecipeError(where, found, f"at least {complaint['ctx']['min_length']} of them")
    if complaint["type"] == "too_long":
        return RecipeError(where, found, f"at most {complaint['ctx']['max_length']} of them")
    message = complaint["msg"].removeprefix("Value error, ")
    if "; expected " in message:  # a check of whole tables says itself what it found
        found, _, message = message.partition("; expected ")
    return RecipeError(where, found, message.removeprefix("Input should be "))


def shown(value: Any) -> str:
    """A value of a TOML file as JSON, cut where it is longer than anybody reads."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 200 else f"{text[:100]} …"


# What pydantic says of a value or an array where a table should be.
_NO_TABLES = ("model_attributes_type", "model_type")


def _misshapen(path: Path, keys: list[str], value: Any) -> RecipeError:
    """Something else where a table or an array of tables should be."""
    found = shown(value)
    place, expected = _place(path, keys, None), f"a table, [{'.'.join(keys)}]"
    if keys == ["modules"]:
        expected = "[[modules]], once for each module; or [module] for one"
        if isinstance(value, dict):
            place, found = _place(path, keys, {}), "a single table"
        elif isinstance(value, list):
            place, found = _place(path, keys, {}), "one table" if value else "no table"
            expected = "[[modules]] for several modules, [module] for one"
    elif keys == ["module"] and isinstance(value, list):
        place, found = _place(path, keys, {}), "an array of tables"
        expected = "[module] for one, [[modules]] for several"
    return RecipeError(place, found, expected)


def _followed(
    kind: type[BaseModel], loc: Iterable[int | str], table: Any, folder: Path
) -> tuple[list[str], type[BaseModel]]:
    """The TOML keys in one of pydantic's locations, and the model that holds the last of them.

    Of a union of plain types pydantic also names the member tried, "int" or "str"; that is left
    out. Tables of an array are counted from 1.

    Args:
        kind: the model of the whole file.
        loc: pydantic's location.
        table: the file, parsed.
        folder: where it lies.
    """
    keys: list[str] = []
    holder: type[BaseModel] = kind
    holders: list[type[BaseModel] | Choice[Any]] = [kind]
    for step in loc:
        if isinstance(step, int):
            keys[-1] += f" {step + 1}" if holders else ""
        elif holders:
            holder = _model(max(holders, key=partial(_shared, table)), table, folder)
            keys.append(step)
            holders = _holders(holder.model_fields.get(step))
        else:
            continue
        table = _entry(table, step)
    return keys, holder


def _entry(table: Any, step: int | str) -> Any:
    """What a table or an array holds under a key or a number; None where it has no such place."""
    try:
        return table[step]
    except (KeyError, IndexError, TypeError):
        return None


def _model(holder: type[BaseModel] | Choice[Any], table: Any, folder: Path) -> type[BaseModel]:
    if isinstance(holder, Choice):
        return holder.table(_entry(table, "kind"), Reading(folder, trust=True))
    return holder


def _shared(table: Any, holder: type[BaseModel] | Choice[Any]) -> int:
    """How many keys of a table are those of a model: of several it may hold, that most like it."""
    known = {} if isinstance(holder, Choice) else holder.model_fields
    return len(known.keys() & table.keys()) if isinstance(table, Mapping) else 0


def _holders(field: FieldInfo | None) -> list[type[BaseModel] | Choice[Any]]:
    """The models a key may hold, in a list of them too: none for a plain value."""
    return _in(Annotated[field.annotation, *field.metadata, None]) if field else []


def _in(annotation: Any) -> list[type[BaseModel] | Choice[Any]]:
    inner = get_args(annotation)
    chosen: list[type[BaseModel] | Choice[Any]] = [o for o in inner if isinstance(o, Choice)]
    if chosen:
        return chosen
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for option in inner for model in _in(option)]


def _place(path: Path, keys: list[str], value: Any) -> str:
    """`FILE [table] key`, or `FILE [table]` where the value is a table."""
    tables = keys if isinstance(value, dict) else keys[:-1]
    return " ".join([str(path), *(f"[{table}]" for table in tables), *keys[len(tables) :]])
