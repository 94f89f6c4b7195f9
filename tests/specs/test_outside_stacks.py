"""Stacks of parts from outside the package, loaded where those are no more what they were."""

import shutil
from pathlib import Path

import pytest
from helpers.homes import at

import gimstage
from gimstage.errors import StaleCacheError

EXAMPLE = Path(__file__).parents[2] / "examples/own_parts"


def test_a_trusted_module_that_no_longer_imports_is_named(tmp_path: Path) -> None:
    ignore = shutil.ignore_patterns("__pycache__")
    own = Path(shutil.copytree(EXAMPLE, tmp_path / "own_parts", ignore=ignore)) / "own.py"
    at(tmp_path).train_stage(1)
    own.write_text("1 / 0\n")
    with pytest.raises(StaleCacheError) as error:
        gimstage.load(tmp_path / "runs/own_parts/1", trust=True)
    assert str(error.value) == (
        'stage own_parts/1: kind "own:Conv2d", whose module fails on import: ZeroDivisionError: '
        f"division by zero; expected a module that can be imported; run `python {own}` to see where"
    )
