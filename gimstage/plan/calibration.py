"""How fast this device and this disk are, measured in seconds; what estimates of hours rest on.

    runs/calibration.json     {"device", "read_bytes_per_s", "write_bytes_per_s", "stages"}

Speeds of stages are keyed by the fingerprint of what is computed, without its seeds, so a changed
module is simply not in there yet.
"""

import math
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from gimstage.device import device_name, module_to_device, to_fastest_layout
from gimstage.errors import DamagedCacheError
from gimstage.errors.commands import on_recipe, pasted, removing
from gimstage.files import UnreadableError, read_json, write_json
from gimstage.recipe.chain import Chain
from gimstage.recipe.identity import fingerprint, seedless
from gimstage.stack import new_learners, stand_in_labels, whole_module
from gimstage.train.step import Batch, training_step

SAMPLES = 2  # of a measured step; small, so that it fits any device
DISK_BYTES = 256_000_000
_BLOCK = 1 << 22
_MOST_BYTES = 1 << 24  # of a calibration, far more than any has


@dataclass(frozen=True)
class Calibration:
    """Speeds measured here.

    Args:
        device: what computed.
        read_bytes_per_s: the speed of reading a file that is not in memory.
        write_bytes_per_s: the speed of writing a file, until it is durable.
        stages: by the fingerprint of a chain's modules, seconds per sample of a forward pass and of
            a training step.
    """

    device: str
    read_bytes_per_s: float
    write_bytes_per_s: float
    stages: dict[str, tuple[float, float]]

    def forward_s(self, chain: Chain) -> float:
        """Seconds of a forward pass of the last module over one sample's crop."""
        return self.stages[_key(chain)][0]

    def step_s(self, chain: Chain) -> float:
        """Seconds of a plain training step of the last stage, per sample."""
        return self.stages[_key(chain)][1]

    def covers(self, chain: Chain, device: torch.device) -> bool:
        """Whether the chain's stages were measured, on this device."""
        return self.device == device_name(device) and all(
            _key(part) in self.stages for part in [*chain.below(), chain]
        )


def read_calibration(path: Path) -> Calibration | None:
    """What was measured before; None where nothing was.

    Raises:
        DamagedCacheError: the file is not one that `calibrate` wrote.
    """
    try:
        stored = read_json(path, most_bytes=_MOST_BYTES)
        stages = {key: (float(a), float(b)) for key, (a, b) in stored.pop("stages").items()}
        read, write = (float(stored.pop(f"{verb}_bytes_per_s")) for verb in ("read", "write"))
        if not (read > 0 and write > 0):
            raise ValueError("a speed that nothing can be divided by")
        return Calibration(**stored, read_bytes_per_s=read, write_bytes_per_s=write, stages=stages)
    except FileNotFoundError:
        return None
    except (UnreadableError, ValueError, TypeError, KeyError, AttributeError) as error:
        cure = f"run {pasted(*removing(path), on_recipe('plan', '--calibrate', root=path.parent))}"
        raise DamagedCacheError(str(path), "not a calibration", cure=cure) from error


def calibrate(chains: list[Chain], device: torch.device, path: Path, *, again: bool) -> Calibration:
    """Measure the disk, and a forward pass and a step of every stage, and keep the figures.

    Args:
        chains: the stages; those below them are measured too.
        device: where to compute.
        path: the file to write; its folder lies on the disk to measure.
        again: whether what was measured before on this device is measured again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    before = read_calibration(path)
    if before and before.device != device_name(device):
        before = None
    if before and not again:
        made = measured(chains, device, before)
    else:
        write, read = _disk(path.parent)
        known = before.stages if before else {}
        stages = known | {key: _stage(part, device) for key, part in _parts(chains).items()}
        made = Calibration(device_name(device), read, write, stages)
    write_json(path, asdict(made))
    return made


def measured(chains: list[Chain], device: torch.device, before: Calibration | None) -> Calibration:
    """What was measured before, and the stages that it lacks, measured now; nothing is written.

    Without a measurement of before, the disk counts as one that takes no time.

    Args:
        chains: the stages; those below them are measured too.
        device: where to compute.
        before: what was measured before, on whatever device.
    """
    if before is None or before.device != device_name(device):
        before = Calibration(device_name(device), math.inf, math.inf, {})
    lacking = {key: part for key, part in _parts(chains).items() if key not in before.stages}
    stages = before.stages | {key: _stage(part, device) for key, part in lacking.items()}
    return replace(before, stages=stages)


def _parts(chains: list[Chain]) -> dict[str, Chain]:
    """The stages and all below them, by what their speeds are kept under."""
    return {_key(part): part for chain in chains for part in [*chain.below(), chain]}


def _key(chain: Chain) -> str:
    return fingerprint(seedless(chain.weights_identity("")))


def _stage(chain: Chain, device: torch.device) -> tuple[float, float]:
    """Seconds per sample of a forward pass, and of a step."""
    learners = new_learners(chain)
    module = module_to_device(whole_module(learners), device)
    objectives = torch.nn.ModuleList(learner.objective for learner in learners).to(device)
    optimiser = torch.optim.Adam([*module.parameters(), *objectives.parameters()], lr=1e-6)
    shape = chain.modality.crop_shape(chain.shapes()[-2])
    batch = to_fastest_layout(torch.randn(SAMPLES, *shape).to(device), module.reads)

    @torch.no_grad()
    def forward() -> None:
        module(batch)

    def step() -> None:
        training_step(
            learners,
            Batch(
                load=lambda first, last: batch[first:last],
                count=SAMPLES,
                labels=stand_in_labels(chain, SAMPLES),
                rngs=[torch.Generator() for _ in learners],
            ),
            optimiser=optimiser,
            precision=chain.last.spec.train.precision,
            micro_batch=SAMPLES,
            due=[True for _ in learners],
        )

    return _seconds(forward, device) / SAMPLES, _seconds(step, device) / SAMPLES


def _seconds(work: Callable[[], None], device: torch.device) -> float:
    """The faster of two runs, after one that is not counted."""
    times = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began)
    return min(times[1:])


def _disk(folder: Path) -> tuple[float, float]:
    """Bytes per second written until durable, and read back from the disk itself."""
    block = os.urandom(_BLOCK)
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        began = time.perf_counter()
        for _ in range(DISK_BYTES // _BLOCK):
            file.write(block)
        os.fsync(file.fileno())
        write = time.perf_counter() - began
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        began = time.perf_counter()
        while file.read(_BLOCK):
            pass
        return DISK_BYTES / write, DISK_BYTES / (time.perf_counter() - began)
