"""Modules of a chain: newly initialised, loaded from a run, frozen, applied in tiles.

Shape letters: B batch, G patches per side of a grid, C channels, y x map inside a patch.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gimstage.device import laid_out
from gimstage.draws import initialising
from gimstage.errors import StaleCacheError
from gimstage.modules import EncoderModule
from gimstage.objectives import Objective
from gimstage.recipe import Chain
from gimstage.runs import RunFolder, Runs
from gimstage.specs import ResNetSpec
from gimstage.tensors import read_tensors

# Patches encoded at once where no gradient is kept: the result must not depend on the batch size,
# and small tiles stay inside the processor's cache.
TILE_PATCHES = 256


def new_parts(chain: Chain) -> tuple[EncoderModule, Objective]:
    """The last stage's module and objective, initialised from its seed."""
    channels = chain.shapes()[-2][0]
    with initialising(chain.last.spec.train.seed, len(chain.stages)):
        module = chain.last.spec.module.build(channels)
        objective = chain.last.spec.objective.build(module.out_channels)
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
    def forward(self, patches: Tensor) -> Tensor:
        """The top module's features (B, G, G, C', y', x') of its input (B, G, G, C, y, x)."""
        return _tiled(self._features, patches)

    @torch.no_grad()
    def codes(self, patches: Tensor) -> dict[str, Tensor]:
        """Every module's codes, (B, G, G, C') float32, of patches (B, G, G, C, P, P)."""
        flat = laid_out(patches).flatten(0, 2)
        tiles = [self._codes(tile) for tile in flat.split(TILE_PATCHES)]
        grid = patches.shape[:3]
        return {n: torch.cat([t[n] for t in tiles]).unflatten(0, grid) for n in self.names}

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


def _tiled(function: Callable[[Tensor], Tensor], patches: Tensor) -> Tensor:
    flat = laid_out(patches).flatten(0, 2)
    tiles = [function(tile) for tile in flat.split(TILE_PATCHES)]
    features: Tensor = torch.cat(tiles).unflatten(0, patches.shape[:3])
    return features


def random_stack(chain: Chain) -> Stack:
    """The chain's modules as they are before training."""
    parts = [new_parts(part)[0] for part in _prefixes(chain)]
    return Stack(parts, [stage.key for stage in chain.stages])


def trained_stack(runs: Runs, chain: Chain) -> Stack:
    """The chain's modules as trained.

    Raises:
        StaleCacheError: one of the stages is not done.
        DamagedCacheError: its weights are damaged.
    """
    stack = random_stack(chain)
    for module, part in zip(stack.parts, _prefixes(chain), strict=True):
        runs.require(part)
        module.load_state_dict(read_tensors(runs.stage_folder(part).weights))
    return stack


def _prefixes(chain: Chain) -> list[Chain]:
    """The chains of every stage of a chain, lowest first."""
    return [Chain(chain.data, chain.stages[: i + 1]) for i in range(len(chain.stages))]


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
    channels = len(identity["data"]["mean"])
    for key, part in identity.items():
        if key.startswith("stage "):
            module = ResNetSpec.model_validate(part["module"]).build(channels)
            channels = module.out_channels
    return module
