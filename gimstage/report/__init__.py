"""The paper's tables and figures beside ours, out of what finished runs left on disk.

    published   what the paper says, and which recipe fills which row
    folders     one recipe's manifests and metrics, read as far as they can be
    stageruns   what a stage's manifest and metrics tell of the modules it trained
    collect     all runs, seeds of one recipe together
    counted     each result once, whatever its folders are called
    datasets    on which data figures were taken
    probed      what the rows of a probe name
    costs       figures over seeds, and what runs took
    tables      tables 1, 3 and 4
    modules     table 2, and every recipe stage by stage
    neurons     what excites every channel most: one pass over features.zarr
    drawing     what all figures share; losses (3), probe_errors (4), patches (2)
    raw         the data behind a run
    grids       tables as text; document, markdown and page put them together

    runs ─► collect ─► tables ─► grids ─► index.html  report.md  report.json  figures/

Nothing is trained, probed or encoded here.
"""

from contextlib import suppress
from pathlib import Path

from gimstage.errors import GimstageError
from gimstage.files import ODD_NAMES, UnreadableError, appearing, read_json, write_json
from gimstage.progress import Watch
from gimstage.report.collect import Report, collect
from gimstage.report.document import all_figures, as_json, compose
from gimstage.report.drawing import Drawing
from gimstage.report.grids import terminal_rows
from gimstage.report.losses import draw_losses
from gimstage.report.markdown import to_markdown
from gimstage.report.page import to_html
from gimstage.report.patches import draw_patches
from gimstage.report.probe_errors import draw_errors
from gimstage.report.tables import paper_tables

__all__ = ["Report", "collect", "summary", "write_report"]

FIGURES, MARKDOWN, JSON, PAGE = "figures", "report.md", "report.json", "index.html"
REPORT_BYTES = 1 << 25  # of an earlier report.json, far more than any has


def write_report(
    report: Report, *, out: Path, data: Path | None = None, watch: Watch | None = None
) -> Path:
    """Write index.html, report.md, report.json and figures/; index.html comes last.

    What an earlier report left in the folder is replaced; other files there stay.

    Args:
        report: what `collect` made of the runs.
        out: the folder to write to, made if need be.
        data: where raw data lies that is neither a demo's nor where it was when the runs read it.
        watch: hears of progress, asks to stop.

    Returns:
        The path of index.html.

    Raises:
        GimstageError: `out` cannot be written to.
        Interrupted: a stop was asked for; the report of before is still there.
    """
    try:
        return _write(report, out, data, watch or Watch())
    except OSError as error:
        where = str(error.filename or out)
        cure = "name another folder with --out"
        raise GimstageError(where, f"cannot be written ({error.strerror})", cure=cure) from error


def _write(report: Report, out: Path, data: Path | None, watch: Watch) -> Path:
    folder = out / FIGURES
    folder.mkdir(parents=True, exist_ok=True)
    before = _earlier(out / JSON)
    notes: list[str] = []
    drawings = _draw(report, folder, data, notes, watch)
    figures = all_figures(report)
    document = compose(report, figures, drawings, notes)
    images = {d.name: (folder / f"{d.name}.{d.inline}").read_bytes() for d in drawings}
    write_json(out / JSON, as_json(document, figures, drawings))
    for name, text in ((MARKDOWN, to_markdown(document)), (PAGE, to_html(document, images))):
        with appearing(out / name) as unfinished:
            unfinished.write_text(text, "utf-8", ODD_NAMES)
    for name in before - images.keys():
        for form in ("png", "svg"):
            (folder / f"{name}.{form}").unlink(missing_ok=True)
    return out / PAGE


def _draw(
    report: Report, folder: Path, data: Path | None, notes: list[str], watch: Watch
) -> list[Drawing]:
    """Figures 2, 3 and 4 of every base, as far as there is anything to draw."""
    drawings: list[Drawing | None] = []
    for base in [*report.bases("images"), *report.bases("speech")]:
        watch.leave_if_asked()
        drawings += [
            draw_patches(report, base, folder, data=data, notes=notes, watch=watch),
            draw_losses(report, base, folder),
            draw_errors(report, base, folder),
        ]
    return [drawing for drawing in drawings if drawing is not None]


def _earlier(path: Path) -> set[str]:
    """The figures of the report that lies there, so that none of them outlives it."""
    with suppress(OSError, UnreadableError, TypeError, KeyError):
        report = read_json(path, most_bytes=REPORT_BYTES)
        names = {str(figure["name"]) for figure in report["figures"]}
        return {name for name in names if name == Path(name).name}
    return set()


def summary(report: Report) -> list[dict[str, str]]:
    """What a terminal shows of a report: a row per system of tables 1, 3 and 4.

    Each has the keys table, base, system, data, published and ours; of several protocols or tasks,
    `ours` has a line each.
    """
    return terminal_rows(paper_tables(report))
