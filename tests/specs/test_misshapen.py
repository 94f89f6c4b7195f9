"""A value where a table should be, and the other way round: said with its TOML words."""

import shutil
from pathlib import Path

import pytest
from helpers.homes import RECIPES

from gimstage.errors import RecipeError
from gimstage.recipe.recipe import Recipe

SEVERAL = "[[modules]], once for each module; or [module] for one"


@pytest.mark.parametrize(
    ("table", "written", "message"),
    [
        ("module", "module = 3", "module: 3; expected a table, [module]"),
        ("module", "modules = 3", f"modules: 3; expected {SEVERAL}"),
        ("module", "modules = [3, 4]", "modules 1: 3; expected a table, [modules 1]"),
        ("objective", "objective = [{}]", "objective: [{}]; expected a table, [objective]"),
        ("train", 'train = "fast"', 'train: "fast"; expected a table, [train]'),
    ],
)
def test_a_value_where_a_table_should_be(
    tmp_path: Path, table: str, written: str, message: str
) -> None:
    folder = Path(shutil.copytree(RECIPES / "tiny", tmp_path / "tiny"))
    stage = folder / "1_first.toml"
    before, _, after = stage.read_text().partition(f"[{table}]\n")
    stage.write_text(f"{written}\n{before}{after[after.index('[') :]}")
    with pytest.raises(RecipeError) as error:
        Recipe.load(folder)
    assert str(error.value) == f"{stage} {message}"


def test_a_number_that_is_no_decimal_names_no_stage(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(RECIPES / "tiny", tmp_path / "tiny"))
    stage = folder / "2_second.toml"
    stage.write_text(stage.read_text().replace("input = 1", 'input = "²"'))
    with pytest.raises(RecipeError) as error:
        Recipe.load(folder)
    assert str(error.value) == (
        f'{stage} input: "²"; expected "data", the number of a stage, "RECIPE/data" or '
        '"RECIPE/NUMBER"'
    )


def test_a_value_where_a_table_inside_another_should_be(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(RECIPES / "tiny", tmp_path / "tiny"))
    stage = folder / "1_first.toml"
    stage.write_text(stage.read_text().replace("[objective]", "[objective]\ncontext = 1"))
    with pytest.raises(RecipeError) as error:
        Recipe.load(folder)
    assert str(error.value) == (
        f"{stage} [objective] context: 1; expected a table, [objective.context]"
    )
