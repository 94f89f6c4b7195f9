"""Forged manifests, stores, headers, locks, and things in place of files, before every reader.

Each reader ends soon and in small memory, without a traceback; what it refuses it names. `run`
refuses too, or ends in the bits of an undisturbed run.
"""

import json
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random

from gimstage.runs.manifest import with_digest
from trust.bench import Attempt, Bench, Campaign, Result, dice, excess
from trust.homes import IMAGES, copied, on
from trust.judge import less, manners, other_bits
from trust.nasty import TENSORS, TEXTS, THINGS, mutated
from trust.readers import LOOKING, read
from trust.references import Reference, finished_reference, interrupted_reference
from trust.warm import Patience, command

SOON = Patience(wall_s=60.0, cpu_s=5.0)
_RUN = f"runs/{IMAGES}"

# Files, and folders in place of which something else may lie.
DOCUMENTS = (
    f"{_RUN}/2/manifest.json",
    f"{_RUN}/1/manifest.json",
    f"{_RUN}/probe/manifest.json",
    f"{_RUN}/2/features.zarr/zarr.json",
    f"{_RUN}/2/features.zarr/features/zarr.json",
    f"{_RUN}/1/features.zarr/source_sample/zarr.json",
    f"{_RUN}/2/metrics.jsonl",
    f"{_RUN}/1/memory.json",
    "runs/data/fingerprints.json",
    "runs/predictions.json",
    "runs/calibration.json",
)
WEIGHTS = (f"{_RUN}/1/weights.safetensors", f"{_RUN}/2/objective.safetensors")
OTHERS = (
    f"{_RUN}/2/lock",
    f"{_RUN}/probe/lock",
    f"{_RUN}/2/features.zarr/features/c.0.0.0.0.0.0.0",
    f"{_RUN}/2/features.zarr/origin_x/c.0.0",
    f"{_RUN}/2/features.zarr/features",
    f"{_RUN}/2/features.zarr",
    f"{_RUN}/2",
    f"{_RUN}/probe",
)
STATE = f"{_RUN}/2/checkpoint/state.safetensors"
STATE_OTHERS = (f"{_RUN}/2/checkpoint/metrics.jsonl", f"{_RUN}/2/checkpoint")


def attempts(bench: Bench, seed: int) -> Iterator[Attempt]:
    """A forged file of each kind in turn, for ever."""
    finished = finished_reference(bench, IMAGES)
    stopped = interrupted_reference(bench, finished)
    number = 0
    while True:
        for reference, places in (
            (finished, DOCUMENTS),
            (finished, WEIGHTS),
            (finished, DOCUMENTS),
            (finished, OTHERS),
            (finished, DOCUMENTS),
            (stopped, (STATE, *STATE_OTHERS)),
        ):
            yield partial(read_forged, reference, places, seed, number)
            number += 1


def read_forged(
    reference: Reference,
    places: tuple[str, ...],
    seed: int,
    number: int,
    bench: Bench,
    folder: Path,
) -> Result:
    """Forge one file, then let every reader read it, and `run` at last."""
    home, random = copied(reference.home, folder / "home"), dice(seed, "forge", number)
    path = home / random.choice(places)
    what = _forge(path, random)
    patience, wrong = SOON if bench.patience else None, []
    readers = [name for name in LOOKING if name != "report" or random.random() < 0.3]
    for reader in readers:
        outcome = read(reader, home, IMAGES, patience).outcome
        said = manners(outcome) + excess(outcome, patience)
        wrong += [f"{reader}: {sentence}" for sentence in said]
    outcome = command("run", *on(IMAGES), folder=home, patience=patience)
    said = manners(outcome) + excess(outcome, patience)
    if outcome.code == 0:
        losses = path.name == "metrics.jsonl" and path.parent.name != "checkpoint"
        expected = less(reference.bits, path, home, outcome) if losses else reference.bits
        said += other_bits(home / "runs", expected)
    wrong += [f"run: {sentence}" for sentence in said]
    place = path.relative_to(home)
    return Result([f"{place}, {what}: {each}" for each in wrong], tried=len(readers) + 1)


def _forge(path: Path, random: Random) -> str:
    """Put something else in the place of a file; what it is."""
    if path.is_dir() or random.random() < 0.25:
        return _replace(path, random)
    if path.suffix == ".safetensors" and random.random() < 0.8:
        name = random.choice(list(TENSORS))
        path.write_bytes(TENSORS[name])
        return name
    if path.suffix == ".json" and random.random() < 0.6:
        name, document = mutated(json.loads(path.read_text()), random)
        vouched = path.name == "manifest.json" and random.random() < 0.8
        path.write_text(json.dumps(with_digest(document) if vouched else document))
        return name + (", vouched for" if vouched else "")
    name = random.choice(list(TEXTS))
    path.write_bytes(TEXTS[name])
    return name


def _replace(path: Path, random: Random) -> str:
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    name = random.choice(list(THINGS))
    THINGS[name](path)
    return name


FORGE = Campaign("forge", "forged files, before every reader", 500, 16, attempts)
