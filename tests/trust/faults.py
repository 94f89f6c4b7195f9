"""Every call of a run that opens, writes, makes durable or renames, made to fail once.

The disk is full from that call on (ENOSPC), or cannot do it once (EIO), or does half a write. The
run says which file of which stage, or does not need the call; the same command then ends in the
bits of an undisturbed run.
"""

import errno
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from trust.bench import ALL, Attempt, Bench, Campaign, Result, dice, excess
from trust.homes import copied
from trust.judge import complaint, litter, manners, other_bits
from trust.shim import SHORT, Point, failing, lacking
from trust.works import Work, left, work_of

_ERRORS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "short": SHORT}
_CAN = {"open-r": ("EIO",), "write": ("ENOSPC", "EIO", "short"), "unlink": ("EIO",)}


def attempts(bench: Bench, seed: int) -> Iterator[Attempt]:
    """Every call with every error it can have, in an order that the seed decides."""
    run = work_of(bench, "run")
    every = [
        (point, error) for point in run.points for error in _CAN.get(point.kind, ("ENOSPC", "EIO"))
    ]
    dice(seed, "faults").shuffle(every)
    for point, error in every:
        yield partial(fail, run, point, error)


def fail(work: Work, point: Point, error: str, bench: Bench, folder: Path) -> Result:
    """Let a call fail, then do it again."""
    home = copied(work.start, folder / "home")
    fault = failing(home, point, _ERRORS[error], lasting=error == "ENOSPC")
    outcome = work(home, bench, before=fault)
    wrong = manners(outcome) + excess(outcome, bench.patience)
    if outcome.code == 1:
        wrong += _unnamed(point, error, outcome.text, complaint(outcome))
    elif outcome.code != 0:
        wrong.append(f"exit {outcome.code}")
    elif outcome.code == 0:
        wrong += [f"done, yet {each}" for each in other_bits(home, work.bits, left)]
    again = work(home, bench)
    wrong += manners(again)
    if again.code != 0:
        wrong.append(f"then exit {again.code}: {complaint(again)}")
    else:
        wrong += [f"then {each}" for each in other_bits(home, work.bits, left)]
        wrong += litter(home, work.files)
    return Result([f"{error} at {point}: {each}" for each in wrong])


def _unnamed(point: Point, error: str, said: str, message: str) -> list[str]:
    """What a message leaves out: the file, or what it belongs to."""
    path = Path(point.path)
    name = path.name.removesuffix(".part")
    owner = "/".join(path.parts[:3]) if path.parts[1:2] != ("data",) else "runs/data"
    if owner == "runs/data":
        name = ""  # its folder will do
    if path.name == "lock" and error == "ENOSPC":  # which may be let go of without
        name, owner = "", str(path.parent.parent)  # the next write says that the disk is full
    flat = "".join(said.split())
    lacks = [what for what in (name, owner) if what not in flat]
    return [f"does not say {' or '.join(lacks)}: {message}"] if lacks else []


FAULTS = Campaign("faults", "full disks, errors, short writes", ALL, 6, attempts, lacking)
