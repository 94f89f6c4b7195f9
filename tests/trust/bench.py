"""What a campaign is, and how its attempts are worked off, two at a time."""

import os
import random
import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

from trust.warm import Outcome, Patience


@dataclass(frozen=True)
class Result:
    """What an attempt came to.

    Args:
        wrong: a sentence for all that should not be.
        tried: how many faults it took.
    """

    wrong: list[str] = field(default_factory=list)
    tried: int = 1


@dataclass(frozen=True)
class Bench:
    """Where campaigns work.

    Args:
        place: an empty folder.
        patience: how long a command may take; None where nothing is timed.
    """

    place: Path
    patience: Patience | None


ALL = 1_000_000  # faults: as many as there are
Attempt = Callable[[Bench, Path], Result]  # given an empty folder of its own


@dataclass(frozen=True)
class Campaign:
    """Faults of one kind.

    Args:
        name: of the campaign, on the command line.
        about: what is tried, in the table.
        reach: how many faults the whole takes; `ALL` where they can be counted.
        slice: how many of them are tried with every change of the code; 0 for none.
        attempts: gives the attempts for a seed, in an order that only the seed decides; how many
            it gives is the most that can be tried.
        lacking: says what the campaign needs that this machine has not; empty where it has all.
    """

    name: str
    about: str
    reach: int
    slice: int
    attempts: Callable[[Bench, int], Iterator[Attempt]]
    lacking: Callable[[], str] = lambda: ""


@dataclass
class Score:
    """A campaign's line of the table."""

    campaign: Campaign
    tried: int = 0
    wrong: list[tuple[int, str]] = field(default_factory=list)
    seconds: float = 0.0
    skipped: str = ""

    def as_json(self) -> dict[str, object]:
        """The line as plain values."""
        return {
            "campaign": self.campaign.name,
            "tried": self.tried,
            "reach": self.campaign.reach,
            "wrong": self.wrong,
            "skipped": self.skipped,
            "seconds": round(self.seconds, 1),
        }


def dice(seed: int, *names: object) -> random.Random:
    """Random choices that depend on a seed and on some names alone."""
    return random.Random(" ".join(map(str, (seed, *names))))


def run(
    campaign: Campaign,
    bench: Bench,
    *,
    count: int,
    seed: int,
    first: int = 0,
    workers: int = 2,
    keep: bool = False,
) -> Score:
    """Try a campaign's faults until so many were tried, or there are no more.

    Args:
        campaign: the campaign.
        bench: where it works.
        count: faults to try.
        seed: of all choices.
        first: number of the first attempt; those before it are left out.
        workers: attempts side by side.
        keep: whether the folders of attempts are left there.
    """
    began, score = time.monotonic(), Score(campaign, skipped=campaign.lacking())
    if score.skipped:
        return score
    attempts = islice(enumerate(campaign.attempts(bench, seed)), first, None)
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        waiting: dict[Future[Result], int] = {}
        while True:
            room = workers + 1 - len(waiting) if score.tried + len(waiting) < count else 0
            for number, attempt in islice(attempts, room):
                waiting[pool.submit(_try, attempt, bench, campaign.name, number, keep)] = number
            if not waiting:
                break
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                number, result = waiting.pop(future), future.result()
                score.tried += result.tried
                score.wrong += [(number, sentence) for sentence in result.wrong]
    score.seconds = time.monotonic() - began
    return score


def _try(attempt: Attempt, bench: Bench, name: str, number: int, keep: bool) -> Result:
    folder = bench.place / f"{name}-{number}"
    folder.mkdir()
    try:
        return attempt(bench, folder)
    except Exception:  # of the harness itself, which must not hide what else there is
        return Result([f"the attempt failed: {traceback.format_exc()}"])
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def excess(outcome: Outcome, patience: Patience | None) -> list[str]:
    """What a command took too much of, where that is looked at."""
    if patience is None:
        return []
    if outcome.stopped:
        return [outcome.stopped]
    if outcome.cpu_s > patience.cpu_s:
        return [f"computed for {outcome.cpu_s:.1f} s"]
    return []


def cores() -> int:
    """How many attempts go side by side without being in each other's way."""
    return min(2, len(os.sched_getaffinity(0)))
