"""The command that fills the paper's tables: many recipes, many seeds, one report."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gimstage.cli.arguments import Companion, Place
from gimstage.cli.base import (
    COMPUTE,
    DATA,
    JSON,
    RUNS,
    answer,
    guarded,
    notice,
    option,
    watching,
    with_options,
)
from gimstage.errors.commands import on_recipe, pasted
from gimstage.recipe.shipped import shipped_recipes
from gimstage.session.options import Options
from gimstage.session.tables import Answer, Table
from gimstage.sizes import format_duration

if TYPE_CHECKING:
    from gimstage.progress import Watch
    from gimstage.recipe.recipe import Recipe
    from gimstage.session.results import ReportPage
    from gimstage.work.campaign import Campaign, CampaignRun

SMALL = "_small"  # in the names of the paper's recipes in a width for small machines


def _seeds(context: click.Context, option: click.Parameter, text: str) -> list[int]:
    """The seeds meant by "2,3" or "2 3"."""
    words = re.split(r"\s*,\s*|\s+", text.strip())
    if not all(re.fullmatch(r"[0-9]{1,18}", word) for word in words):
        message = f"{text!r}; expected whole numbers from 0, such as 2,3"
        raise click.BadParameter(message, context, option)
    return list(dict.fromkeys(map(int, words)))


@click.command()
@click.argument("folders", nargs=-1, metavar="[RECIPE]...", type=Place())
@click.option("--seeds", required=True, callback=_seeds, help="Such as 2,3; S runs as NAME@S.")
@option(
    "--out",
    cls=Companion,
    excludes="dry_run",
    type=Place(),
    default=Path("report"),
    help="Folder to write to.",
)
@click.option("--dry-run", is_flag=True, help="Say what is left to do and how long it takes.")
@with_options([RUNS, DATA, JSON], COMPUTE)
@guarded
def tables(
    folders: tuple[Path, ...],
    seeds: list[int],
    out: Path,
    dry_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Run RECIPEs, or all small ones that come along, with every seed; then write the report.

    Recipes for the other kind of data than --data holds are skipped, recipes that these build on
    are run too, and what is done already is not done again.
    """
    recipes = _choose(folders or _small(), seeds, options["data"], quiet=as_json)
    with watching(quiet=as_json) as watch:
        campaign = _open(recipes, watch, **options)
        if dry_run:
            campaign.look()
        else:
            with watch.breaking_off():
                campaign.estimate()
        to_do = campaign_answer(campaign.runs, knows_disk=campaign.knows_disk)
        report = None
        if not dry_run:
            if not as_json:
                notice(to_do)
            campaign.work()
            report = _report(campaign, out)
    page = None if report is None else str(report.page)
    document = {"runs": [run.as_json() for run in campaign.runs], "page": page}
    picture = to_do if dry_run else _result(campaign, report)
    answer(document, picture, as_json=as_json)
    sys.exit(1 if campaign.failed else 0)


def _small() -> tuple[Path, ...]:
    """The folders of the small recipes: those below `stages` here, else those that come along."""
    here = tuple(sorted(Path("stages").glob(f"*{SMALL}*")))
    return here or tuple(path for name, path in shipped_recipes().items() if SMALL in name)


def _choose(
    folders: tuple[Path, ...], seeds: list[int], data: Path | None, *, quiet: bool
) -> list[Recipe]:
    """Every recipe that suits the data, with every seed; what does not suit is said."""
    from gimstage.work.campaign import divide_by_data, in_order

    chosen, others = divide_by_data(in_order(folders), data)
    if others and not quiet:
        notice(f"skipped, as not for what lies in {data}: {', '.join(r.name for r in others)}")
    return [recipe.seeded(seed) for seed in seeds for recipe in chosen]


def _open(
    recipes: list[Recipe],
    watch: Watch,
    *,
    runs: Path,
    data: Path | None,
    **compute: Any,
) -> Campaign:
    from gimstage.work.campaign import Campaign

    settings = Options(**compute).settings()
    return Campaign(recipes, data=data, root=runs, settings=settings, watch=watch)


def _report(campaign: Campaign, out: Path) -> ReportPage | None:
    """The report; None where no run has anything to report."""
    from gimstage.session.session import report_on

    folders = campaign.reportable
    if not folders:
        return None
    return report_on(campaign.root, [], out, campaign.data, campaign.watch, also=folders)


def _result(campaign: Campaign, report: ReportPage | None) -> Answer[CampaignRun]:
    """The report of a campaign; then every run that failed or was left out, and why."""
    shown: tuple[Table | str, ...] = ("no report: nothing has been run",)
    if report is not None:
        shown = report.shown
    return Answer(campaign.runs, *shown, *_troubles(campaign.runs))


def campaign_answer(runs: Sequence[CampaignRun], *, knows_disk: bool) -> Answer[CampaignRun]:
    """What is left to do of every recipe and seed, and the time it is thought to take.

    Args:
        runs: every recipe with every seed.
        knows_disk: whether the speed of the disk was measured.
    """
    total = format_duration(sum(run.estimated_s or 0 for run in runs))
    notes = [f"{total} in all, measured on this machine; fitting the classifiers is not in it"]
    if any(run.state == "part done" for run in runs):
        notes.append("a stage or probe that has begun counts whole")
    if not knows_disk:
        measuring = pasted(on_recipe("plan", "--calibrate"))
        notes.append(f"the disk is not in it: {measuring} measures its speed")
    table = Table(
        "the paper's tables",
        ("recipe", "seed", "state", "still to do"),
        [_campaign_row(run) for run in runs],
        numbers=("seed", "still to do"),
        note="\n".join(notes),
    )
    return Answer(runs, table, *_troubles(runs))


def _campaign_row(run: CampaignRun) -> tuple[str, str, str, str]:
    seed = "" if run.key.seed is None else str(run.key.seed)
    left = "–" if run.estimated_s is None else format_duration(run.estimated_s)
    return run.key.recipe, seed, run.state, left


def _troubles(runs: Sequence[CampaignRun]) -> list[str]:
    """A line for every run that failed or was left out."""
    return [f"{run.name} {run.state}: {run.error}" for run in runs if run.error is not None]
