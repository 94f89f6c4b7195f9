"""Commands of gimstage, run in this process as a user would."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from gimstage.cli import main


def gimstage(*arguments: object) -> Result:
    """Run a command."""
    return CliRunner().invoke(main, [str(a) for a in arguments])


def document(*arguments: object) -> dict[str, Any]:
    """The JSON document a command prints."""
    result = gimstage(*arguments, "--json")
    assert result.stderr == ""
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def options(home: Path) -> list[object]:
    """Those that point at the small recipe of images in a home, and at its runs."""
    return ["--recipe", home / "tiny", "--runs", home / "runs"]
