"""Checkpoints of a training: the last one, and the one before it until the next is durable."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from gimstage.errors import DamagedCacheError
from gimstage.files import set_aside
from gimstage.runs.folder import RunFolder
from gimstage.runs.tensors import Header, Stored, read_header, read_tensors, save_tensors


class Checkpoints:
    """What a training goes on from, in two files that are written in turn.

    Args:
        folder: of the training.
        fingerprint: of the training; checkpoints of others are passed over.
    """

    def __init__(self, folder: RunFolder, fingerprint: str) -> None:
        self.folder, self.fingerprint = folder, fingerprint
        self._last: Path | None = None

    def save(self, tensors: Mapping[str, Tensor], *, step: int, metrics: Mapping[str, Any]) -> None:
        """Write a checkpoint in place of the one before the last.

        Raises:
            CheckpointError: it cannot be written; the last one and the one before it stay.
        """
        path = next(each for each in self.folder.states if each != self._last)
        self.folder.path.mkdir(parents=True, exist_ok=True)
        header = {"fingerprint": self.fingerprint, "step": step, "metrics": metrics}
        save_tensors(path, tensors, header)
        self._last = path

    def newest(self, fits: Callable[[Stored], bool]) -> Stored | None:
        """The last whole checkpoint of this training; None where there is none.

        Damaged ones are set aside, and a warning says from where training goes on.

        Args:
            fits: tells whether a checkpoint holds what the training needs.
        """
        for left in self.folder.path.glob(".tmp*"):  # by safetensors, in a process that was killed
            left.unlink()
        damaged: dict[Path, str] = {}
        whole: Stored | None = None
        for path in self._mine(damaged):
            try:
                stored = read_tensors(path)
            except DamagedCacheError as error:
                damaged[path] = error.found
                continue
            if fits(stored):
                whole, self._last = stored, path
                break
            damaged[path] = "does not fit the stage"
        then = f"goes on from step {whole.header['step']}" if whole else "starts anew"
        for path, reason in damaged.items():
            set_aside(path, reason, f"training {then}")
        return whole

    def _mine(self, damaged: dict[Path, str]) -> list[Path]:
        """The checkpoints that say they are of this training, the last first; adds to `damaged`."""
        headers: dict[Path, Header] = {}
        for path in self.folder.states:
            try:
                headers[path] = read_header(path) or {}
            except DamagedCacheError as error:
                damaged[path] = error.found
        mine = [p for p, header in headers.items() if header.get("fingerprint") == self.fingerprint]
        return sorted(mine, key=lambda path: _step(headers[path]), reverse=True)


def _step(header: Header) -> int:
    """The step of a checkpoint whose header is not checked yet."""
    step = header.get("step")
    return step if isinstance(step, int) else -1
