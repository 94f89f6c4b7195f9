"""Fingerprints: what changes them, and in what two identities are said to differ."""

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gimstage.recipe.identity import differences, fingerprint, seedless

KEYS = st.sampled_from(["seed", "kernel", "stride", "kind", "train"])
LEAVES = st.integers(0, 3) | st.sampled_from(["a", "b"]) | st.lists(st.integers(0, 2), max_size=2)
TREES = st.recursive(
    st.dictionaries(KEYS, LEAVES, max_size=3),
    lambda trees: st.dictionaries(KEYS, LEAVES | trees, max_size=3),
    max_leaves=6,
)


def shuffled(tree: Any) -> Any:
    """The same tree with its keys the other way round."""
    if not isinstance(tree, dict):
        return tree
    return {key: shuffled(tree[key]) for key in reversed(tree)}


@given(tree=TREES)
def test_the_order_of_keys_is_of_no_account(tree: dict[str, Any]) -> None:
    assert fingerprint(shuffled(tree)) == fingerprint(tree)


@given(one=TREES, other=TREES)
def test_equal_trees_and_no_others_have_one_fingerprint(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert (fingerprint(one) == fingerprint(other)) == (one == other)


def test_a_fingerprint_is_the_sha256_of_its_shortest_json() -> None:
    text = b'{"a":"x","b":[1,2]}'
    assert fingerprint({"b": [1, 2], "a": "x"}) == hashlib.sha256(text).hexdigest()


def test_a_tuple_counts_as_the_list_it_is_written_as() -> None:
    assert fingerprint({"a": (1, 2)}) == fingerprint({"a": [1, 2]})
    assert differences({"a": (1, 2)}, {"a": [1, 2]}) == []


@given(tree=TREES)
def test_without_seeds_no_key_is_a_seed_and_all_others_stay(tree: dict[str, Any]) -> None:
    def keys(node: Any) -> list[str]:
        inner = node.items() if isinstance(node, dict) else ()
        return [k for key, value in inner if key != "seed" for k in (key, *keys(value))]

    assert keys(seedless(tree)) == keys(tree)
    assert "'seed'" not in str(seedless(tree))


def test_seeds_within_lists_go_too() -> None:
    tree = {"stages": [{"seed": 1, "kernel": 3}, ({"seed": 2},)]}
    assert seedless(tree) == {"stages": [{"kernel": 3}, [{}]]}


def test_a_key_without_a_value_is_as_one_that_is_absent() -> None:
    old, new = {"data": {"source": "images"}}, {"data": {"source": "array", "table": None}}
    assert differences(old, new) == ['data.source: "images" → "array"']


@given(tree=TREES)
def test_an_identity_differs_in_nothing_from_itself(tree: dict[str, Any]) -> None:
    assert differences(tree, shuffled(tree)) == []


@given(one=TREES, other=TREES)
def test_the_differences_one_way_are_those_the_other_way_turned_round(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    def turned(line: str) -> str:
        key, _, values = line.partition(": ")
        return f"{key}: {' → '.join(reversed(values.split(' → ')))}"

    back = differences(other, one)
    assert sorted(map(turned, differences(one, other))) == sorted(back)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "a.b: 1 → 2"),
        ({"a": {}}, {"a": {"b": True}}, "a.b: absent → true"),
        ({"a": {"b": "ü"}}, {"a": {}}, 'a.b: "ü" → absent'),
        ({"a": [1, 2]}, {"a": [1, 3]}, "a: [1, 2] → [1, 3]"),
        ({"sha": "ab" * 32}, {"sha": "cd" * 32}, "sha: abababababab → cdcdcdcdcdcd"),
    ],
)
def test_a_difference_is_a_line_of_key_old_and_new(
    old: dict[str, Any], new: dict[str, Any], line: str
) -> None:
    assert differences(old, new) == [line]
