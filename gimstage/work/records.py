"""What a stage's manifest says of its training and of the memory that took."""

from contextlib import suppress
from pathlib import Path

import torch
from pydantic import ValidationError

from gimstage.files import UnreadableError, read_json
from gimstage.runs.manifest import MemoryRecord, TrainingRecord
from gimstage.train.metrics import read_lines

MEMORY_BYTES = 1 << 16  # of memory.json, far more than it has


def training_record(metrics: Path, samples: int) -> TrainingRecord:
    """How a training on so many samples went, as metrics.jsonl tells it, for the manifest."""
    lines = read_lines(metrics)
    with suppress(IndexError, KeyError, ValidationError):
        first, last = lines[0], lines[-1]
        return TrainingRecord(
            samples=samples, steps=last["step"], seconds=last["seconds"], first=first, last=last
        )
    # Lost, perhaps in a power cut; the weights are not.
    return TrainingRecord(samples=samples, steps=None, seconds=None)


def memory_record(path: Path) -> MemoryRecord | None:
    """What `memory.json` says; None where it is lost, or says something else.

    Raises:
        OSError: the system cannot read it now; what it says is not given up for that.
    """
    with suppress(FileNotFoundError, UnreadableError, ValidationError):
        return MemoryRecord.model_validate(read_json(path, most_bytes=MEMORY_BYTES))
    return None


def measured_memory(device: torch.device) -> dict[str, int | None]:
    """The most bytes of GPU memory since `cap_memory`; None on other devices."""
    on_gpu = device.type == "cuda"
    return {
        "measured_allocated_bytes": torch.cuda.max_memory_allocated(device) if on_gpu else None,
        "measured_reserved_bytes": torch.cuda.max_memory_reserved(device) if on_gpu else None,
    }
