"""Looking writes nothing: not where all is finished, not where nothing is, not where nobody may."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.commands import gimstage, options
from helpers.homes import RECIPES, at
from helpers.trees import tree

import gimstage as library
from gimstage.data.demo import write_demo
from gimstage.runs.locks import LOCK
from gimstage.session.session import Session

LOOKS = [
    ["status"],
    ["status", "--why", "--json"],
    ["plan"],
    ["plan", "--gpu-mem", "2GB"],
    ["verify"],
    ["inspect", 1],
    ["status", "--seed", 9],
    ["--help"],
]
METHODS: dict[str, Callable[[Session], object]] = {
    "status": lambda session: session.status(why=True),
    "plan": lambda session: session.plan(),
    "features": lambda session: session.features(1).small("origin_x"),
    "stack": lambda session: session.stack(3),
}


def look(home: Path, words: list[object]) -> int:
    """The exit code of a command in a home, in which nothing changed."""
    before = tree(home)
    result = gimstage(*words, *([] if words == ["--help"] else options(home)))
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert tree(home) == before
    return result.exit_code


@pytest.mark.parametrize("words", LOOKS, ids=str)
def test_no_command_that_looks_writes_where_all_is_finished(
    finished: Path, words: list[object]
) -> None:
    assert look(finished, words) == 0


@pytest.mark.parametrize("words", LOOKS, ids=str)
def test_no_command_that_looks_writes_where_nothing_is(tmp_path: Path, words: list[object]) -> None:
    shutil.copytree(RECIPES / "tiny", tmp_path / "tiny")
    assert look(tmp_path, words) == (words[0] in ("verify", "inspect"))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("words", LOOKS, ids=str)
def test_finished_runs_without_the_demo_s_data_are_looked_at_as_they_are(
    home: Path, words: list[object]
) -> None:
    shutil.rmtree(home / "runs/data")
    assert look(home, words) == 0


@pytest.mark.parametrize("method", METHODS)
def test_no_method_that_looks_writes(home: Path, method: str) -> None:
    session = library.open(home / "tiny", runs=home / "runs", progress=False)
    before = tree(home)
    assert METHODS[method](session) is not None
    assert tree(home) == before


def test_loading_a_stack_writes_nothing(finished: Path) -> None:
    before = tree(finished)
    library.load(finished / "runs/tiny/3")
    assert tree(finished) == before


def test_a_report_writes_to_its_own_folder_only(home: Path, tmp_path: Path) -> None:
    for lock in (home / "runs").rglob(LOCK):
        lock.unlink()
    before = tree(home)
    assert gimstage("report", "--runs", home / "runs", "--out", tmp_path / "report").exit_code == 0
    assert tree(home) == before


def test_checking_data_writes_nothing(tmp_path: Path) -> None:
    write_demo(tmp_path / "data", unlabeled=1, train=10, test=10, seed=1)
    before = tree(tmp_path)
    assert gimstage("data", "check", tmp_path / "data").exit_code == 0
    assert tree(tmp_path) == before


@pytest.mark.parametrize("made", [True, False], ids=["finished", "missing"])
def test_saying_what_tables_would_do_writes_nothing(home: Path, made: bool) -> None:
    if not made:
        shutil.rmtree(home / "runs")
    before = tree(home)
    words = ["tables", home / "tiny", "--seeds", "2,3", "--runs", home / "runs", "--dry-run"]
    result = gimstage(*words)
    assert result.exit_code == 0
    assert "the disk is not in it: `gimstage plan --calibrate --runs " in result.stdout
    assert tree(home) == before


def test_a_recipe_s_own_parts_leave_no_bytecode_beside_them(tmp_path: Path) -> None:
    shutil.copytree(RECIPES.parents[1] / "examples/own_parts", tmp_path / "own_parts")
    shutil.rmtree(tmp_path / "own_parts/__pycache__", ignore_errors=True)
    before = tree(tmp_path)
    words = ["status", "--recipe", tmp_path / "own_parts", "--runs", tmp_path / "runs"]
    assert gimstage(*words).exit_code == 0
    assert tree(tmp_path) == before


def test_what_a_plan_says_of_a_demo_s_data_is_true_once_it_is_written(fresh: Path) -> None:
    session = library.open(fresh / "tiny", runs=fresh / "runs", progress=False)
    written = session.plan().as_json()
    shutil.rmtree(fresh / "runs")
    planned = session.plan().as_json()
    assert planned["stages"] == written["stages"]
    assert [stage["steps"] for stage in planned["stages"]] == [12, 12, 12]


def test_stages_without_a_manifest_are_missing_while_their_data_is_not_written(
    tmp_path: Path,
) -> None:
    session = library.open(RECIPES / "tiny", runs=tmp_path / "runs", progress=False)
    assert [(s.state, s.fingerprint) for s in session.status()] == [("missing", "")] * 4


def test_finished_stages_stay_done_when_their_data_is_gone(home: Path) -> None:
    session = library.open(home / "tiny", runs=home / "runs", progress=False)
    before = list(session.status())
    shutil.rmtree(home / "runs/data")
    assert list(session.status()) == before


def test_what_has_begun_without_its_data_is_not_said_to_start_anew(fresh: Path) -> None:
    at(fresh)
    (fresh / "runs/tiny/1/checkpoint").mkdir(parents=True)
    shutil.rmtree(fresh / "runs/data")
    session = library.open(fresh / "tiny", runs=fresh / "runs", progress=False)
    assert session.status()[0].why == ("begun; its data is not there to say whether it goes on",)


def test_a_picture_of_data_that_is_not_written_is_refused(home: Path) -> None:
    shutil.rmtree(home / "runs/data")
    result = gimstage("inspect", 1, "--png", home / "x.png", *options(home))
    assert result.exit_code == 1
    assert " ".join(result.stderr.split()) == (
        f"error {home}/runs/data/demo-48-40-40-1: the data of this demo is not written yet; "
        "any command that trains or probes writes it"
    )


def test_there_is_nothing_to_verify_where_nothing_is_finished(fresh: Path) -> None:
    result = gimstage("verify", *options(fresh))
    assert result.exit_code == 1
    assert " ".join(result.stderr.split()) == (
        f"error {fresh}/runs/tiny: nothing to verify; expected a finished stage; "
        f"finish one with `gimstage run --recipe {fresh / 'tiny'} --runs {fresh / 'runs'}`, "
        "or name the folder of its runs with --runs"
    )


def refuse_to_write(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make a folder what a read-only file system is to this process; permissions stop no root."""

    def guarded(call: Callable[..., object], writes: Callable[..., bool]) -> Callable[..., object]:
        def guard(path: object, *rest: object, **named: object) -> object:
            inside = isinstance(path, str | Path) and Path(path).is_relative_to(folder)
            if inside and writes(*rest, **named):
                raise OSError(30, os.strerror(30), str(path))
            return call(path, *rest, **named)

        return guard

    wanted = os.O_WRONLY | os.O_RDWR | os.O_CREAT
    always = lambda *rest, **named: True  # noqa: E731
    monkeypatch.setattr(os, "open", guarded(os.open, lambda flags, *rest, **named: flags & wanted))
    for name in ("mkdir", "utime", "unlink", "rename", "replace", "rmdir"):
        monkeypatch.setattr(os, name, guarded(getattr(os, name), always))
    before = Path.open

    def opened(path: Path, mode: str = "r", *rest: object, **named: object) -> object:
        if path.is_relative_to(folder) and set(mode) & set("wax+"):
            raise OSError(30, os.strerror(30), str(path))
        return before(path, mode, *rest, **named)

    monkeypatch.setattr(Path, "open", opened)


@pytest.mark.parametrize(
    "words", [["run"], ["train-stage", 1], ["extract", 1], ["probe"]], ids=lambda words: words[0]
)
@pytest.mark.parametrize("locks", [True, False], ids=["with locks", "without"])
def test_finished_runs_that_nobody_may_write_to_answer_every_command(
    home: Path, monkeypatch: pytest.MonkeyPatch, words: list[object], locks: bool
) -> None:
    for lock in [] if locks else (home / "runs").rglob(LOCK):
        lock.unlink()
    before = tree(home)
    expected = gimstage(*words, *options(home)).stdout
    before = tree(home)
    refuse_to_write(monkeypatch, home / "runs")
    result = gimstage(*words, *options(home))
    assert result.exit_code == 0
    assert result.stdout == expected
    assert tree(home) == before
