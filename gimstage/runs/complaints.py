"""What is wrong with a table read from a manifest, in a few words of its keys."""

import json
import re
from typing import Any

from pydantic import ValidationError

from gimstage.specs.base import KindError

_EXPECTED = {"model_type": "a table", "dict_type": "a table", "list_type": "a list"}


def outside_complaint(error: ValueError) -> KindError | None:
    """What is wrong with the first part from outside the package; None where none is."""
    complaints = error.errors(include_url=False) if isinstance(error, ValidationError) else []
    for each in complaints:
        reason = each.get("ctx", {}).get("error")
        if isinstance(reason, KindError) and re.match(r'"[^"]*:', reason.found):
            return reason
    return None


def complaint(error: ValidationError) -> str:
    """All keys that lack; where none does, the first that holds something else than it should."""
    complaints = error.errors(include_url=False)
    lacking = sorted(_key(each["loc"]) for each in complaints if each["type"] == "missing")
    if lacking:
        return f"no {', '.join(lacking)} inside"
    first = complaints[0]
    reason = first.get("ctx", {}).get("error")
    if isinstance(reason, KindError):
        return f"{_key(first['loc'])}.kind is {reason.found}"
    if first["type"] == "value_error":
        return f"{_key(first['loc'])}: {reason}"
    if first["type"] == "extra_forbidden":
        return f"{_key(first['loc'])} is {_shown(first['input'])}, which is no key here"
    expected = _EXPECTED.get(first["type"], first["msg"].removeprefix("Input should be "))
    return f"{_key(first['loc'])} is {_shown(first['input'])} instead of {expected}"


def _key(place: tuple[int | str, ...]) -> str:
    return ".".join(map(str, place))


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 40 else f"{text[:39]}…"
