"""Recipes that come along, and how one is found by its name."""

from pathlib import Path

import pytest

from gimstage.errors import RecipeError
from gimstage.recipe import shipped
from gimstage.recipe.recipe import Recipe
from gimstage.recipe.shipped import first_comment, recipe_folder, shipped_recipes

STAGES = Path(__file__).parents[2] / "stages"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_recipe_comes_along() -> None:
    assert shipped_recipes() == {path.name: path for path in sorted(STAGES.iterdir())}


def test_an_installed_package_has_them_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "gimstage" / "stages" / "one"
    inside.mkdir(parents=True)
    (inside / "data.toml").touch()
    monkeypatch.setattr(shipped, "_PACKAGE", tmp_path / "gimstage")
    assert shipped_recipes() == {"one": inside}


@pytest.mark.parametrize("named", ["demo", "stages/demo"])
@pytest.mark.usefixtures("elsewhere")
def test_a_name_finds_it_anywhere(named: str) -> None:
    assert recipe_folder(Path(named)) == STAGES / "demo"
    assert Recipe.load(named).name == "demo"


@pytest.mark.parametrize("own", ["demo", "stages/demo"])
def test_a_folder_of_ones_own_goes_first(elsewhere: Path, own: str) -> None:
    (elsewhere / own).mkdir(parents=True)
    assert recipe_folder(Path(own)) == Path(own)
    assert recipe_folder(Path("demo")) == Path(own)


@pytest.mark.usefixtures("elsewhere")
def test_a_path_is_never_taken_for_a_name() -> None:
    assert recipe_folder(Path("mine/demo")) == Path("mine/demo")


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    ("named", "cure"),
    [("dmo", "did you mean 'demo'?"), ("x/unheard", "see `gimstage recipes`")],
)
def test_a_name_that_is_none_gets_advice(named: str, cure: str) -> None:
    with pytest.raises(RecipeError) as raised:
        Recipe.load(named)
    expected = f"recipe {named}: no such folder; expected a folder of TOML files; {cure}"
    assert str(raised.value) == expected


def test_every_recipe_says_what_it_is() -> None:
    lines = {name: first_comment(folder) for name, folder in shipped_recipes().items()}
    assert all(lines.values())
    assert lines["stl10_small_cpc"] == (
        "CPC, the paper's table 1, small: the same encoder in one piece, one loss at its end."
    )
