"""One flipped bit in a file that a run left or reads, the file's time of change kept.

Whoever looks says so, or shows what an undisturbed run shows; `verify` finds it; `run` ends in the
bits of an undisturbed run, and says which file it made anew, or refuses and names the file. What
cannot be told from what is right, such as a blank in JSON, changes nothing.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from trust.bench import Attempt, Bench, Campaign, Result, dice, excess
from trust.homes import IMAGES, SPEECH, copied, on
from trust.judge import bits, complaint, files, less, litter, manners, other_bits, same
from trust.readers import LOOKING, read
from trust.references import Reference, finished_reference, interrupted_reference, shown
from trust.warm import Outcome, command

STAGE = f"runs/{IMAGES}/[12]"
ZARR = f"{STAGE}/features.zarr"
IMAGE_DATA = "runs/data/demo-[0-9]*"
SPEECH_DATA = "runs/data/demo-speech-*"


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Args:
        name: of the kind.
        pattern: which files of a home are of it.
        recipe: whose home.
        last: only the last bytes of a file are flipped; all where 0.
        read_by: what is removed below the recipe's runs, so that `run` reads the file again.
        listed: whether `verify` answers for it.
        data: whether a run reads and does not make it.
        unseen: readers that do not look at its bytes, as they say themselves.
        without: whether a run may go on without it, if it says so.
    """

    name: str
    pattern: str
    recipe: str = IMAGES
    last: int = 0
    read_by: tuple[str, ...] = ()
    listed: bool = True
    data: bool = False
    unseen: tuple[str, ...] = ()
    without: bool = False


KINDS = (
    Kind("weights", f"{STAGE}/weights.safetensors"),
    Kind("objective", f"{STAGE}/objective.safetensors"),
    Kind("shard", f"runs/{IMAGES}/1/features.zarr/features/c.*", read_by=("2",), unseen=("open",)),
    Kind("index of a shard", f"{ZARR}/features/c.*", last=20),
    Kind("small array", f"{ZARR}/[!fc]*/c.*"),
    Kind("zarr.json", f"{ZARR}/**/zarr.json"),
    Kind("manifest of a stage", f"{STAGE}/manifest.json"),
    Kind("manifest of a probe", f"runs/{IMAGES}/probe/manifest.json"),
    Kind("metrics", f"{STAGE}/metrics.jsonl", without=True),
    Kind("memory", f"{STAGE}/memory.json"),
    Kind("memo of digests", "runs/data/fingerprints.json", listed=False),
    Kind("calibration", "runs/calibration.json", listed=False),
    Kind("predictions", "runs/predictions.json", listed=False),
    Kind("pixels", f"{IMAGE_DATA}/*_X.bin", data=True),
    Kind("labels", f"{IMAGE_DATA}/*_y.bin", data=True),
    Kind("names of classes", f"{IMAGE_DATA}/class_names.txt", data=True),
    Kind(
        "features of speech",
        f"runs/{SPEECH}/1/features.zarr/*/c.*",
        SPEECH,
        read_by=("2",),
        unseen=("open",),
    ),
    Kind("manifest of speech", f"runs/{SPEECH}/*/manifest.json", SPEECH),
    Kind("sound", f"{SPEECH_DATA}/**/*.flac", SPEECH, data=True),
    Kind("phones", f"{SPEECH_DATA}/*/converted*.txt", SPEECH, data=True),
    Kind("lists", f"{SPEECH_DATA}/*/*_split.txt", SPEECH, data=True),
)
STATE = Kind("state of a checkpoint", f"{STAGE}/checkpoint/state*", listed=False)
STATE_METRICS = Kind("metrics of a checkpoint", f"{STAGE}/checkpoint/metrics*", listed=False)


def attempts(bench: Bench, seed: int) -> Iterator[Attempt]:
    """A flip in a file of each kind in turn, for ever."""
    finished = {name: finished_reference(bench, name) for name in (IMAGES, SPEECH)}
    stopped = interrupted_reference(bench, finished[IMAGES])
    number = 0
    while True:
        for kind in KINDS:
            yield partial(flip_finished, kind, finished[kind.recipe], seed, number)
            number += 1
        for kind in (STATE, STATE_METRICS, STATE):
            yield partial(flip_checkpoint, kind, stopped, seed, number)
            number += 1


def flip_finished(
    kind: Kind, reference: Reference, seed: int, number: int, bench: Bench, folder: Path
) -> Result:
    """Flip a bit of a finished run or of its data; look, verify, run."""
    home, random = copied(reference.home, folder / "home"), dice(seed, "flips", number)
    path, before = _flipped(home, kind, seed, number)
    reader = random.choice([name for name in LOOKING if name not in kind.unseen])
    wrong = _look(reader, home, reference, bench)
    unharmed = same(path, before)
    if kind.listed:
        verified = command("verify", *on(reference.recipe), folder=home, patience=bench.patience)
        wrong += manners(verified) + excess(verified, bench.patience)
        if verified.code == 0 and not unharmed:
            wrong.append("verify says that all is well")
    for name in kind.read_by:
        shutil.rmtree(home / "runs" / reference.recipe / name)
    again = partial(command, "run", *on(reference.recipe), folder=home, patience=bench.patience)
    if kind.data:
        wrong += _trained_on_damage(home, path, before, reference, again)
    else:
        wrong += _made_good(home, path, reference, again(), without=kind.without)
    return Result([f"{kind.name} ({path.relative_to(home)}): {each}" for each in wrong])


def _flipped(home: Path, kind: Kind, seed: int, number: int) -> tuple[Path, bytes]:
    """Flip one bit in one file of a kind; the file, and what it held."""
    random = dice(seed, "bit", number)
    path = random.choice(sorted(p for p in home.glob(kind.pattern) if p.stat().st_size))
    before, times = path.read_bytes(), path.stat()
    first = len(before) - kind.last if kind.last else 0
    place, bit = random.randrange(first, len(before)), random.randrange(8)
    after = bytearray(before)
    after[place] ^= 1 << bit
    path.write_bytes(after)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return path, before


def _look(reader: str, home: Path, reference: Reference, bench: Bench) -> list[str]:
    """What is wrong with what a reader shows of damaged files."""
    reading = read(reader, home, reference.recipe, bench.patience)
    wrong = manners(reading.outcome) + excess(reading.outcome, bench.patience)
    place = bench.place / f"looked-{reference.recipe}-{reader}-{os.getpid()}"
    if not reading.told and reading.shown != shown(reference, reader, place):
        wrong.append("shows something else, and says nothing")
    return [f"{reader}: {each}" for each in wrong]


def _made_good(
    home: Path, path: Path, reference: Reference, outcome: Outcome, *, without: bool
) -> list[str]:
    """What is wrong after the same command again, over damage that it can mend."""
    wrong = manners(outcome)
    if outcome.code != 0:
        return [*wrong, f"run exits {outcome.code}: {complaint(outcome)}"]
    expected = less(reference.bits, path, home, outcome) if without else reference.bits
    wrong += [f"in silence, {each}" for each in other_bits(home / "runs", expected)]
    set_aside = {name for name in files(home / "runs") if Path(name).name.startswith(path.name)}
    return wrong + litter(home / "runs", reference.files | set_aside)


def _trained_on_damage(
    home: Path, path: Path, before: bytes, reference: Reference, again: partial[Outcome]
) -> list[str]:
    """What is wrong after a training that reads damaged data, and after that was made good."""
    shutil.rmtree(home / "runs" / reference.recipe)
    outcome = again()
    wrong = manners(outcome)
    if outcome.code == 0:
        wrong += _committed_as_before(home, reference)
    elif outcome.code == 1 and path.name not in outcome.text and str(path.parent) in outcome.text:
        wrong.append(f"does not name the file: {complaint(outcome)}")
    path.write_bytes(before)
    outcome = again()
    if outcome.code != 0:
        return [*wrong, f"with its data made good, run exits {outcome.code}: {complaint(outcome)}"]
    return wrong + [f"made good, {each}" for each in other_bits(home / "runs", reference.bits)]


def _committed_as_before(home: Path, reference: Reference) -> list[str]:
    """Files of other bits under a manifest that says what the undisturbed one says."""
    now = bits(home / "runs")
    manifests = [name for name in reference.bits if name.endswith("manifest.json")]
    unchanged = [Path(name).parent for name in manifests if now.get(name) == reference.bits[name]]
    return [
        f"in silence, {name} differs under the same manifest"
        for name, digest in reference.bits.items()
        if any(folder in Path(name).parents for folder in unchanged) and now.get(name) != digest
    ]


def flip_checkpoint(
    kind: Kind, reference: Reference, seed: int, number: int, bench: Bench, folder: Path
) -> Result:
    """Flip a bit of what an interrupted training goes on from, then go on."""
    home = copied(reference.home, folder / "home")
    path, _ = _flipped(home, kind, seed, number)
    looked = command("status", *on(reference.recipe), folder=home, patience=bench.patience)
    wrong = manners(looked)
    outcome = command("run", *on(reference.recipe), folder=home, patience=bench.patience)
    wrong += manners(outcome) + excess(outcome, bench.patience)
    if outcome.code != 0:
        wrong.append(f"run exits {outcome.code}: {complaint(outcome)}")
    else:
        wrong += [f"in silence, {each}" for each in other_bits(home / "runs", reference.bits)]
        wrong += litter(home / "runs", reference.files)
    return Result([f"{kind.name} ({path.relative_to(home)}): {each}" for each in wrong])


FLIPS = Campaign("flips", "flipped bits, read and made good", 1000, 16, attempts)
