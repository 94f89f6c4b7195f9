"""What decides a result's numbers, its fingerprint, and in what two of them differ.

Everything that decides a stage's numbers is its *identity*, a plain dictionary; the identity's
SHA-256 is its *fingerprint*. This file imports nothing of gimstage but files.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from gimstage.files import document_sha256

Identity = dict[str, Any]
UNKNOWN = "not known"  # the digest of data that is not there; equals none


def seedless(tree: Any) -> Any:
    """A tree without its seeds: they change numbers, not what these take to compute."""
    if isinstance(tree, list | tuple):
        return [seedless(value) for value in tree]
    if not isinstance(tree, Mapping):
        return tree
    return {key: seedless(value) for key, value in tree.items() if key != "seed"}


def fingerprint(identity: Mapping[str, Any]) -> str:
    """SHA-256 of an identity, as 64 hexadecimal digits."""
    return document_sha256(identity)


def known_fingerprint(identity: Mapping[str, Any]) -> str:
    """The fingerprint of an identity; empty where a value of it is UNKNOWN."""
    unknown = any(value == UNKNOWN for _, value in _leaves(identity))
    return "" if unknown else fingerprint(identity)


def supplemented(identity: Mapping[str, Any], recorded: Mapping[str, Any]) -> Identity:
    """An identity with the values of a recorded one in place of those that are UNKNOWN."""

    def value(key: str) -> Any:
        own, other = identity[key], recorded.get(key)
        if isinstance(own, Mapping):
            return supplemented(own, other if isinstance(other, Mapping) else {})
        return other if own == UNKNOWN else own

    return {key: value(key) for key in identity}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """One line for every key in which two identities differ: `key: old → new`.

    A key without a value, null, is as one that is not there: both say "absent".
    """
    before, after = dict(_leaves(old)), dict(_leaves(new))
    return [
        f"{key}: {_show(before.get(key))} → {_show(after.get(key))}"
        for key in dict.fromkeys([*after, *before])
        if before.get(key) != after.get(key)
    ]


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
