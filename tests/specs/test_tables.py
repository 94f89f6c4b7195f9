"""Tables made from constructors: which keys they have, of which types, and what may be left out."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge
from pydantic import ValidationError
from torch import nn

from gimstage.modules import EncoderModule
from gimstage.objectives import Objective
from gimstage.sizes.bounds import Positive
from gimstage.specs.base import KindError
from gimstage.specs.encoders import ENCODER_TABLES, EncoderTable
from gimstage.specs.objectives import CONTEXT_TABLES, OBJECTIVE_TABLES
from gimstage.specs.outside import UNTRUSTED, Reading
from gimstage.specs.tables import Choice, PartTable, arguments_of, table_of

TRUSTING = Reading(None, trust=True)
CONV = {"kind": "conv1d", "channels": 8, "kernel": 4, "stride": 2, "padding": 1}


class ToyTable(PartTable):
    given = frozenset({"in_channels"})


class Toy:
    """A part with an argument of every form."""

    algorithm = 4

    def __init__(
        self,
        *,
        in_channels: int,
        width: Positive,
        share: Annotated[float, Ge(0)] = 0.5,
        mode: Literal["slow", "fast"] = "fast",
        sizes: list[int] | None = None,
        limit: int | None,
    ) -> None:
        self.told = {"width": width, "share": share, "mode": mode, "sizes": sizes, "limit": limit}


def toy(**keys: Any) -> Any:
    return table_of(Toy, ToyTable, kind="toy").model_validate({"kind": "toy"} | keys)


def troubles(**keys: Any) -> list[tuple[str, str]]:
    """Key and type of every error in a toy's table."""
    with pytest.raises(ValidationError) as error:
        toy(**keys)
    return [(str(each["loc"][-1]), each["type"]) for each in error.value.errors()]


def refusal(make: Any, base: Any = ToyTable) -> str:
    """Why no table can be made of a class."""
    with pytest.raises(KindError) as error:
        table_of(make, base, kind="toy")
    parts = error.value.found, error.value.expected, error.value.cure
    return "; ".join(part for part in parts if part)


def accepting(hint: Any) -> type[Any]:
    """A class whose one argument has a type."""

    def __init__(self: Any, *, value: Any) -> None:  # noqa: N807
        self.value = value

    __init__.__annotations__ = {"value": hint, "return": None}
    return type("Accepting", (), {"__init__": __init__})


def test_arguments_are_keys_but_for_what_is_given() -> None:
    made = table_of(Toy, ToyTable, kind="toy")
    assert set(made.model_fields) == {"kind", "width", "share", "mode", "sizes", "limit"}


def test_a_key_with_a_default_may_be_left_out() -> None:
    assert (toy(width=3).share, toy(width=3).mode) == (0.5, "fast")


def test_a_key_that_may_be_none_may_be_left_out_too() -> None:
    assert (toy(width=3).sizes, toy(width=3).limit) == (None, None)


def test_a_key_that_has_neither_is_missing() -> None:
    assert troubles() == [("width", "missing")]


def test_a_key_no_argument_has_is_refused() -> None:
    assert troubles(width=3, depth=1) == [("depth", "extra_forbidden")]


def test_what_its_surroundings_give_is_no_key() -> None:
    assert troubles(width=3, in_channels=1) == [("in_channels", "extra_forbidden")]


@pytest.mark.parametrize(
    ("key", "value", "trouble"),
    [
        ("width", 0, "greater_than"),
        ("width", 2.0, "int_type"),
        ("width", True, "int_type"),
        ("width", "2", "int_type"),
        ("share", -0.1, "greater_than_equal"),
        ("share", "0.1", "float_type"),
        ("mode", "middling", "literal_error"),
        ("kind", "other", "literal_error"),
    ],
)
def test_ranges_and_types_are_those_of_the_annotation(key: str, value: Any, trouble: str) -> None:
    assert troubles(**({"width": 3} | {key: value})) == [(key, trouble)]


def test_a_whole_number_may_stand_for_a_float() -> None:
    assert toy(width=3, share=1).share == 1.0


def test_the_keys_become_the_arguments() -> None:
    given = {"width": 3, "share": 0.25, "mode": "slow", "sizes": [1, 2], "limit": 9}
    table = toy(**given)
    assert table.arguments() == given
    assert Toy(in_channels=1, **table.arguments()).told == given


def test_the_version_of_a_table_is_its_parts() -> None:
    assert toy(width=3).algorithm() == 4


def test_a_table_is_named_after_its_part_and_says_its_kind() -> None:
    made = table_of(Toy, ToyTable, kind="toy")
    assert (made.__name__, made.__doc__) == ("ToyTable", '`kind = "toy"`: the arguments of Toy.')


def test_defaults_enter_the_identity_like_any_value() -> None:
    identity = {"kind": "toy", "width": 3, "share": 0.5, "mode": "fast", "sizes": None}
    assert toy(width=3).identity() == identity | {"limit": None}


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (int, 1),
        (float, 0.5),
        (str, "a"),
        (bool, True),
        (list[int], [1, 2]),
        (list[list[float]], [[0.5]]),
        (Sequence[str], ["a"]),
        (dict[str, int], {"a": 1}),
        (int | str, "a"),
        (Literal["a", 3], 3),
        (list[Positive] | None, [4]),
    ],
)
def test_types_that_toml_can_give_become_keys(hint: Any, value: Any) -> None:
    made: Any = table_of(accepting(hint), ToyTable, kind="toy")
    assert made.model_validate({"kind": "toy", "value": value}).value == value


@pytest.mark.parametrize(
    ("hint", "name"),
    [
        (nn.Module, "Module"),
        (complex, "complex"),
        (tuple[int, int], "tuple"),
        (list[nn.Module], "list"),
        (dict[int, str], "dict"),
        (Any, "Any"),
        (bytes, "bytes"),
    ],
)
def test_types_that_toml_cannot_give_are_refused(hint: Any, name: str) -> None:
    assert refusal(accepting(hint)) == (
        f'"toy" takes value: {name}; a type that a TOML file can give: int, float, bool, str, '
        "Literal, or a list of these; make value in the constructor from such values"
    )


def test_positions_of_any_number_are_no_keys() -> None:
    class Greedy:
        def __init__(self, *sizes: int) -> None: ...

    assert refusal(Greedy) == (
        '"toy" takes *sizes; keyword arguments with types: they are the keys of its table; '
        "name them in the constructor of toy"
    )


@pytest.mark.parametrize("word", ["kind", "identity", "arguments"])
def test_an_argument_must_not_be_called_what_a_table_has_itself(word: str) -> None:
    space: dict[str, Any] = {}
    exec(f"class Own:\n    def __init__(self, *, {word}: int) -> None: ...", space)
    assert refusal(space["Own"]) == f'"toy" takes {word}; another word: this one is taken'


def test_keys_that_do_not_go_together_are_refused_by_the_part() -> None:
    class Picky(Toy):
        @classmethod
        def check_keys(cls, **keys: Any) -> None:
            if keys["width"] > (keys["limit"] or 9):
                raise ValueError("too wide; expected at most limit")

    made: Any = table_of(Picky, ToyTable, kind="toy")
    made.model_validate({"kind": "toy", "width": 3, "limit": 3})
    with pytest.raises(ValidationError, match="too wide; expected at most limit"):
        made.model_validate({"kind": "toy", "width": 4, "limit": 3})


def test_every_built_in_encoder_has_a_table_of_its_own() -> None:
    for kind, part in EncoderModule.kinds.items():
        keys = set(ENCODER_TABLES.table(kind, UNTRUSTED).model_fields)
        assert keys == arguments_of(part) - {"in_channels"} | EncoderTable.beside, kind


def test_every_built_in_objective_has_a_table_of_its_own() -> None:
    for kind, part in Objective.kinds.items():
        table = OBJECTIVE_TABLES.table(kind, UNTRUSTED)
        keys = set(table.model_fields)
        assert keys == arguments_of(part) - table.given | {"kind"}, kind


def test_the_table_of_a_kind_is_made_once() -> None:
    first = ENCODER_TABLES.table("conv1d", UNTRUSTED)
    assert ENCODER_TABLES.table("conv1d", TRUSTING) is first


def test_a_table_builds_its_module() -> None:
    table: Any = ENCODER_TABLES.table("conv1d", UNTRUSTED).model_validate(CONV)
    module = table.build(in_channels=3)
    assert (module.in_channels, module.out_channels, module.kernel) == (3, 8, 4)


def test_later_keys_are_left_out_of_identities_until_they_are_set() -> None:
    table: Any = ENCODER_TABLES.table("conv1d", UNTRUSTED)
    assert table.model_validate(CONV).identity() == CONV
    assert table.model_validate(CONV | {"update_every": 2}).identity()["update_every"] == 2


@pytest.mark.parametrize(
    ("kind", "found", "cure"),
    [
        (None, "missing", "add it: it says which keys the table has"),
        ("conv1e", '"conv1e"', "did you mean 'conv1d'?"),
        (3, "3", "choose from: gru, masked_conv2d, pixelcnn"),
        ("own:Context", '"own:Context"', "choose from: gru, masked_conv2d, pixelcnn"),
    ],
)
def test_a_kind_nobody_has_is_refused(kind: Any, found: str, cure: str) -> None:
    choice: Choice[Any] = ENCODER_TABLES if kind in (None, "conv1e") else CONTEXT_TABLES
    with pytest.raises(KindError) as error:
        choice.table(kind, TRUSTING)
    assert (error.value.found, error.value.expected, error.value.cure) == (found, "", cure)


def test_a_context_is_a_table_inside_an_objectives() -> None:
    own = {"num_negatives": 3, "prediction_steps": 2, "prediction_gap": 1, "projection": "target"}
    own |= {"negative_source": "batch", "exclude_positive": False, "probability_floor": 0.0}
    context = {"kind": "gru", "channels": 5, "bptt": False}
    table: Any = OBJECTIVE_TABLES.table("infonce", UNTRUSTED)
    read = table.model_validate({"kind": "infonce", "context": context} | own)
    assert [each.arguments() for each in read.contexts] == [{"channels": 5, "bptt": False}]
    assert read.identity()["context"] == context


def test_an_untrusted_table_keeps_its_keys_and_builds_nothing() -> None:
    table: Any = ENCODER_TABLES.table("own:Mine", UNTRUSTED).model_validate(
        {"kind": "own:Mine", "depth": 3}
    )
    assert table.identity() == {"kind": "own:Mine", "depth": 3}
    message = 'kind "own:Mine": not imported: that would run own from the import path; '
    with pytest.raises(Exception, match=f"^{re.escape(message)}"):
        table.build(in_channels=1)
