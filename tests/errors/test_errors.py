"""Messages: where, what was found, what was expected, what to do, on one line."""

import pytest

from gimstage import errors
from gimstage.errors import BudgetError, GimstageError, either, nearest


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("key", "7"), "key: 7"),
        (("key", "7", "8"), "key: 7; expected 8"),
        (("key", "7", "", "mend it"), "key: 7; mend it"),
        (("key", "7", "8", "mend it"), "key: 7; expected 8; mend it"),
    ],
)
def test_a_message_leaves_out_what_goes_without_saying(
    parts: tuple[str, ...], message: str
) -> None:
    assert str(GimstageError(*parts)) == message


def test_the_parts_of_a_message_can_be_asked_for() -> None:
    error = GimstageError("key", "7", expected="8", cure="mend it")
    assert (error.where, error.found, error.expected, error.cure) == ("key", "7", "8", "mend it")


@pytest.mark.parametrize("name", [name for name in vars(errors) if name.endswith("Error")])
def test_every_error_is_one_that_the_command_line_renders(name: str) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, GimstageError)
    assert str(kind("key", "7", "8")) == "key: 7; expected 8"


def test_a_budget_error_knows_what_would_do() -> None:
    assert BudgetError("stage", "too much", smallest_bytes=5).smallest_bytes == 5
    assert BudgetError("stage", "too much").smallest_bytes is None


def test_the_nearest_word_is_advised() -> None:
    assert nearest("widht", ["width", "weight", "stride"]) == "did you mean 'width'?"


def test_where_no_word_is_near_all_are_listed_in_order() -> None:
    assert nearest("zzz", ["stride", "blocks"]) == "choose from: blocks, stride"


@pytest.mark.parametrize(
    ("names", "text"),
    [(["a"], '"a"'), (["a", "b"], '"a" or "b"'), (iter("abc"), '"a", "b" or "c"')],
)
def test_one_of_several_is_said_in_words(names: list[str], text: str) -> None:
    assert either(names) == text
