"""Parts from outside the package: found, checked, run, and refused in the usual form."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers.homes import at, open_pipeline

import gimstage
from gimstage.cli import main
from gimstage.errors import GimstageError, RecipeError
from gimstage.recipe.recipe import Recipe

EXAMPLE = Path(__file__).parents[2] / "examples/own_parts"
Edit = Callable[[str, str, str], None]

OWN = """import torch
from torch import nn
import gimstage

class Sub(gimstage.EncoderModule):
    algorithm = 1
    reads = "patch"
    def __init__(self, *, in_channels: int, ARGUMENTS) -> None:
        super().__init__()
        self.in_channels = self.out_channels = self.code_channels = in_channels
        self.scale = nn.Parameter(torch.ones(()))
    def forward(self, x):
        return x * self.scale
    def pool(self, features):
        return features.mean((-2, -1))
    def output_shape(self, shape):
        return shape
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the example."""
    ignore = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(EXAMPLE, tmp_path / "own_parts", ignore=ignore))


@pytest.fixture
def edit(folder: Path) -> Edit:
    """Replace a text, which must be there, in a file of the copy."""

    def replace(name: str, old: str, new: str) -> None:
        path = next(folder.glob(name))
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return replace


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the example has run."""
    home = tmp_path_factory.mktemp("own")
    shutil.copytree(EXAMPLE, home / "own_parts", ignore=shutil.ignore_patterns("__pycache__"))
    at(home).run()
    return home


def refusal(folder: Path) -> str:
    """The message with which a recipe is refused, its folder's path left out."""
    with pytest.raises(RecipeError) as error:
        Recipe.load(folder)
    return str(error.value).replace(f"{folder}/", "").replace(str(folder), "FOLDER")


def said(home: Path, *words: str) -> str:
    """What a command prints about a home's recipe."""
    places = ["--recipe", str(home / "own_parts"), "--runs", str(home / "runs")]
    outcome = CliRunner().invoke(main, [*words, *places])
    assert outcome.exit_code == 0, outcome.output
    return outcome.output


def test_parts_of_ones_own_are_planned_trained_probed_and_shown(finished: Path) -> None:
    pipeline = at(finished)
    states = [status.state for status in pipeline.statuses() + pipeline.probe_statuses()]
    assert states == ["done"] * 4
    assert all(plan.flops_per_step > 0 for plan in pipeline.plans())
    assert "float16" in said(finished, "inspect", "2")


def test_a_report_names_the_kinds_of_others_parts(finished: Path, tmp_path: Path) -> None:
    places = ["--runs", str(finished / "runs"), "--out", str(tmp_path)]
    outcome = CliRunner().invoke(main, ["report", *places])
    assert outcome.exit_code == 0, outcome.output
    assert "own:Conv2d" in (tmp_path / "index.html").read_text()


def test_a_raised_algorithm_turns_its_stages_stale_and_says_why(home: Path) -> None:
    own = home / "own_parts/own.py"
    own.write_text(own.read_text().replace("algorithm = 1  #", "algorithm = 2  #"))
    assert "algorithms.own:Conv2d: 1 → 2" in said(home, "status", "--why")


def test_a_changed_text_without_a_raised_algorithm_changes_nothing(home: Path) -> None:
    own = home / "own_parts/own.py"
    own.write_text(own.read_text() + "\n# A remark.\n")
    assert [status.state for status in at(home).statuses()] == ["done"] * 3


def test_a_recipe_moved_elsewhere_still_works(home: Path, tmp_path: Path) -> None:
    moved = Path(shutil.move(home / "own_parts", tmp_path / "own_parts"))
    pipeline = open_pipeline(moved, home / "runs")
    assert [status.state for status in pipeline.statuses()] == ["done"] * 3


def test_micro_batches_of_others_parts_give_the_same_plan(finished: Path) -> None:
    assert "16" in said(finished, "plan", "--gpu-mem", "2GB")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            "nowhere:Conv2d",
            '"nowhere:Conv2d", but there is no module nowhere; expected a file nowhere.py in '
            "FOLDER, or one on the import path; write it there, or install the package that has it",
        ),
        (
            "own:Conv3d",
            '"own:Conv3d", but own has no Conv3d; expected an EncoderModule in it; it has Conv2d',
        ),
        (
            "own:nn",
            '"own:nn", which is no EncoderModule; expected a class made from '
            "gimstage.EncoderModule",
        ),
        (
            "own:BarlowTwins",
            '"own:BarlowTwins", which is no EncoderModule; expected a class made from '
            "gimstage.EncoderModule",
        ),
        (
            "own.:Conv2d",
            '"own.:Conv2d"; expected "module:Class", the names of a module and of a class in it',
        ),
        (
            "own:",
            '"own:"; expected "module:Class", the names of a module and of a class in it',
        ),
    ],
)
def test_a_kind_that_names_no_encoder_is_refused(
    edit: Edit, folder: Path, kind: str, message: str
) -> None:
    edit("1_*.toml", "own:Conv2d", kind)
    assert refusal(folder) == f"1_edges.toml [module] kind: {message}"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import not_there", "ModuleNotFoundError: No module named 'not_there'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def broken(:", "SyntaxError: invalid syntax (own.py, line 1)"),
    ],
)
def test_a_module_that_fails_on_import_is_refused(folder: Path, line: str, why: str) -> None:
    (folder / "own.py").write_text(line + "\n")
    assert refusal(folder) == (
        f'1_edges.toml [module] kind: "own:Conv2d", whose module fails on import: {why}; expected '
        "a module that can be imported; run `python own.py` to see where"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "**keys: int",
            '"own:Sub" takes **keys; expected keyword arguments with types: they are the keys of '
            "its table; name them in the constructor of Sub",
        ),
        (
            "width",
            '"own:Sub" takes width without a type; expected an annotation: it is the type of that '
            "key; write width: int, or what it is",
        ),
        (
            "width: torch.Tensor",
            '"own:Sub" takes width: Tensor; expected a type that a TOML file can give: int, float, '
            "bool, str, Literal, or a list of these; make width in the constructor from such "
            "values",
        ),
        (
            "width: 'Unknown'",
            "\"own:Sub\", whose types cannot be read: name 'Unknown' is not defined",
        ),
        ("objective: int", '"own:Sub" takes objective; expected another word: this one is taken'),
    ],
)
def test_a_constructor_that_no_table_can_call_is_refused(
    edit: Edit, folder: Path, arguments: str, message: str
) -> None:
    (folder / "own.py").write_text(OWN.replace("ARGUMENTS", arguments))
    edit("1_*.toml", "own:Conv2d", "own:Sub")
    assert refusal(folder) == f"1_edges.toml [module] kind: {message}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("channels = 8", "chanels = 8", "chanels: unknown key; did you mean 'channels'?"),
        (
            "channels = 8\n",
            "",
            "channels: missing; add it: nothing that changes a number has a default",
        ),
        ("channels = 8", 'channels = "8"', 'channels: "8"; expected a valid integer'),
    ],
)
def test_keys_are_checked_by_the_constructor(
    edit: Edit, folder: Path, old: str, new: str, message: str
) -> None:
    edit("1_*.toml", old, new)
    assert refusal(folder) == f"1_edges.toml [module] {message}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "    algorithm = 1  # raise it when the same table would give other numbers\n",
            "",
            '"own:Conv2d" without a version of its numbers; expected a whole number called '
            "algorithm on the class; write algorithm = 1 into Conv2d, and raise it when its "
            "numbers change",
        ),
        (
            '    reads = "patch"\n',
            "",
            '"own:Conv2d" without a word of what it reads; expected reads = "patch", "sequence", '
            '"grid" or "map" on the class',
        ),
        (
            'reads = "patch"',
            'reads = "patches"',
            '"own:Conv2d" with reads = "patches"; expected reads = "patch", "sequence", "grid" '
            'or "map" on the class',
        ),
        (
            'reads = "patch"',
            'reads = "sequence"',
            '"own:Conv2d", which reads sequences and is no SequenceModule; expected a class made '
            "from gimstage.SequenceModule",
        ),
        (
            "    def pool(",
            "    def pooled(",
            '"own:Conv2d" without pool; expected all that an EncoderModule defines',
        ),
    ],
)
def test_a_class_that_lacks_something_is_refused(
    edit: Edit, folder: Path, old: str, new: str, message: str
) -> None:
    edit("own.py", old, new)
    assert refusal(folder) == f"1_edges.toml [module] kind: {message}"


def test_a_module_that_makes_other_shapes_than_it_says_is_refused(edit: Edit, folder: Path) -> None:
    edit("own.py", "-(-side // self.stride)", "side")
    assert refusal(folder) == (
        'stage own_parts/1 [module] kind: "own:Conv2d", which makes features 2 × 8 × 8 × 8 of '
        "2 × 1 × 16 × 16; expected 2 × 8 × 16 × 16, as its output_shape says; mend output_shape or "
        "forward of Conv2d"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "        self.stride = stride\n",
            '        raise ValueError("an odd kernel only")\n',
            '"own:Conv2d" cannot be made: ValueError: an odd kernel only; expected a constructor '
            "that takes in_channels = 1 and the table's keys",
        ),
        (
            "self.out_channels = self.code_channels = channels",
            "pass",
            '"own:Conv2d" without out_channels, code_channels; expected all set by its constructor',
        ),
    ],
)
def test_a_module_that_cannot_be_made_is_refused(
    edit: Edit, folder: Path, old: str, new: str, message: str
) -> None:
    edit("own.py", old, new)
    assert refusal(folder) == f"stage own_parts/1 [module] kind: {message}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "self.code_channels = channels",
            "self.code_channels = str(channels)",
            "with out_channels = '8'; expected a whole number",
        ),
        (
            "        return (self.out_channels, *(",
            "        return [side / 2 for side in shape]\n        return (0, *(",
            ", whose output_shape((1, 16, 16)) is [0.5, 8.0, 8.0]; expected whole numbers, the "
            "shape of what it makes",
        ),
        (
            "        return (self.out_channels, *(",
            '        raise KeyError("side")\n        return (0, *(',
            "fails at output_shape((1, 16, 16)): KeyError: 'side'; expected whole numbers, the "
            "shape of what it makes",
        ),
    ],
)
def test_a_module_that_says_no_shapes_is_refused(
    edit: Edit, folder: Path, old: str, new: str, message: str
) -> None:
    edit("own.py", old, new)
    between = "" if message.startswith(",") else " "
    assert refusal(folder) == (f'stage own_parts/1 [module] kind: "own:Conv2d"{between}{message}')


def test_a_module_that_fails_when_it_runs_is_refused(edit: Edit, folder: Path) -> None:
    edit("own.py", "kernel, stride, padding=kernel // 2)", "kernel, stride, padding=1).half()")
    assert refusal(folder).startswith(
        'stage own_parts/1 [module] kind: "own:Conv2d" fails on an input 2 × 1 × 16 × 16: '
    )


def test_two_recipes_may_have_modules_of_one_name(edit: Edit, folder: Path) -> None:
    other = folder.with_name("other")
    shutil.copytree(folder, other)
    edit("own.py", "algorithm = 1  #", "algorithm = 7  #")
    versions = [
        Recipe.load(each).chain(1).last.spec.algorithms["own:Conv2d"] for each in (folder, other)
    ]
    assert versions == [7, 1]


def test_a_module_beside_a_recipe_may_import_its_neighbours(edit: Edit, folder: Path) -> None:
    (folder / "sizes_beside.py").write_text("PADDING = 1\n")
    edit("own.py", "import gimstage\n", "import gimstage\nfrom sizes_beside import PADDING\n")
    assert Recipe.load(folder).chain(1).shapes()[-1] == (8, 8, 8)
    assert str(folder) not in sys.path


def test_neighbours_of_one_name_are_each_recipes_own(edit: Edit, folder: Path) -> None:
    edit("own.py", "algorithm = 1  #", "from beside_it import VERSION as algorithm  #")
    (folder / "beside_it.py").write_text("VERSION = 3\n")
    other = Path(shutil.copytree(folder, folder.with_name("other")))
    (other / "beside_it.py").write_text("VERSION = 44\n")

    def version(place: Path) -> int:
        return Recipe.load(place).chain(1).last.spec.algorithms["own:Conv2d"]

    assert [version(folder), version(other)] == [3, 44]
    (folder / "beside_it.py").write_text("VERSION = 555\n")
    assert version(folder) == 555


def test_a_module_of_an_installed_package_is_found_too(
    edit: Edit, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "installed").mkdir()
    shutil.move(folder / "own.py", tmp_path / "installed/own_installed.py")
    monkeypatch.syspath_prepend(tmp_path / "installed")
    for name in ("1_*.toml", "2_*.toml", "3_*.toml"):
        edit(name, "own:", "own_installed:")
    assert Recipe.load(folder).chain(3).shapes()[-1] == (32, 2, 2)


def test_loading_a_stack_imports_nobodys_module_unasked(finished: Path) -> None:
    with pytest.raises(GimstageError) as error:
        gimstage.load(finished / "runs/own_parts/2")
    assert str(error.value) == (
        'kind "own:Conv2d": not imported: that would run own from '
        f"{finished}/own_parts/own.py; expected your word that you trust it; give trust=True to "
        "import Conv2d from there"
    )


def test_a_stack_of_trusted_parts_gives_codes(finished: Path) -> None:
    stack = gimstage.load(finished / "runs/own_parts/2", trust=True)
    assert stack.names == ["own_parts/1", "own_parts/2"]
