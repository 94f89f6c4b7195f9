"""An identity and its key give the chain back, without the recipe."""

from pathlib import Path
from typing import Any

import pytest

from gimstage.errors import RecipeError
from gimstage.recipe.chain import Chain
from gimstage.recipe.recipe import Recipe
from gimstage.recipe.restored import restored_chain

ROOT = Path(__file__).parents[2]
SHA = "0" * 64
TINY = ROOT / "tests/recipes/tiny"
FOLDERS = sorted([*(ROOT / "stages").iterdir(), *(ROOT / "tests/recipes").iterdir()])


def chains(folder: Path) -> list[Chain]:
    recipe = Recipe.load(folder)
    return [recipe.chain(number) for number in recipe.stages]


def there_and_back(chain: Chain) -> Chain:
    return restored_chain(chain.features_identity(SHA), chain.last.key)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_restored_chain_has_the_identity_it_was_made_from(folder: Path) -> None:
    for chain in chains(folder):
        told, again = (c.features_identity(SHA) for c in (chain, there_and_back(chain)))
        told["data"] = {k: v for k, v in told["data"].items() if k != "validation"}
        assert again == told | {"data": told["data"] | {"source": chain.data.layout}}


def test_a_restored_chain_has_the_shapes_and_positions_it_had() -> None:
    for chain in [*chains(TINY), *chains(ROOT / "stages/librispeech_small_cpc")]:
        again = there_and_back(chain)
        assert again.shapes() == chain.shapes()
        assert again.first_position == chain.first_position
        assert again.last.module_keys == chain.last.module_keys


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stage 1": None}, "identity without stages"),
        (
            {"data": {"source": "stl100"}},
            "identity with data.source = \"stl100\"; did you mean 'stl10'?",
        ),
    ],
)
def test_what_no_chain_is_made_from_is_named(changes: dict[str, Any], message: str) -> None:
    identity = chains(TINY)[1].features_identity(SHA) | changes
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # compared whole
        restored_chain(identity, "tiny/2")
    assert str(caught.value) == message


def test_parts_from_outside_are_named_without_being_imported() -> None:
    identity = chains(TINY)[0].features_identity(SHA)
    identity["stage 1"]["module"] = {"kind": "nowhere:Net", "size": 3}
    chain = restored_chain(identity, "tiny/1")
    assert [part.kind for part in chain.last.spec.parts] == ["nowhere:Net"]
    with pytest.raises(RecipeError) as caught:
        chain.modules()
    assert str(caught.value) == (
        'kind "nowhere:Net": not imported: that would run nowhere from the import path; expected '
        "your word that you trust it; give trust=True to import Net from there"
    )
