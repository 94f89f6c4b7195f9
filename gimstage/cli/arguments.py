"""What an option may hold, beyond what click knows: no empty words, no number that is none.

An empty word is what the shell makes of a variable that nobody has set: `--max-disk "$LIMIT"`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

NOT_SET = "expected a value; is a variable of the shell not set?"


class Place(click.Path):
    """A path, as a Path; "" does not mean the current folder."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path of a text; usage error for an empty one."""
        if value == "":
            self.fail(f"''; {NOT_SET}", param, ctx)
        return super().convert(value, param, ctx)


class Word(click.types.StringParamType):
    """A text that says something."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The text; usage error for an empty one."""
        if value == "":
            self.fail(f"''; {NOT_SET}", param, ctx)
        return super().convert(value, param, ctx)


class Real(click.FloatRange):
    """A number in a range, in which "nan" is not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number of a text; usage error for one outside of the range."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return number
