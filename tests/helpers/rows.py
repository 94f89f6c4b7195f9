"""Rows of a small recipe of speech: where they are stored, and how tests read them."""

from pathlib import Path

import numpy as np
import torch

from gimstage.inputs import SequenceSource
from gimstage.views import Spans


def features(home: Path, number: int) -> Path:
    """The store of a stage of the small recipe of speech."""
    return home / f"runs/tiny_audio/{number}/features.zarr"


def read(source: SequenceSource, where: Spans) -> torch.Tensor:
    """The rows of these spans, (B, count, C)."""
    raw = source.fill(source.buffer(len(where), where.count), where)
    return source.prepare(raw, where)


def whole(source: SequenceSource, entry: int) -> torch.Tensor:
    """All rows of an entry, (1, T, C)."""
    return read(source, Spans(np.array([entry]), np.array([0]), int(source.lengths[entry])))
