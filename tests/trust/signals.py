"""SIGINT, SIGTERM and SIGHUP, one or two in a row, at any moment of any command that writes.

The command says that it has stopped and goes on from there, or dies of the signal; started again it
ends in the bits of an undisturbed run. Of the moments, half are calls of the system and half are
drawn by the clock, so that every phase has its share: training, checking what is read, extracting,
committing, encoding, fitting a classifier, drawing a report, writing data.
"""

import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from trust.bench import Attempt, Bench, Campaign, Result, dice, excess
from trust.homes import copied
from trust.judge import complaint, litter, manners, other_bits
from trust.kills import made_before, moment
from trust.warm import Outcome, Strike
from trust.works import Work, left, work_of

_IN_TURN = "run probe train-stage demo run probe extract demo-audio run probe report tables"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def attempts(bench: Bench, seed: int) -> Iterator[Attempt]:
    """A signal to each command in turn, for ever."""
    number = 0
    while True:
        for name in _IN_TURN.split():
            yield partial(stopped, work_of(bench, name), seed, number)
            number += 1


def stopped(work: Work, seed: int, number: int, bench: Bench, folder: Path) -> Result:
    """Send signals until one has met the command at work; then let it go on to the end."""
    random = dice(seed, "signals", number)
    chosen = _SIGNALS[number % 3]
    twice = random.random() < 0.25
    for turn in range(5):
        home = copied(work.start, folder / f"home{turn}")
        settings = moment(work, home, random, chosen)
        if twice:
            settings["strikes"] = [*settings.get("strikes", []), Strike(signal.SIGINT, 0.05)]
        outcome = work(home, bench, **settings)
        if outcome.code != 0:
            break
    wrong = manners(outcome) + excess(outcome, bench.patience) + _unlike(chosen, twice, outcome)
    last = work(home, bench)
    wrong += manners(last)
    if last.code != 0 and not made_before(work, home):
        wrong.append(f"then exit {last.code}: {complaint(last)}")
    wrong += other_bits(home, work.bits, left) + litter(home, work.files)
    name = f"{work.name}, {chosen.name}{' and SIGINT' if twice else ''}"
    return Result([f"{name}: {each}" for each in wrong])


def _unlike(chosen: signal.Signals, twice: bool, outcome: Outcome) -> list[str]:
    """What is wrong with how the command ended."""
    mild = {0, 128 + chosen}
    hard = {-chosen, *((-signal.SIGINT, 130) if twice else ())}
    if outcome.code not in mild | hard:
        return [f"exit {outcome.code}: {outcome.text.strip()[-200:]}"]
    said = " ".join(outcome.text.split())
    if outcome.code == 128 + chosen and "stopped; the same command" not in said:
        return [f"does not say what goes on: {said[-200:]}"]
    return []


SIGNALS = Campaign("signals", "SIGINT, SIGTERM, SIGHUP in every phase", 200, 3, attempts)
