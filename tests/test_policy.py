"""Rules of the house that no reviewer has to remember."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "gimstage"

# From the ground up; a part may import only from floors below its own.
FLOORS = [
    {"errors", "draws", "files", "progress"},
    {"sizes", "device"},
    {"views", "modules", "data", "cache"},
    {"objectives"},
    {"specs"},
    {"modality"},
    {"recipe"},
    {"runs"},
    {"stack"},
    {"inputs"},
    {"extract", "train", "probe", "inspection"},
    {"plan", "report"},
    {"work"},
    {"drafts"},
    {"session"},
    {"cli"},
    {"__main__"},
]
FLOOR = {part: number for number, floor in enumerate(FLOORS) for part in floor}
TESTS = sorted((ROOT / "tests").rglob("*.py"))
FILES = sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or p.name != "__init__.py")


def part_of(path: Path) -> str:
    """The part a file belongs to: its folder below gimstage/, or its own name."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """The parts of gimstage a file imports, those inside functions included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            inside = node.module == "gimstage"
            names = [f"gimstage.{a.name}" for a in node.names] if inside else [node.module]
        found |= {name.split(".")[1] for name in names if name.startswith("gimstage.")}
    return found - {"__version__"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    own = part_of(path)
    upward = {p for p in imports_of(path) if p != own and FLOOR[p] >= FLOOR[own]}
    assert not upward


def test_every_part_has_its_floor() -> None:
    assert {part_of(path) for path in FILES} == set(FLOOR)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_command_line_prints_or_exits(path: Path) -> None:
    calls = re.findall(r"(?<![\w.])(?:sys\.exit|print|click\.echo)\(", path.read_text())
    assert not calls or part_of(path) == "cli"


def test_help_comes_without_loading_torch() -> None:
    code = "import sys, gimstage.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_top_level_holds_what_the_design_names() -> None:
    allowed = {"pyproject.toml", "README.md", "Makefile", "gimstage", "stages", "tests"}
    allowed |= {
        "benchmarks",
        "docs",
        "examples",
        ".ci",
        "LICENSE",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        ".gitignore",
    }
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert {line.split("/")[0] for line in tracked.stdout.splitlines()} <= allowed


@pytest.mark.parametrize("path", [*FILES, *TESTS], ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_is_longer_than_four_hundred_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


def test_no_test_is_timed_and_every_run_tries_the_same_examples() -> None:
    assert settings().deadline is None
    assert settings().derandomize
    own = [p for p in TESTS if re.search(r"\b(deadline|derandomize)\s*=", p.read_text())]
    assert own == [ROOT / "tests/conftest.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_docstring_of_what_is_public_is_a_sentence_a_stranger_understands(path: Path) -> None:
    kinds = (ast.FunctionDef, ast.ClassDef)
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]
    docs = [(node.name, ast.get_docstring(node) or "") for node in nodes if node.name[0] != "_"]
    riddles = [
        (name, doc)
        for name, doc in docs
        if doc and (len(doc) < 25 or doc.startswith(("Of ", "As `")) or "likewise" in doc)
    ]
    assert riddles == []
