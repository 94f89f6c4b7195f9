"""`make trust`: try faults of every kind, and print what came of them.

    python -m trust [--only CAMPAIGN] [--count N] [--seed S] [--first I] [--keep] [--json]

Exit 1 if anything was not as it should be.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import click

from trust.bench import Bench, cores, run
from trust.campaigns import CAMPAIGNS
from trust.shim import start_again_with_shim
from trust.table import score_lines, score_table
from trust.warm import Patience, warm_up

_MEMORY = Path("/dev/shm")  # no disk is worn out by a million small files
_ROOM = 4_000_000_000  # bytes of all attempts side by side, and the undisturbed runs
_PLACE = "TRUST_PLACE"


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(CAMPAIGNS)), help="Campaigns.")
@click.option("--count", type=click.IntRange(1), help="Faults of each, not all.")
@click.option("--seed", type=int, default=1, help="Of all choices.")
@click.option("--first", type=click.IntRange(0), default=0, help="Number of the first attempt.")
@click.option("--quick", is_flag=True, help="A few of each, nothing timed, as `make test` does.")
@click.option("--keep", is_flag=True, help="Leave the folders of the attempts there.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def trust(
    only: tuple[str, ...],
    count: int | None,
    seed: int,
    first: int,
    quick: bool,
    keep: bool,
    as_json: bool,
) -> None:
    """Try faults of every kind on gimstage, and say what came of them."""
    place = _place()
    start_again_with_shim(place)
    warm_up()
    bench = Bench(place, None if quick else Patience())
    scores = []
    for name in only or CAMPAIGNS:
        campaign = CAMPAIGNS[name]
        tries = campaign.slice if quick else count or campaign.reach
        workers = 1 if quick else cores()
        score = run(
            campaign, bench, count=tries, seed=seed, first=first, workers=workers, keep=keep
        )
        scores.append(score)
        if not as_json:
            click.echo("\n".join(score_lines(score)), err=True)
    if keep:
        click.echo(f"all of it is in {place}", err=True)
    else:
        shutil.rmtree(place, ignore_errors=True)
    documents = [score.as_json() for score in scores]
    click.echo(json.dumps(documents) if as_json else score_table(scores))
    sys.exit(any(score.wrong for score in scores))


def _place() -> Path:
    """A folder to work in; the same one after the start with the layer below."""
    if _PLACE not in os.environ:
        # In a container it is there, but holds too little.
        roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM
        memory = _MEMORY if roomy else None
        os.environ[_PLACE] = tempfile.mkdtemp(prefix="trust-", dir=memory)
    return Path(os.environ[_PLACE])


if __name__ == "__main__":
    trust()
