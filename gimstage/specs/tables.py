"""A part's TOML table is made from its constructor: arguments become keys, annotations their types.

    class Conv1dModule(SequenceModule, kind="conv1d"):         kind = "conv1d"
        def __init__(self, *, in_channels: int,         ─►     channels = 512
                     channels: Positive, …)                    …

So a part is described once, and one from outside the package is checked like any other. A key may
be left out where its type allows None or its argument has a default.
"""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import (
    Annotated,
    Any,
    ClassVar,
    Generic,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import (
    ConfigDict,
    PlainValidator,
    SerializeAsAny,
    ValidationInfo,
    create_model,
    model_validator,
)
from pydantic_core import PydanticKnownError
from torch import nn

from gimstage.errors import RecipeError, nearest
from gimstage.specs.base import KindError, Spec
from gimstage.specs.outside import UNTRUSTED, Reading, folder_of, origin, outside_class

_PLAIN = (int, float, str, bool, type(None))


class PartTable(Spec):
    """A table whose `kind` names the class it builds.

    Attributes:
        part: that class.
        given: arguments of its constructor that are no keys.
        beside: keys that are no arguments of it.
        folder: the recipe's, where a part from outside the package was found beside it.
    """

    part: ClassVar[type[Any]]
    given: ClassVar[frozenset[str]]
    beside: ClassVar[frozenset[str]] = frozenset({"kind"})
    folder: ClassVar[Path | None] = None

    kind: str

    @classmethod
    def algorithm(cls) -> int:
        """The version of the part's numbers."""
        version: int = cls.part.algorithm
        return version

    @model_validator(mode="after")
    def _keys_go_together(self) -> PartTable:
        for name in ("check_keys", "labels_for", "chance_loss_for"):
            if ask := getattr(self.part, name, None):
                try:
                    ask(**self.arguments())
                except ValueError:  # says what is wrong with the keys
                    raise
                except Exception as error:  # whatever a class from outside may do
                    says = f"fails at {name}: {type(error).__name__}: {error}"
                    raise KindError(f'"{self.kind}" {says}') from error
        return self

    def arguments(self) -> dict[str, Any]:
        """The keyword arguments that its keys give to the part's constructor."""
        names = type(self).model_fields.keys() - self.beside
        return {name: getattr(self, name) for name in sorted(names)}


# Tables of one field differ: each is written out as its own class says.
_AS_IT_IS: Any = SerializeAsAny()  # type: ignore[type-arg]  # of any type

T = TypeVar("T", bound=PartTable)


class Choice(Generic[T]):
    """The tables that may stand in one place, chosen between by their `kind`.

    Args:
        base: the base class of the tables.
        kinds: the classes they build, by kind; those registered later count too.
        outside: what the class of a kind "module:Class" must be derived from; None where such kinds
            are not allowed.
        modules: the choice for arguments that are modules themselves, where parts may have any.
    """

    def __init__(
        self,
        base: type[T],
        kinds: Mapping[str, type[Any]],
        *,
        outside: type[Any] | None = None,
        modules: Choice[Any] | None = None,
    ) -> None:
        self.base, self.kinds = base, kinds
        self.outside, self.modules = outside, modules
        self._made: dict[tuple[str, type[Any]], type[T]] = {}

    def table(self, kind: Any, reading: Reading) -> type[T]:
        """The table of a kind.

        Raises:
            KindError: there is no such kind, or its class cannot be used.
        """
        if kind is None:
            raise KindError("missing", cure="add it: it says which keys the table has")
        if isinstance(kind, str) and kind in self.kinds:
            part = self.kinds[kind]
        elif isinstance(kind, str) and ":" in kind and self.outside is not None:
            if not reading.trust:
                return self._untrusted(kind, reading)
            part = outside_class(kind, reading, self.outside)
        else:
            raise KindError(json.dumps(kind, default=str), cure=nearest(str(kind), self.kinds))
        if (kind, part) not in self._made:
            made = table_of(part, self.base, kind=kind, modules=self.modules)
            made.folder = folder_of(kind, reading.beside(kind))
            self._made[kind, part] = made
        return self._made[kind, part]

    def _untrusted(self, kind: str, reading: Reading) -> type[T]:
        """A table that holds its keys, whatever they are, and builds nothing."""
        name = f"Untrusted{self.base.__name__}"
        made: Any = create_model(name, __base__=(self.base, _AnyKeys))
        made.part = _NotImported(kind, origin(kind, reading.beside(kind)))
        untrusted: type[T] = made
        return untrusted

    def read(self, value: Any, info: ValidationInfo) -> T:
        """A table as the spec that its kind chooses."""
        if isinstance(value, self.base):
            return value
        if not isinstance(value, Mapping):
            raise PydanticKnownError("model_attributes_type")
        reading = info.context or UNTRUSTED
        return self.table(value.get("kind"), reading).model_validate(value, context=reading)

    @property
    def field(self) -> Any:
        """The type of a field that holds such a table."""
        return Annotated[self.base, _AS_IT_IS, PlainValidator(self.read), self]


class _AnyKeys(Spec):
    """A table whose keys nobody knows."""

    model_config = ConfigDict(extra="allow")


class _NotImported:
    """Stands for a class whose module nobody has asked to import.

    Args:
        kind: "module:Class".
        place: where the module would be imported from.
    """

    def __init__(self, kind: str, place: str) -> None:
        self._kind, self._place = kind, place

    def chance_loss_for(self, **_: Any) -> None:
        """No price of guessing: that, only the class knows."""

    def check_keys(self, **_: Any) -> None:
        """Accept all keys: which of them go together, only the class knows."""

    def __call__(self, **_: Any) -> Any:
        """Refuse to make anything.

        Raises:
            RecipeError: says which module would be imported, and from where.
        """
        module, word = self._kind.split(":")
        raise RecipeError(
            f'kind "{self._kind}"',
            f"not imported: that would run {module} from {self._place}",
            "your word that you trust it",
            f"give trust=True to import {word} from there",
        )


def table_of(
    part: type[Any], base: type[T], *, kind: str, modules: Choice[Any] | None = None
) -> type[T]:
    """The table of a part, made from its constructor.

    Args:
        part: the class.
        base: the base class of the table.
        kind: that names it.
        modules: the choice for arguments that are modules themselves, if there may be any.

    Raises:
        KindError: an argument has no type, or one that no TOML file can give.
    """
    try:
        hints = get_type_hints(part.__init__, include_extras=True)
    except (NameError, TypeError) as error:
        raise KindError(f'"{kind}", whose types cannot be read: {error}') from error
    fields: dict[str, Any] = {"kind": (Literal[kind], ...)}
    for argument in list(inspect.signature(part.__init__).parameters.values())[1:]:
        taken = {*dir(base), *base.model_fields, *base.__class_vars__}
        if argument.name in taken:
            raise KindError(f'"{kind}" takes {argument.name}', "another word: this one is taken")
        if argument.name not in base.given:
            fields[argument.name] = _key(argument, hints.get(argument.name), kind, modules)
    made: type[T] = create_model(f"{part.__name__}Table", __base__=base, **fields)
    made.part = part
    made.__doc__ = f'`kind = "{kind}"`: the arguments of {part.__name__}.'
    return made


def _key(
    argument: inspect.Parameter, hint: Any, kind: str, modules: Choice[Any] | None
) -> tuple[Any, Any]:
    """The type of an argument's key, and its value where it is left out."""
    if argument.kind in (argument.VAR_KEYWORD, argument.VAR_POSITIONAL):
        raise KindError(
            f'"{kind}" takes {"*" * (1 + (argument.kind == argument.VAR_KEYWORD))}{argument.name}',
            "keyword arguments with types: they are the keys of its table",
            f"name them in the constructor of {kind.rpartition(':')[2]}",
        )
    if hint is None:
        raise KindError(
            f'"{kind}" takes {argument.name} without a type',
            "an annotation: it is the type of that key",
            f"write {argument.name}: int, or what it is",
        )
    optional = type(None) in get_args(hint)
    if modules is not None and _is_module(hint):
        hint = modules.field | None if optional else modules.field
    elif not _is_plain(hint):
        raise KindError(
            f'"{kind}" takes {argument.name}: {_name(hint)}',
            "a type that a TOML file can give: int, float, bool, str, Literal, or a list of these",
            f"make {argument.name} in the constructor from such values",
        )
    given = argument.default is not argument.empty
    return hint, argument.default if given else None if optional else ...


def _is_module(hint: Any) -> bool:
    options = get_args(hint) or (hint,)
    return any(isinstance(option, type) and issubclass(option, nn.Module) for option in options)


def _is_plain(hint: Any) -> bool:
    """Whether TOML has values of a type, and JSON too."""
    origin, options = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _is_plain(options[0])
    if origin is Literal:
        return all(isinstance(option, _PLAIN) for option in options)
    if origin in (Union, types.UnionType, list, Sequence):
        return all(_is_plain(option) for option in options)
    if origin is dict:
        return options[0] is str and _is_plain(options[1])
    return hint in _PLAIN


def _name(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint))


def arguments_of(part: Any) -> set[str]:
    """The names of a class's constructor arguments."""
    return set(inspect.signature(part).parameters)
