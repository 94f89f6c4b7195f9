"""SIGKILL at any moment of any command that writes, as often as it comes, then on to the end.

Half of the moments are drawn by the clock; the others are calls of the system, so that also what
lasts for microseconds is hit.
"""

import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from trust.bench import Attempt, Bench, Campaign, Result, dice, excess
from trust.homes import IMAGES, copied, on
from trust.judge import complaint, litter, manners, other_bits
from trust.shim import struck
from trust.warm import Strike, command
from trust.works import Work, left, work_of

_IN_TURN = "run train-stage run extract run probe run demo run demo-audio run report run tables"
_MOST = 8  # kills in a row


def attempts(bench: Bench, seed: int) -> Iterator[Attempt]:
    """Chains of kills of each command in turn, for ever."""
    number = 0
    while True:
        for name in _IN_TURN.split():
            yield partial(killed_on_and_on, work_of(bench, name), seed, number)
            number += 1


def killed_on_and_on(work: Work, seed: int, number: int, bench: Bench, folder: Path) -> Result:
    """Kill a command, start it again, kill it; then let it end."""
    home, random = copied(work.start, folder / "home"), dice(seed, "kills", number)
    kills, wrong = 0, []
    for _ in range(random.randint(1, _MOST)):
        outcome = work(home, bench, **moment(work, home, random, signal.SIGKILL))
        wrong += manners(outcome)
        if outcome.code == 0:
            break
        if outcome.code != -signal.SIGKILL:
            if not made_before(work, home):
                wrong.append(f"exit {outcome.code}: {complaint(outcome)}")
            break
        kills += 1
        if random.random() < 0.2 and (home / IMAGES).exists():
            looked = command("status", *on(IMAGES), folder=home, patience=bench.patience)
            wrong += [f"status: {each}" for each in manners(looked)]
    last = work(home, bench)
    wrong += manners(last) + excess(last, bench.patience)
    if last.code != 0 and not made_before(work, home):
        wrong.append(f"at last exit {last.code}: {complaint(last)}")
    wrong += other_bits(home, work.bits, left) + litter(home, work.files)
    return Result([f"{work.name}, {kills} kills: {each}" for each in wrong], tried=kills)


def moment(work: Work, home: Path, random: Random, number: int) -> dict[str, Any]:
    """A signal at a random moment of a command, by the clock or at a call, for `warm.call`."""
    if work.points and random.random() < 0.5:
        return {"before": struck(home, random.choice(work.points), number)}
    return {"strikes": [Strike(number, after_s=random.uniform(0, work.seconds))]}


def made_before(work: Work, home: Path) -> bool:
    """Whether a data set was whole when its command was killed; it is not made a second time."""
    return work.name.startswith("demo") and (home / "new").is_dir()


KILLS = Campaign("kills", "SIGKILL, and on to the end", 1000, 8, attempts)
