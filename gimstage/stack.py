"""Modules of a chain: newly initialised, loaded from a run, frozen, applied in tiles.

A unit is what a module encodes alone: a patch, a sequence, a grid of patches, or a map.
Shape letters: B batch, C channels, y x map inside a patch, T rows in time.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import shorten

import torch
from torch import Tensor, nn

from gimstage.device import to_fastest_layout
from gimstage.draws import NotInitialising, initialising
from gimstage.errors import (
    BusyError,
    CacheError,
    DamagedCacheError,
    GimstageError,
    StaleCacheError,
)
from gimstage.errors.commands import finishing, making_anew, pasted, running
from gimstage.modules import EncoderModule, joined
from gimstage.modules.base import Reads
from gimstage.objectives import Objective
from gimstage.recipe.chain import Chain
from gimstage.runs.finished import Finished
from gimstage.runs.folder import RunFolder
from gimstage.runs.manifest import Manifest
from gimstage.runs.state import Runs
from gimstage.runs.tensors import read_tensors

# Units encoded at once where no gradient is kept. The result must not depend on the batch size, and
# small tiles stay inside the processor's cache.
TILE_UNITS: dict[Reads, int] = {"sequence": 4, "patch": 256, "grid": 4, "map": 1}
LOOKS = 5  # at most, at manifests of stages that are trained again meanwhile


@dataclass(frozen=True)
class Learner:
    """A module and the loss that trains it, and nothing else.

    Args:
        module: one module, or several joined that one loss trains end to end.
        objective: its loss.
        position: number of its last module, counted from 1 at the data.
        update_every: at every how many steps it is updated.
    """

    module: EncoderModule
    objective: Objective
    position: int
    update_every: int


def new_learners(chain: Chain) -> list[Learner]:
    """The last stage's modules with their losses, initialised from its seed.

    A module's initial weights depend on its position alone, so they are the same whether modules
    are trained one after another, side by side or end to end.
    """
    spec, shape = chain.last.spec, chain.shapes()[-2]
    channels = chain.modules()[-1].in_channels
    learners: list[Learner] = []
    waiting: list[EncoderModule] = []
    for position, (part, loss) in enumerate(
        zip(spec.parts, spec.losses, strict=True), start=chain.first_position
    ):
        with initialising(spec.train.seed, position):
            waiting.append(part.build(channels))
            channels = waiting[-1].out_channels
            if loss is None:
                continue
            module = joined(waiting)
            unit = chain.modality.unit_of(module, shape)
            objective = loss.build(module, unit, chain.modality.crop_frames)
        learners.append(Learner(module, objective, position, part.update_every or 1))
        shape, waiting = chain.after(module, shape), []
    return learners


def whole_module(learners: Sequence[Learner]) -> EncoderModule:
    """The modules of all learners as one."""
    return joined([learner.module for learner in learners])


def whole_objective(learners: Sequence[Learner]) -> nn.Module:
    """The losses of all learners as one module; that of a single learner as it is."""
    losses = [learner.objective for learner in learners]
    return losses[0] if len(losses) == 1 else nn.ModuleList(losses)


def own_classifiers(runs: Runs, chain: Chain) -> dict[str, nn.Module]:
    """What the last stage's supervised losses classify samples with, by key of module, as trained.

    Raises:
        StaleCacheError: the stage is not done.
        DamagedCacheError: its objective is damaged.
    """
    digest, path = runs.require(chain).objective_sha256, runs.stage_folder(chain).objective
    learners, keys = new_learners(chain), chain.last.module_keys
    load_weights(whole_objective(learners), path, sha256=digest)
    return {
        keys[learner.position - chain.first_position]: classifier.requires_grad_(False)
        for learner in learners
        if (classifier := learner.objective.classifier) is not None
    }


def new_module(chain: Chain) -> EncoderModule:
    """The last stage's module, initialised from its seed; several as one."""
    return whole_module(new_learners(chain))


def stand_in_labels(chain: Chain, count: int) -> Tensor | None:
    """Labels of a batch in form only, for the last stage's losses; None where they need none."""
    kinds = chain.label_kinds
    if not kinds:
        return None
    frames = chain.modality.crop_frames or 0
    return torch.zeros((count, frames) if "frame" in kinds else (count,)).long()


class Stack(nn.Module):
    """Frozen modules in a row, from the data up.

    Args:
        modules: module of each stage, lowest first.
        names: the names of every module, those of a stage with several one by one.
    """

    def __init__(self, modules: Sequence[EncoderModule], names: Sequence[str]) -> None:
        super().__init__()
        self.parts = tuple(part for module in modules for part in module.parts)
        self.stages = nn.ModuleList(modules).requires_grad_(False).eval()
        self.names = list(names)
        # Below and above a module on whole grids, patches come in grids too.
        self.unit_axes = max(part.unit_axes for part in self.parts)
        self.tile_units = min(TILE_UNITS[part.reads] for part in self.parts)

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
        return x.ndim - self.unit_axes

    def _tiles(self, x: Tensor) -> tuple[Tensor, ...]:
        """A few units at a time, (n, …)."""
        flat = to_fastest_layout(x, self.parts[0].reads).flatten(0, self._units(x) - 1)
        tiles: tuple[Tensor, ...] = flat.split(self.tile_units)
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
    return _stack(chain, [new_module(part) for part in [*chain.below(), chain]])


def trained_stack(runs: Runs, chain: Chain) -> Stack:
    """The chain's modules as trained.

    Raises:
        StaleCacheError: one of the stages is not done.
        DamagedCacheError: its weights are damaged.
    """
    return _stack(chain, [trained_module(runs, part) for part in [*chain.below(), chain]])


def trained_module(runs: Runs, chain: Chain) -> EncoderModule:
    """The last stage's module as trained; raises as `trained_stack`."""
    digest, path = runs.require(chain).weights_sha256, runs.stage_folder(chain).weights
    module = new_module(chain)
    load_weights(module, path, sha256=digest)
    return module


def load_weights(module: nn.Module, path: Path, *, sha256: str | None) -> None:
    """Fill a module, or an objective, with what a file holds of it, once that is checked.

    Args:
        module: what is filled.
        path: the file, which is read once.
        sha256: as of `read_tensors`.

    Raises:
        DamagedCacheError: the file is missing or damaged, or of another module.
        CacheError: it may not be read.
    """
    tensors = read_tensors(path, sha256=sha256).tensors
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        found = f"weights of another module: {_shortened(error)}"
        raise DamagedCacheError(str(path), found, cure=making_anew(path)) from error


def _shortened(error: Exception) -> str:
    """What an error of torch, or of a class from outside, says, on one line."""
    return shorten(str(error) or type(error).__name__, 200, placeholder=" …")


def _stack(chain: Chain, modules: list[EncoderModule]) -> Stack:
    return Stack(modules, [key for stage in chain.stages for key in stage.module_keys])


def stack_from_manifests(folder: Path, *, trust: bool = False) -> Stack:
    """The frozen modules up to the finished stage in `folder`, from its manifests alone.

    Args:
        folder: the folder of the stage.
        trust: whether modules from outside the package may be imported.

    Raises:
        StaleCacheError: there is no finished stage, or one below it has other weights by now.
        DamagedCacheError: manifests or weights are damaged, or do not belong together.
        CacheError: a file may not be read, or is of a newer gimstage.
        BusyError: stages are trained again and again while they are read.
    """
    finished = _finished_from_data_to(folder)
    for _ in range(LOOKS):
        try:
            return _loaded(finished, trust=trust)
        except DamagedCacheError:
            before, finished = finished, _finished_from_data_to(folder)
            if finished == before:
                raise
    expected, cure = "stages that stay as they are", "load it when that is over"
    raise BusyError(str(folder), "trained again while it was read", expected, cure)


def _loaded(finished: list[tuple[RunFolder, Manifest]], *, trust: bool) -> Stack:
    """The stack of stages, the lowest first, of exactly the weights that their manifests name."""
    path, manifest = finished[-1][0].manifest_path, finished[-1][1]
    chain = manifest.chain(trust=trust)
    if len(chain.stages) != len(finished):
        found = f"{len(chain.stages)} stages in its identity, {len(finished)} by upstream"
        raise DamagedCacheError(str(path), found, cure=making_anew(path))
    try:
        with NotInitialising():
            modules = chain.new_modules()
    except GimstageError:
        raise
    except Exception as error:  # whatever a class from outside may do
        found = f"modules that cannot be built: {_shortened(error)}"
        raise DamagedCacheError(str(path), found, cure=making_anew(path)) from error
    names: list[str] = []
    for stage, module, (place, record) in zip(chain.stages, modules, finished, strict=True):
        load_weights(module, place.weights, sha256=record.weights_sha256)
        run, _, number = record.stage.rpartition("/")
        names += replace(stage, recipe=run, number=int(number)).module_keys
    return Stack(modules, names)


def _finished_from_data_to(folder: Path) -> list[tuple[RunFolder, Manifest]]:
    """The stages up to the one in a folder, the lowest first, as their manifests tie them."""
    stages = [(RunFolder(folder), _finished(folder, None))]
    while (upstream := stages[0][1].upstream) is not None:
        place, weights = stages[0][0], stages[0][1].upstream_weights_sha256
        below = _finished_below(place.path.absolute().parent.parent, upstream.stage, weights)
        if weights is None or below[1] in [manifest for _, manifest in stages]:
            found = "a circle of stages" if weights else "no upstream_weights_sha256 inside"
            raise DamagedCacheError(
                str(place.manifest_path), found, cure=making_anew(place.manifest_path)
            )
        stages.insert(0, below)
    return stages


def _finished_below(root: Path, key: str, weights_sha256: str | None) -> tuple[RunFolder, Manifest]:
    """The stage of a key with such weights, or where else in the runs folder it lies finished."""
    own = RunFolder(root / key)
    try:
        return own, _finished(own.path, weights_sha256)
    except CacheError:
        for folder in Finished(root).mentioning(filter(None, [weights_sha256]), beside=own):
            with suppress(CacheError):
                manifest = folder.manifest()
                if manifest is not None and manifest.weights_sha256 == weights_sha256:
                    return folder, manifest
        raise


def _finished(folder: Path, weights_sha256: str | None) -> Manifest:
    manifest = RunFolder(folder).manifest()
    if manifest is None:
        cure = finishing(folder)
        raise StaleCacheError(str(folder), "no finished stage", "a manifest.json", cure)
    if weights_sha256 not in (None, manifest.weights_sha256):
        cure = f"run {pasted(running(folder))} to bring all stages up to date"
        raise StaleCacheError(str(folder), "trained again since the stage above", cure=cure)
    return manifest
