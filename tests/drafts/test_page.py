"""TOML with reasons: what is written is what was meant, and every reason stands by its number."""

import tomllib
from pathlib import Path

import pytest

from gimstage.drafts.page import WIDTH, Page, literal

STAGES = Path(__file__).parents[2] / "stages"


@pytest.mark.parametrize("path", sorted(STAGES.rglob("*.toml")), ids=lambda p: str(p))
def test_every_recipe_is_the_same_after_it_is_written_again(path: Path) -> None:
    table = tomllib.loads(path.read_text())
    assert tomllib.loads(Page("Written again.", table).text()) == table


def test_reasons_stand_beside_their_numbers_in_a_column() -> None:
    page = Page("Of it.", {"source": "images", "views": {"crop_px": 64}})
    page.set("views.patch_px", 16, "a quarter of the crop")
    page.set("views.flip", True, "nothing here is left-handed")
    page.reasons["views"] = "What is looked at."
    assert page.text() == (
        '# Of it.\nsource = "images"\n\n# What is looked at.\n[views]\ncrop_px = 64\n'
        "patch_px = 16  # a quarter of the crop\nflip = true    # nothing here is left-handed\n"
    )


def test_a_long_reason_stands_above_its_number() -> None:
    page = Page("Of it.", {"size": 1}, {"size": "x" * WIDTH})
    assert page.text() == f"# Of it.\n# {'x' * WIDTH}\nsize = 1\n"


def test_a_key_without_a_reason_gets_what_is_said_of_its_key() -> None:
    page = Page("Of it.", {"a": 1, "b": {"c": 2}}, {"a": "own"})
    assert page.text(lambda place: f"<{place}>") == (
        "# Of it.\na = 1  # own\n\n[b]\nc = 2  # <b.c>\n"
    )


@pytest.mark.parametrize(
    ("value", "written"),
    [(1e-3, "0.001"), (2e-11, "2e-11"), (3.0, "3.0"), (1e30, "1e+30"), (True, "true")],
)
def test_numbers_are_written_as_toml_reads_them(value: object, written: str) -> None:
    assert literal(value) == written
    assert tomllib.loads(f"x = {written}")["x"] == value
