"""What an option may hold, beyond what click knows: no empty words, no number that is none.

Nor is there an option that says nothing beside the others: it is refused, not ignored.

An empty word is what the shell makes of a variable that nobody has set: `--max-disk "$LIMIT"`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from gimstage.files import is_url

NOT_SET = "expected a value; is a variable of the shell not set?"


class Place(click.Path):
    """A path on this machine, as a Path; "" does not mean the current folder."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path of a text; usage error for an empty one, and for a URL."""
        if value == "":
            self.fail(f"''; {NOT_SET}", param, ctx)
        if is_url(value):
            self.fail(f"{value}: a URL; expected a place on this machine", param, ctx)
        return super().convert(value, param, ctx)


class Word(click.types.StringParamType):
    """A text that says something."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The text; usage error for an empty one."""
        if value == "":
            self.fail(f"''; {NOT_SET}", param, ctx)
        return super().convert(value, param, ctx)


class Companion(click.Option):
    """An option that says something only beside another one, or only where that is not given."""

    def __init__(self, *names: Any, needs: str = "", excludes: str = "", **settings: Any) -> None:
        """Take the name of that other option, as the command's function calls it."""
        super().__init__(*names, **settings)
        self.needs, self.excludes = needs, excludes

    def handle_parse_result(
        self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]
    ) -> tuple[Any, list[str]]:
        """The value; usage error where it would be ignored."""
        result = super().handle_parse_result(ctx, opts, args)
        if self.name in opts and self.needs and self.needs not in opts:
            raise click.UsageError(f"{self.opts[0]} says nothing without {_flag(self.needs)}", ctx)
        if self.name in opts and self.excludes in opts:
            raise click.UsageError(f"{self.opts[0]} says nothing with {_flag(self.excludes)}", ctx)
        return result


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def given(name: str) -> bool:
    """Whether the command line has an option, as the command's function calls it."""
    source = click.get_current_context().get_parameter_source(name)
    return source is ParameterSource.COMMANDLINE


class Real(click.FloatRange):
    """A number in a range, in which "nan" is not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number of a text; usage error for one outside of the range."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return number
