"""Recipes: what is read, what is refused, and what makes a fingerprint."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.homes import RECIPES, STAGES

from gimstage.errors import RecipeError
from gimstage.recipe.identity import differences, fingerprint
from gimstage.recipe.recipe import Recipe

TINY = RECIPES / "tiny"
Edit = Callable[[str, str, str], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the tiny recipe."""
    return Path(shutil.copytree(TINY, tmp_path / "tiny"))


@pytest.fixture
def edit(folder: Path) -> Edit:
    """Replace a text, which must be there, in a file of the copy."""

    def replace(name: str, old: str, new: str) -> None:
        path = next(folder.glob(name))
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return replace


def refusal(folder: Path) -> str:
    """The message with which the recipe is refused, its folder's path left out."""
    with pytest.raises(RecipeError) as error:
        Recipe.load(folder)
    return str(error.value).replace(f"{folder}/", "")


@pytest.mark.parametrize("path", sorted(STAGES.iterdir()), ids=lambda p: p.name)
def test_every_recipe_that_ships_loads(path: Path) -> None:
    recipe = Recipe.load(path)
    assert all(recipe.chain(number).shapes() for number in recipe.stages)


def test_the_paper_recipe_has_the_papers_shapes() -> None:
    shapes = Recipe.load(STAGES / "stl10").chain(3).shapes()
    assert shapes == [(1, 16, 16), (256, 16, 16), (512, 8, 8), (1024, 4, 4)]


def test_a_basic_block_is_one_key_away(edit: Edit, folder: Path) -> None:
    edit("1_*.toml", '"bottleneck"', '"basic"')
    assert Recipe.load(folder).chain(1).shapes()[-1] == (2, 8, 8)


def test_an_unknown_key_is_refused_with_the_nearest_known_one(edit: Edit, folder: Path) -> None:
    edit("2_*.toml", "learning_rate", "learnin_rate")
    assert refusal(folder) == (
        "2_second.toml [train] learnin_rate: unknown key; did you mean 'learning_rate'?"
    )


def test_an_unknown_table_is_refused(edit: Edit, folder: Path) -> None:
    edit("2_*.toml", "[output]", "[outptu]")
    assert refusal(folder) == "2_second.toml [outptu]: unknown key; did you mean 'output'?"


def test_a_missing_key_is_named(edit: Edit, folder: Path) -> None:
    edit("1_*.toml", "num_negatives = 4\n", "")
    assert refusal(folder) == (
        "1_first.toml [objective] num_negatives: missing; add it: nothing that changes a "
        "number has a default"
    )


def test_a_mistyped_value_is_shown(edit: Edit, folder: Path) -> None:
    edit("1_*.toml", "batch_size = 8", 'batch_size = "8"')
    assert refusal(folder) == '1_first.toml [train] batch_size: "8"; expected a valid integer'


def test_a_value_out_of_range_is_shown(edit: Edit, folder: Path) -> None:
    edit("1_*.toml", "width = 2", "width = 0")
    assert refusal(folder) == "1_first.toml [module] width: 0; expected greater than 0"


@pytest.mark.parametrize(
    ("new", "found"),
    [("", "neither epochs nor steps"), ("steps = 1\nepochs = 2", "both epochs and steps")],
)
def test_epochs_and_steps_are_one_or_the_other(
    edit: Edit, folder: Path, new: str, found: str
) -> None:
    edit("1_*.toml", "steps = 12", new)
    assert refusal(folder) == f"1_first.toml [train]: {found}; expected exactly one of them"


def test_broken_toml_is_refused_with_its_line(edit: Edit, folder: Path) -> None:
    edit("1_*.toml", "[module]", "[module")
    assert refusal(folder).startswith("1_first.toml: not valid TOML: ")


def test_an_input_that_does_not_exist_is_refused(edit: Edit, folder: Path) -> None:
    edit("3_*.toml", "input = 2", "input = 7")
    assert refusal(folder) == (
        "3_third.toml input: stage 7 does not exist; expected a stage of tiny: 1, 2, 3"
    )


def test_inputs_in_a_circle_are_refused(edit: Edit, folder: Path) -> None:
    edit("2_*.toml", "input = 1", "input = 3")
    assert refusal(folder) == (
        "2_second.toml input: the inputs form a circle: tiny/2 → tiny/3 → tiny/2; "
        "expected a way to the data"
    )


def test_an_input_with_dots_is_refused(edit: Edit, folder: Path) -> None:
    edit("2_*.toml", "input = 1", 'input = "../tiny/1"')
    assert refusal(folder) == (
        '2_second.toml input: "../tiny/1"; expected "data", the number of a stage, '
        '"RECIPE/data" or "RECIPE/NUMBER"'
    )


def test_a_recipe_called_dot_dot_is_refused(folder: Path) -> None:
    with pytest.raises(RecipeError) as error:
        Recipe.load(folder / "..")
    assert "'..' cannot name a folder of runs" in str(error.value)


def test_a_recipe_that_does_not_exist_names_its_neighbour(folder: Path) -> None:
    with pytest.raises(RecipeError) as error:
        Recipe.load(folder.with_name("tinny"))
    assert str(error.value) == (
        f"recipe {folder.with_name('tinny')}: no such folder; expected a folder of TOML files; "
        "did you mean 'tiny'?"
    )


def test_a_stage_that_does_not_exist_is_refused() -> None:
    with pytest.raises(RecipeError) as error:
        Recipe.load(TINY).chain(7)
    assert (
        str(error.value) == "recipe tiny: stage 7 does not exist; expected a stage of tiny: 1, 2, 3"
    )


def test_a_second_file_of_one_number_is_refused(folder: Path) -> None:
    shutil.copy(folder / "3_third.toml", folder / "3_other.toml")
    assert refusal(folder).endswith("a second stage 3; expected one file per number")


def test_rectified_features_for_a_module_that_reads_negatives_are_refused(
    edit: Edit, folder: Path
) -> None:
    edit("3_*.toml", "stride = 2", "stride = 1")
    assert refusal(folder) == (
        "stage tiny/2 [output] relu: true, but stage tiny/3 also reads negative values; expected "
        "false; set relu = false in stage 2, or give stage 3 a stride of 2 or another width"
    )


def test_a_crop_too_small_to_predict_in_is_refused(edit: Edit, folder: Path) -> None:
    edit("data.toml", "crop_px = 56", "crop_px = 48")
    assert refusal(folder) == (
        "stage tiny/1 [objective]: prediction_steps = 4 with prediction_gap = 1 on crops of 5 × 5 "
        "patches; expected at least 6 patches a side, in [views] and window; enlarge crop_px, or "
        "predict fewer steps"
    )


def test_excluding_the_positive_from_a_source_that_cannot_is_refused(
    edit: Edit, folder: Path
) -> None:
    edit("1_*.toml", "exclude_positive = false", "exclude_positive = true")
    edit("1_*.toml", 'negative_source = "targets"', 'negative_source = "batch"')
    assert refusal(folder) == (
        '1_first.toml [objective]: exclude_positive = true with negative_source = "batch"; '
        'expected "targets", the only source that can leave one out'
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("0", "0; expected greater than 0"),
        ("2.5", "2.5; expected a valid integer"),
        (
            "57",
            "a square of 57 px cannot be cut out of a crop of 56 px; expected 1 to 56; choose "
            "another size, or leave the key out to cut out nothing",
        ),
    ],
)
def test_a_cutout_that_fits_no_crop_is_refused(
    edit: Edit, folder: Path, value: str, message: str
) -> None:
    edit("data.toml", "crop_px = 56", f"crop_px = 56\ncutout_px = {value}")
    assert refusal(folder) == f"data.toml [views] cutout_px: {message}"


def test_a_cutout_as_large_as_the_crop_is_a_recipe(edit: Edit, folder: Path) -> None:
    edit("data.toml", "crop_px = 56", "crop_px = 56\ncutout_px = 56")
    assert Recipe.load(folder).data.live_views().cutout_px == 56


HIDDEN = """
[hidden]
hidden_channels = 8
dropout = 0.1
learning_rate = 1e-4
batch_size = 8
epochs = 3
decay_factor = 0.1
decay_epochs = [1, 2]
views = 1
seed = 2
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "dropout = 0.1\n",
            "",
            " dropout: missing; add it: nothing that changes a number has a default",
        ),
        ("dropout = 0.1", "dropout = 1.0", " dropout: 1.0; expected less than 1"),
        ("batch_size = 8", "batch_size = 1", " batch_size: 1; expected greater than or equal to 2"),
        ("decay_factor = 0.1", "decay_factor = 1.0", " decay_factor: 1.0; expected less than 1"),
        ("[1, 2]", "[0]", " decay_epochs: 0; expected greater than 0"),
        (
            "[1, 2]",
            "[2, 1]",
            ": decay_epochs = [2, 1] of epochs = 3; expected rising numbers below epochs, or none",
        ),
        (
            "[1, 2]",
            "[1, 3]",
            ": decay_epochs = [1, 3] of epochs = 3; expected rising numbers below epochs, or none",
        ),
    ],
)
def test_a_hidden_protocol_that_cannot_be_is_refused(
    edit: Edit, folder: Path, old: str, new: str, message: str
) -> None:
    edit("probe.toml", "\n[converged]", HIDDEN + "\n[converged]")
    assert Recipe.load(folder).probe("probe").hidden
    edit("probe.toml", HIDDEN, HIDDEN.replace(old, new))
    assert refusal(folder) == f"probe.toml [hidden]{message}"


def test_speakers_are_not_told_by_a_hidden_layer(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(TINY.with_name("tiny_audio"), tmp_path / "tiny_audio"))
    probe = folder / "probe_speaker.toml"
    probe.write_text(probe.read_text() + HIDDEN)
    assert refusal(folder) == (
        "probe_speaker.toml [hidden]: unknown key; choose from: converged, inputs, mfcc, own, "
        "paper, task, test_split, train_split, weights"
    )


@pytest.mark.parametrize(
    ("recipe", "name", "tables"),
    [
        ("tiny", "probe", "[paper], [converged], [hidden]"),
        ("tiny_audio", "probe_phone", "[paper], [converged]"),
    ],
)
def test_a_probe_without_a_protocol_is_refused(
    tmp_path: Path, recipe: str, name: str, tables: str
) -> None:
    folder = Path(shutil.copytree(TINY.with_name(recipe), tmp_path / recipe))
    probe = folder / f"{name}.toml"
    probe.write_text(re.sub(r"\[(paper|converged)\]\n(.+\n)+", "", probe.read_text()))
    assert refusal(folder) == (f"{name}.toml: no protocol; expected at least one table of {tables}")


def test_other_data_than_the_stages_below_were_trained_on_is_refused(folder: Path) -> None:
    other = folder.with_name("other")
    other.mkdir()
    stage = (folder / "3_third.toml").read_text().replace("input = 2", 'input = "tiny/2"')
    (other / "3_mine.toml").write_text(stage)
    data = (folder / "data.toml").read_text().replace("crop_px = 56", "crop_px = 64")
    (other / "data.toml").write_text(data)
    assert refusal(other) == (
        "data.toml: not the data stage 3 is built on; expected the data.toml of tiny/1; "
        "remove this data.toml; the recipe then uses that one"
    )


def test_stages_of_one_number_in_two_recipes_are_told_apart(folder: Path) -> None:
    other = folder.with_name("other")
    other.mkdir()
    stage = (folder / "3_third.toml").read_text().replace("input = 2", 'input = "tiny/2"')
    (other / "2_mine.toml").write_text(stage)
    identity = Recipe.load(other).chain(2).weights_identity("data")
    assert [key for key in identity if key.startswith("stage")] == ["stage 1", "stage 2", "stage 3"]


@pytest.mark.parametrize(
    ("found", "cure"),
    [('"float64"', "; did you mean 'float16'?"), ("16", ""), ('["float16"]', "")],
)
def test_what_is_no_encoding_is_refused(edit: Edit, folder: Path, found: str, cure: str) -> None:
    edit("1_*.toml", 'encoding = "float16"', f"encoding = {found}")
    assert refusal(folder) == (
        f"1_first.toml [output] encoding: {found}; "
        f"expected 'float16', 'float16_zstd', 'round5', 'uint8' or 'float32'{cure}"
    )


def test_uint8_cannot_be_recomputed(edit: Edit, folder: Path) -> None:
    edit(
        "1_*.toml", 'store = "features"\nencoding = "float16"', 'store = "none"\nencoding = "uint8"'
    )
    assert refusal(folder) == (
        '1_first.toml [output]: encoding = "uint8" with store = "none"; expected another encoding: '
        "its ranges lie with the features"
    )


def test_a_seed_runs_beside_and_leaves_the_data_alone() -> None:
    recipe = Recipe.load(TINY, seed=7)
    chain = recipe.chain(3)
    assert recipe.name == "tiny@7"
    assert {stage.spec.train.seed for stage in chain.stages} == {7}
    assert chain.data.demo == Recipe.load(TINY).data.demo
    assert chain.data.stored_views.seed == 7


def test_a_stage_may_build_on_another_recipe(folder: Path) -> None:
    other = folder.with_name("other")
    other.mkdir()
    text = (folder / "3_third.toml").read_text().replace("input = 2", 'input = "tiny/2"')
    (other / "3_mine.toml").write_text(text)
    keys = [stage.key for stage in Recipe.load(other).chain(3).stages]
    assert keys == ["tiny/1", "tiny/2", "other/3"]


def test_where_features_lie_does_not_change_the_fingerprint(edit: Edit, folder: Path) -> None:
    before = Recipe.load(folder).chain(3).weights_identity("data")
    edit("2_*.toml", 'store = "features"', 'store = "none"')
    edit("2_*.toml", "codes = true", "codes = false")
    assert Recipe.load(folder).chain(3).weights_identity("data") == before


def test_the_encoding_changes_what_comes_after_but_not_the_stage_itself(
    edit: Edit, folder: Path
) -> None:
    before = Recipe.load(folder)
    edit("1_*.toml", '"float16"', '"round5"')
    after = Recipe.load(folder)
    own = [recipe.chain(1).weights_identity("data") for recipe in (before, after)]
    following = [recipe.chain(2).weights_identity("data") for recipe in (before, after)]
    assert own[0] == own[1]
    assert differences(*following) == ['stage 1.output.encoding: "float16" → "round5"']


def test_differences_name_key_old_and_new_value(edit: Edit, folder: Path) -> None:
    before = Recipe.load(folder).chain(3).features_identity("data")
    edit("data.toml", "crop_px = 56", "crop_px = 64")
    after = Recipe.load(folder).chain(3).features_identity("data")
    assert differences(before, after) == ["data.views.crop_px: 56 → 64"]
    assert fingerprint(before) != fingerprint(after)
