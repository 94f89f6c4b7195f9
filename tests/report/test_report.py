import html
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from helpers.manifests import IMAGES, write_images, write_probe, write_speech, write_stage
from helpers.paper import write_everything

from gimstage.errors import GimstageError
from gimstage.progress import Interrupted, Watch
from gimstage.report import collect, write_report

HOSTILE = '<script>alert("x")</script> | & *bold* [link](http://example.org)'
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FIGURES = {
    f"figure{n}_{base}.{form}"
    for n in (3, 4)
    for base in ("small", "audio")
    for form in ("png", "svg")
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    write_images(runs, "small", 0.5)
    write_images(runs, "small@3", 0.6, seed=3)
    write_stage(runs, "small_cpc/1", device=HOSTILE)
    write_probe(runs, "small_cpc/probe", {"1": 0.45})
    write_speech(runs, "audio", 0.6)
    return runs


@pytest.fixture(scope="module")
def out(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("home") / "out"
    assert write_report(collect(runs), out=out) == out / "index.html"
    return out


@pytest.fixture(scope="module")
def page(out: Path) -> str:
    return (out / "index.html").read_text()


class Tags(HTMLParser):
    """All start tags of a page with their attributes; fails where tags do not close in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def named(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.found if name == tag)


def cells_of_page(page: str) -> list[str]:
    """The text of every cell of every table."""
    found = re.findall(r"<t([dh])(?: [^>]*)?>(.*?)</t\1>", page, re.DOTALL)
    plain = [re.sub(r"<sup>(.*?)</sup>", r" [\1]", t.replace("<wbr>", "")) for _, t in found]
    return [html.unescape(text) for text in plain]


def cells_of_markdown(text: str) -> list[str]:
    rows = [line for line in text.splitlines() if re.match(r"\| (?!---)", line)]
    cells = [cell.strip() for row in rows for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
    return [re.sub(r"\\(.)", r"\1", cell) for cell in cells]


def test_a_report_is_a_page_a_text_its_numbers_and_figures(out: Path) -> None:
    assert {p.name for p in out.iterdir()} == {"index.html", "report.md", "report.json", "figures"}
    assert {p.name for p in (out / "figures").iterdir()} == FIGURES


def test_page_and_markdown_have_the_same_cells(out: Path, page: str) -> None:
    assert cells_of_page(page) == cells_of_markdown((out / "report.md").read_text())


def test_the_json_has_the_numbers_of_the_page(out: Path, page: str) -> None:
    cells = cells_of_page(page)
    figures = [
        cell
        for table in json.loads((out / "report.json").read_text())["tables"]
        for row in table["rows"]
        for cell in row["ours"]
    ]
    assert figures
    for cell in figures:
        std = "" if cell["std"] is None else f" ± {cell['std']:.1f}"
        assert f"{cell['mean']:.1f}{std} ({cell['n']})" in cells


def test_the_json_says_which_rows_were_not_run(out: Path) -> None:
    tables = json.loads((out / "report.json").read_text())["tables"]
    assert [(t["number"], t["base"]) for t in tables] == [(1, "small"), (3, "audio"), (4, "audio")]
    run = {row["system"]: row["run"] for row in tables[0]["rows"]}
    assert (run["CPC"], run["Predsim"]) == (True, False)


def test_a_row_that_was_not_run_says_so(page: str) -> None:
    cells = cells_of_page(page)
    at = cells.index("Predsim [d]")
    assert cells[at + 1 : at + 5] == ["(80.8)", "not run", "not run", "–"]


def test_the_page_says_that_the_paper_trains_simultaneously(page: str) -> None:
    words = "The paper&#x27;s tables 1, 3 and 4 are simultaneous training"
    assert words in page


def test_the_page_asks_for_nothing(page: str) -> None:
    tags = Tags(page)
    sources = [a.get("src") or a.get("href") or "" for _, a in tags.found if {"src", "href"} & {*a}]
    assert sources
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert not [*tags.named("script")]
    assert "@import" not in page
    assert "url(" not in page


def test_the_page_can_be_read_aloud(page: str) -> None:
    tags = Tags(page)
    assert [a["lang"] for a in tags.named("html")] == ["en"]
    assert all(a["alt"] for a in tags.named("img"))
    assert len([*tags.named("caption")]) == len([*tags.named("table")])
    assert all(a.get("scope") in ("row", "col") for a in tags.named("th"))


def test_what_a_manifest_says_is_text_and_never_markup(out: Path, page: str) -> None:
    assert html.escape(HOSTILE) in page
    assert "<script" not in page
    markdown = (out / "report.md").read_text()
    assert r"\<script\>alert(" in markdown
    assert r"\*bold\* \[link\](" in markdown


def test_links_of_the_page_lead_somewhere(page: str) -> None:
    tags = Tags(page)
    known = {a["id"] for _, a in tags.found if "id" in a}
    assert {(a["href"] or "")[1:] for a in tags.named("a")} <= known


def test_the_same_runs_give_the_same_report(runs: Path, out: Path, tmp_path: Path) -> None:
    write_report(collect(runs), out=tmp_path)
    for path in ("index.html", "report.md", "report.json"):
        assert (tmp_path / path).read_bytes() == (out / path).read_bytes()


def test_a_report_replaces_what_an_earlier_one_left_and_nothing_else(
    runs: Path, tmp_path: Path
) -> None:
    write_report(collect(runs), out=tmp_path)
    (tmp_path / "figures/mine.png").touch()
    write_report(collect(runs, ["small"]), out=tmp_path)
    left = {p.name for p in (tmp_path / "figures").iterdir()}
    assert left == {"mine.png", *(name for name in FIGURES if "audio" not in name)}


def test_a_file_in_the_way_is_refused(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(GimstageError) as error:
        write_report(collect(runs), out=tmp_path / "out")
    assert str(error.value) == (
        f"{tmp_path}/out/figures: cannot be written (Not a directory); name another folder with "
        "--out"
    )


def test_nothing_is_written_where_there_are_no_runs(tmp_path: Path) -> None:
    with pytest.raises(GimstageError):
        write_report(collect(tmp_path / "runs"), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_report_that_is_stopped_leaves_the_one_before(runs: Path, tmp_path: Path) -> None:
    write_report(collect(runs, ["audio"]), out=tmp_path)
    before = (tmp_path / "index.html").read_bytes()
    watch = Watch()
    watch.stop.set()
    with pytest.raises(Interrupted):
        write_report(collect(runs, ["small"]), out=tmp_path, watch=watch)
    assert (tmp_path / "index.html").read_bytes() == before


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of every recipe there is."""
    root = tmp_path_factory.mktemp("everything")
    write_everything(root / "runs")
    return write_report(collect(root / "runs"), out=root / "out").parent


def test_with_every_recipe_run_every_row_is_filled(everything: Path) -> None:
    tables = json.loads((everything / "report.json").read_text())["tables"]
    counts = {table["number"]: len(table["rows"]) for table in tables}
    assert counts == {1: 11, 3: 7, 4: 3}
    unfilled = [row["system"] for table in tables for row in table["rows"] if not row["ours"]]
    assert unfilled == []
    assert "not run" not in cells_of_page((everything / "index.html").read_text())


def test_with_every_recipe_run_the_last_module_stands_in_the_tables(everything: Path) -> None:
    tables = json.loads((everything / "report.json").read_text())["tables"]
    sources = {r["system"]: {o["source"] for o in r["ours"]} for r in tables[0]["rows"]}
    assert sources == {
        "Greedy InfoMax, one module after another": {"small, stage 3"},
        "Greedy InfoMax, simultaneous": {"small_simultaneous, module 1.3"},
        "CPC": {"small_cpc, module 1.3"},
        "Supervised": {"small_supervised, module 1.3"},
        "Greedy supervised": {"small_greedy_supervised, module 1.3"},
        "Deep InfoMax": {"small_dim, module 1.3"},
        "Deep InfoMax, Jensen–Shannon": {"small_dim_jsd, module 1.3"},
        "Predsim": {"small_predsim, module 1.3"},
        "Greedy InfoMax with PixelCNN contexts": {"small_pixelcnn, stage 1"},
        "Randomly initialised": {"small_random, small/3"},
        "Pixels": {"small, pixels"},
    }


def test_with_every_recipe_run_only_what_is_not_on_disk_is_noted(everything: Path) -> None:
    assert json.loads((everything / "report.json").read_text())["notes"] == [
        "figure 2 of small: no stage of it stores features; not drawn",
        "figure 2 of audio: no stage of it stores features; not drawn",
    ]


def test_every_protocol_of_a_table_is_explained(everything: Path) -> None:
    page = html.unescape((everything / "index.html").read_text())
    assert (
        "Protocols: paper is the paper's linear probe, Adam for a fixed number of epochs; "
        "converged is a linear probe too, regularised logistic regression run until it converges; "
        "hidden is the classifier of Deep InfoMax's authors, which has a hidden layer and so is "
        "more than a linear probe; own is no probe but the network's own classifier, the head that "
        "supervised training leaves or Predsim's output layer."
    ) in page


def test_memory_that_no_gpu_measured_says_so(everything: Path) -> None:
    cells = cells_of_page((everything / "index.html").read_text())
    at = cells.index("Greedy InfoMax, largest module")
    assert cells[at + 1 : at + 4] == ["–", "3.2 GB", "not measured"]
    at = cells.index("CPC", at - 30)
    assert cells[at + 1 : at + 4] == ["(7.7 GB)", "7.5 GB", "8.6 GB"]


def test_runs_on_unheard_of_data_are_reported_without_figures(tmp_path: Path) -> None:
    data = IMAGES | {"source": "moon photographs"}
    write_images(tmp_path / "runs", "moon", 0.5, data=data)
    write_report(collect(tmp_path / "runs"), out=tmp_path / "out")
    assert "moon" in (tmp_path / "out/report.md").read_text()


def console_errors(page: Path, profile: Path) -> list[str]:
    """What a browser complains of when it opens a file."""
    assert CHROMIUM
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command = [CHROMIUM, *quiet, f"--user-data-dir={profile}", "--enable-logging=stderr"]
    done = subprocess.run(
        [*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=600
    )
    assert "</html>" in done.stdout
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
def test_the_page_opens_from_disk_without_a_complaint(out: Path, tmp_path: Path) -> None:
    assert console_errors(out / "index.html", tmp_path) == []


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
def test_the_page_lets_nothing_be_requested(page: str, tmp_path: Path) -> None:
    (tmp_path / "with.html").write_text(
        page.replace("<main>", '<main><img src="http://127.0.0.1:9/x.png" alt="x">')
    )
    complaints = console_errors(tmp_path / "with.html", tmp_path / "profile")
    assert len(complaints) == 1
    assert "violates the following Content Security Policy directive" in complaints[0]
