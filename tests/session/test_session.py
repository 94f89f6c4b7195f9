"""A recipe in Python: what every method answers and shows, and how it is refused."""

import re
import signal
import threading
from pathlib import Path

import pytest
from helpers.homes import RECIPES, ROOT, edit, finish

import gimstage
from gimstage.errors import GimstageError
from gimstage.progress import Interrupted, Progress
from gimstage.session.session import Session

README = (ROOT / "README.md").read_text()
CELLS = re.search(r"^```python\nimport gimstage\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose recipe has been run to its end."""
    return finish(tmp_path_factory.mktemp("home"), "tiny")


def opened(home: Path, **options: object) -> Session:
    return gimstage.open(home / "tiny", runs=home / "runs", device="cpu", progress=False, **options)


def test_the_readme_s_lines_run_as_the_cells_of_a_notebook(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/demo").symlink_to(RECIPES / "tiny")
    monkeypatch.chdir(tmp_path)
    assert CELLS
    first, *cells = CELLS[1].strip().splitlines()
    names: dict[str, object] = {"gimstage": gimstage}
    exec(first, names)
    shown = [eval(cell, names) for cell in cells]
    pages = [value._repr_html_() for value in shown[:4]]
    assert [page.count("<table>") for page in pages] == [2, 0, 1, 1]
    assert "stage demo/1 done: loss" in pages[1]
    assert 0 <= shown[4] <= 1
    assert shown[5] == (48, 1, 8, 8, 16, 4, 4)
    assert list(shown[6].__self__.names) == ["demo/1", "demo/2", "demo/3"]


def test_an_answer_reads_as_the_command_s_table(finished: Path) -> None:
    states = opened(finished).status()
    assert [status.state for status in states] == ["done"] * len(states)
    head, line = repr(states).splitlines()[2:5:2]
    columns = ["stage", "state", "fingerprint", "GPU memory", "why"]
    assert [cell.strip() for cell in head.split("┃")[1:-1]] == columns
    assert line.split()[:6] == ["│", "1", "│", "done", "│", states[0].fingerprint[:12]]


def test_an_answer_is_a_sequence_of_its_records(finished: Path) -> None:
    (first, *_), stages = opened(finished).train(1), opened(finished).train()
    assert [stage.fresh for stage in stages] == [False] * 3
    assert str(first) == str(stages[0])
    assert stages[1:] == tuple(stages)[1:]


def test_a_plan_that_does_not_fit_says_why_below_its_tables(finished: Path) -> None:
    plan = opened(finished, max_disk="1kB").plan()
    assert not plan.fits
    assert repr(plan).splitlines()[-1].startswith("does not fit: recipe tiny: ")
    assert plan._repr_html_().endswith(f" --runs {finished / 'runs'}`</p>")


def test_a_recipe_may_be_edited_between_two_calls(home: Path) -> None:
    session = opened(home)
    assert session.status()[0].state == "done"
    edit(home, "1_*.toml", "seed = 2", "seed = 5")
    assert session.status()[0].state == "stale"


def test_a_session_shows_what_its_recipe_consists_of(finished: Path) -> None:
    assert repr(opened(finished)) == (
        f"recipe tiny in {finished / 'runs/tiny'}: stages 1 first, 2 second, 3 third; probes probe"
    )


def test_a_seed_runs_beside(finished: Path) -> None:
    assert [status.state for status in opened(finished, seed=9).status().stages] == ["missing"] * 3


def test_a_report_of_one_recipe_answers_with_its_page(finished: Path, tmp_path: Path) -> None:
    report = opened(finished).report(tmp_path / "out")
    assert report.page == tmp_path / "out/index.html"
    assert report.page.exists()


def test_progress_goes_to_a_function_that_asks_for_it(fresh: Path) -> None:
    heard: list[Progress] = []
    gimstage.open(fresh / "tiny", runs=fresh / "runs", device="cpu", progress=heard.append).train(1)
    assert {update.task for update in heard} == {"tiny/1 train", "tiny/1 extract"}


def test_an_interrupted_call_goes_on_from_where_it_was_saved(fresh: Path) -> None:
    def interrupt(update: Progress) -> None:
        signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    session = gimstage.open(fresh / "tiny", runs=fresh / "runs", device="cpu", progress=interrupt)
    with pytest.raises(Interrupted):
        session.train(1)
    assert signal.getsignal(signal.SIGINT) is before
    assert opened(fresh).status()[0].state == "partial"
    assert opened(fresh).train(1)[0].fresh


def test_a_thread_other_than_the_first_may_work_too(finished: Path) -> None:
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(opened(finished).train(1)))
    thread.start()
    thread.join()
    assert answers


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers: 0; expected a number of threads from 1 to 64"),
        (
            {"checkpoint_every": -1.0},
            "checkpoint_every: -1.0; expected seconds from 0.001 to 2,592,000",
        ),
        (
            {"max_disk": ""},
            "--max-disk: ''; expected a positive number and one of TB, GB, MB, kB, B",
        ),
        ({"gpu_margin": 1.0}, "gpu_margin: 1.0; expected a share from 0 and below 1"),
        (
            {"device": "tpu"},
            "--device tpu: no such kind of device; expected auto, cpu, cuda, cuda:N or mps",
        ),
    ],
)
def test_an_option_out_of_its_range_is_refused_at_once(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(GimstageError) as refusal:
        gimstage.open(RECIPES / "tiny", **options)
    assert str(refusal.value) == message


def test_a_misspelt_option_is_refused() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'devise'"):
        gimstage.open(RECIPES / "tiny", devise="cpu")


def test_features_of_a_stage_that_is_not_done_are_refused(fresh: Path) -> None:
    with pytest.raises(GimstageError) as refusal:
        opened(fresh).features(1)
    assert str(refusal.value) == (
        "stage tiny/1: missing; expected done; run `gimstage train-stage 1 "
        f"--recipe {fresh / 'tiny'} --runs {fresh / 'runs'}` first"
    )
