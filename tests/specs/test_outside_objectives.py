"""Losses from outside the package: tried once on tensors without numbers, before anything runs."""

import shutil
from pathlib import Path

import pytest

from gimstage.errors import RecipeError
from gimstage.recipe.recipe import Recipe

EXAMPLE = Path(__file__).parents[2] / "examples/own_parts"
RESULT = "gimstage.Result(loss, loss.detach()[None], on.detach().mean().clamp(0, 1))"
CLASS = "class BarlowTwins(gimstage.Objective):\n"
A_RESULT = "expected a gimstage.Result of a scalar loss, losses (K,) of steps and a scalar accuracy"
ON_META = (
    "expected a loss that runs on torch's meta device; see that it asks no tensor for its values"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the example."""
    ignore = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(EXAMPLE, tmp_path / "own_parts", ignore=ignore))


def refusal(folder: Path, old: str, new: str) -> str:
    """The message with which the example is refused once a text of its parts is replaced."""
    own = folder / "own.py"
    assert old in own.read_text()
    own.write_text(own.read_text().replace(old, new))
    with pytest.raises(RecipeError) as error:
        Recipe.load(folder)
    return str(error.value).replace(f"{folder}/", "")


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("loss", "which returns Tensor"),
        ("None", "which returns NoneType"),
        (RESULT.replace("(loss,", "(1.0,"), "whose loss is a float"),
        (RESULT.replace("(loss,", "(loss[None],"), "whose loss is of shape (1,)"),
        (RESULT.replace("()[None]", "()"), "whose loss_per_step is of shape ()"),
        (RESULT.replace(".mean()", ""), "whose accuracy is of shape (16,)"),
    ],
)
def test_a_loss_that_returns_no_result_is_refused(
    folder: Path, returned: str, message: str
) -> None:
    expected = f'stage own_parts/1 [objective] kind: "own:BarlowTwins", {message}; {A_RESULT}'
    assert refusal(folder, RESULT, returned) == expected


def test_a_loss_without_gradient_is_refused(folder: Path) -> None:
    assert refusal(folder, "Result(loss,", "Result(loss.detach(),") == (
        'stage own_parts/1 [objective] kind: "own:BarlowTwins", which returns a loss without '
        "gradient; expected one that follows from the codes or contexts"
    )


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("        return gimstage.Result(", '        raise KeyError("no")\n        (', "'no'"),
        ("        return int(", '        raise KeyError("drawn")\n        (', "'drawn'"),
        (
            CLASS,
            f'{CLASS}    def multiply_adds(self, shape):\n        raise KeyError("cost")\n',
            "'cost'",
        ),
        (
            CLASS,
            f'{CLASS}    def too_short(self, length):\n        raise KeyError("short")\n',
            "'short'",
        ),
    ],
)
def test_a_loss_that_fails_when_it_runs_is_refused(
    folder: Path, old: str, new: str, error: str
) -> None:
    assert refusal(folder, old, new) == (
        'stage own_parts/1 [objective] kind: "own:BarlowTwins" fails on codes 2 × 6 × 6 × 8: '
        f"KeyError: {error}; {ON_META}"
    )


@pytest.mark.parametrize("error", ['ValueError("no")', "SystemExit(3)"])
def test_a_loss_that_cannot_be_made_is_refused(folder: Path, error: str) -> None:
    said = error.replace('("', ": ").replace("(", ": ").rstrip('")')
    assert refusal(folder, "self.redundancy = redundancy", f"raise {error}") == (
        f'stage own_parts/1 [objective] kind: "own:BarlowTwins" cannot be made: {said}; '
        "expected a constructor that takes what its module gives and the table's keys"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            'label_kind = "pixel"',
            'with label_kind = \'pixel\'; expected "sample" or "frame" on the class',
        ),
        (
            "code_layouts = 3",
            'with code_layouts = 3; expected "positions", "local and global", "map" or "none" '
            "on the class",
        ),
        (
            "check_keys = labels_for = classmethod(lambda part, **keys: keys['no'])",
            "fails at check_keys: KeyError: 'no'",
        ),
    ],
)
def test_a_class_that_says_nothing_known_is_refused(folder: Path, line: str, message: str) -> None:
    expected = f'1_edges.toml [objective] kind: "own:BarlowTwins" {message}'
    assert refusal(folder, CLASS, f"{CLASS}    {line}\n") == expected


def test_a_key_named_like_a_fact_of_tables_is_refused(folder: Path) -> None:
    assert refusal(folder, "redundancy: float)", "redundancy: float, part: int = 3)") == (
        '1_edges.toml [objective] kind: "own:BarlowTwins" takes part; expected another word: this '
        "one is taken"
    )


def test_a_loss_is_tried_on_speech_too(folder: Path) -> None:
    speech = folder / "speech"
    shutil.copytree(Path(__file__).parents[1] / "recipes/tiny_audio", speech)
    for path in speech.glob("[2-9]_*.toml"):
        path.unlink()
    for path in speech.glob("probe*.toml"):
        path.unlink()
    shutil.copy(folder / "own.py", speech)
    stage = speech / "1_conv1.toml"
    before, _, after = stage.read_text().partition("[objective]")
    own = '[objective]\nkind = "own:BarlowTwins"\nchannels = 4\nredundancy = 0.1\n\n'
    stage.write_text(before + own + after[after.index("[train]") :])
    with pytest.raises(RecipeError) as error:
        Recipe.load(speech)
    assert str(error.value).startswith(
        'stage speech/1 [objective] kind: "own:BarlowTwins" fails on codes 2 × '
    )
