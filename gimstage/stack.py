"""Modules of a chain: newly initialised, loaded from a run, frozen, applied in tiles.

A unit is what a module encodes alone: a patch, or a sequence.
Shape letters: B batch, C channels, y x map inside a patch, T rows in time.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from gimstage.chain import Chain
from gimstage.device import laid_out
from gimstage.draws import initialising
from gimstage.errors import StaleCacheError
from gimstage.folder import RunFolder
from gimstage.modules import EncoderModule
from gimstage.objectives import Objective
from gimstage.runs import Runs
from gimstage.specs import DATA_SPECS, ModuleSpec
from gimstage.tensors import read_tensors

# Units encoded at once where no gradient is kept, by their number of axes, sequences or patches:
# the result must not depend on the batch size, and small tiles stay inside the processor's cache.
TILE_UNITS = {2: 4, 3: 256}


def new_parts(chain: Chain) -> tuple[EncoderModule, Objective]:
    """The last stage's module and objective, initialised from its seed."""
    channels = chain.modules()[-1].in_channels
    with initialising(chain.last.spec.train.seed, len(chain.stages)):
        module: EncoderModule = chain.last.spec.module.build(channels)
        objective = chain.last.spec.objective.build(module)
    return module, objective


class Stack(nn.Module):
    """Frozen modules in a row, from the data up.

    Args:
        modules: module of each stage, lowest first.
        names: `RECIPE/NUMBER` of each stage.
    """

    def __init__(self, modules: Sequence[EncoderModule], names: list[str]) -> None:
        super().__init__()
        self.parts = tuple(modules)
        self.stages = nn.ModuleList(modules).requires_grad_(False).eval()
        self.names = names

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """The top module's features of its input: patches (…, C, y, x) or sequences (B, T, C)."""
        tiles = [self._features(tile) for tile in self._tiles(x)]
        features: Tensor = torch.cat(tiles).unflatten(0, x.shape[: self._units(x)])
        return features

    @torch.no_grad()
    def codes(self, x: Tensor) -> dict[str, Tensor]:
        """Every module's codes, float32: (…, C') of patches (…, C, y, x), or (B, T', C')."""
        tiles = [self._codes(tile) for tile in self._tiles(x)]
        units = x.shape[: self._units(x)]
        return {n: torch.cat([t[n] for t in tiles]).unflatten(0, units) for n in self.names}

    def _units(self, x: Tensor) -> int:
        """How many leading axes of an input count units."""
        return x.ndim - self.parts[0].unit_axes

    def _tiles(self, x: Tensor) -> tuple[Tensor, ...]:
        """A few units at a time, (n, …)."""
        flat = laid_out(x).flatten(0, self._units(x) - 1)
        tiles: tuple[Tensor, ...] = flat.split(TILE_UNITS[self.parts[0].unit_axes])
        return tiles

    def _features(self, x: Tensor) -> Tensor:
        for module in self.parts:
            x = module(x)
        return x

    def _codes(self, x: Tensor) -> dict[str, Tensor]:
        codes = {}
        for name, module in zip(self.names, self.parts, strict=True):
            x = module(x)
            codes[name] = module.pool(x).float()
        return codes


def random_stack(chain: Chain) -> Stack:
    """The chain's modules as they are before training."""
    parts = [new_parts(part)[0] for part in [*chain.below(), chain]]
    return Stack(parts, [stage.key for stage in chain.stages])


def trained_stack(runs: Runs, chain: Chain) -> Stack:
    """The chain's modules as trained.

    Raises:
        StaleCacheError: one of the stages is not done.
        DamagedCacheError: its weights are damaged.
    """
    stack = random_stack(chain)
    for module, part in zip(stack.parts, [*chain.below(), chain], strict=True):
        runs.require(part)
        module.load_state_dict(read_tensors(runs.stage_folder(part).weights))
    return stack


def stack_from_manifests(folder: Path) -> Stack:
    """The frozen modules up to the finished stage in `folder`, from its manifests alone.

    Raises:
        StaleCacheError: there is no finished stage, or one below it has other weights by now.
        DamagedCacheError: a manifest or weights are damaged.
    """
    modules: list[EncoderModule] = []
    names: list[str] = []
    below: Path | None = folder
    weights = None
    while below is not None:
        manifest = _finished(below, weights)
        modules.insert(0, _module_of(manifest))
        modules[0].load_state_dict(read_tensors(RunFolder(below).weights))
        names.insert(0, manifest["stage"])
        weights, upstream = manifest["upstream_weights_sha256"], manifest["upstream"]
        below = below.parent.parent / upstream["stage"] if upstream else None
    return Stack(modules, names)


def _finished(folder: Path, weights_sha256: str | None) -> dict[str, Any]:
    manifest = RunFolder(folder).manifest()
    if manifest is None:
        raise StaleCacheError(str(folder), "no finished stage", "a manifest.json")
    if weights_sha256 not in (None, manifest["weights_sha256"]):
        cure = "run `gimstage run` to bring all stages up to date"
        raise StaleCacheError(str(folder), "trained again since the stage above", "", cure)
    return manifest


def _module_of(manifest: Mapping[str, Any]) -> EncoderModule:
    """The module of a manifest's own stage, its weights still random."""
    identity = manifest["identity"]
    kind = DATA_SPECS[identity["data"]["source"]]
    channels = kind.model_construct(**identity["data"]).in_channels
    for key, part in identity.items():
        if key.startswith("stage "):
            spec = TypeAdapter[ModuleSpec](ModuleSpec).validate_python(part["module"])
            module: EncoderModule = spec.build(channels)
            channels = module.out_channels
    return module
