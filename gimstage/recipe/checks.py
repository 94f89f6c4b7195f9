"""What no single TOML file can be wrong about: stages that do not fit their data or each other."""

from collections.abc import Sequence

from gimstage.errors import RecipeError
from gimstage.modules import ResNetModule
from gimstage.recipe.chain import Chain
from gimstage.specs import (
    DataSpec,
    InfoNCESpec,
    ModuleSpec,
    ObjectiveSpec,
    ProbeSpec,
    SupervisedSpec,
)

NEIGHBOURHOOD = 3  # patches a side that a global code of Deep InfoMax sees
_ON_SPEECH = {"conv1d", "gru", "conv1d_gru"}
_ON_GRIDS = {"pixelcnn", "folded_alexnet"}
_FITTING = {  # losses of modules whose codes are not one per patch, or nothing of their own
    "folded_alexnet": {"deep_infomax"},
    "vgg_layer": {"predsim"},
    "identity": {"supervised"},
}
_REMOVE = "remove the table"
_ONE_PATCH = "set patch_px = crop_px in [views]: its loss is of whole images"


def check_kind(chain: Chain) -> None:
    """Refuse modules that cannot read this data or each other, and keys that say nothing of it."""
    where, modality = f"stage {chain.last.key}", chain.modality
    side = modality.crop_patches
    _check_parts(chain, where)
    _check_sizes(chain, where)
    modality.refuse(chain.last.spec, chain.modules(), where)
    for part, loss in zip(chain.last.spec.parts, chain.last.spec.losses, strict=True):
        if loss is not None:
            _check_loss(part, loss, where, mode=chain.last.spec.mode, crop_patches=side)


def _check_parts(chain: Chain, where: str) -> None:
    """Refuse modules that do not suit the data, or in an order in which they cannot be."""
    kinds, speech = [part.kind for part in chain.last.spec.parts], chain.crop_frames is not None
    for kind in kinds:
        if (kind in _ON_SPEECH) != speech:
            suited = '"conv1d", "gru" or "conv1d_gru"' if speech else "one for images"
            found = f'"{kind}" on source = "{chain.data.source}"'
            raise RecipeError(f"{where} [module] kind", found, suited)
    if set(kinds) == {"identity"}:
        raise RecipeError(f"{where} [module] kind", '"identity" alone', "a module with weights")
    if len(kinds) > 1 and _ON_GRIDS & {*kinds}:
        kind = next(kind for kind in kinds if kind in _ON_GRIDS)
        found = f'"{kind}", which encodes whole grids, among {len(kinds)} modules'
        raise RecipeError(f"{where} [[modules]] kind", found, "it in a stage of its own")
    for kind in kinds[:-1]:
        if kind in ("gru", "conv1d_gru"):
            found = f'"{kind}" before the last'
            raise RecipeError(f"{where} [[modules]] kind", found, "a recurrent module at the end")


def _check_sizes(chain: Chain, where: str) -> None:
    """Refuse modules of which nothing comes out, and batches too small for their statistics."""
    shape = chain.shapes()[-2]
    for number, part in enumerate(chain.modules()[-1].parts, start=1):
        if part.reads == "grid" and chain.unit_of(part, shape)[0] < NEIGHBOURHOOD:
            expected = f"crops of {NEIGHBOURHOOD} × {NEIGHBOURHOOD} patches or more"
            found = f'"{chain.last.spec.parts[0].kind}" on smaller ones'
            raise RecipeError(f"{where} [module] kind", found, expected)
        shape = chain.after(part, shape)
        if min(shape) < 1:
            size = " × ".join(map(str, shape))
            found = f"module {number}, of which {size} would come out"
            cure = "choose smaller kernels and strides, or larger patches or crops"
            raise RecipeError(f"{where} [module]", found, "at least 1 of each", cure)
    module, batch = chain.modules()[-1], chain.last.spec.train.batch_size
    if module.uses_batch_statistics and batch < 2:
        found, expected = "1, for a module with batch statistics", "at least 2"
        raise RecipeError(f"{where} [train] batch_size", found, expected)


def _check_loss(
    part: ModuleSpec,
    loss: ObjectiveSpec,
    where: str,
    *,
    mode: str | None,
    crop_patches: int | None,
) -> None:
    """Refuse a loss that does not suit its module or the data."""
    context, speech = getattr(loss, "context", None), crop_patches is None
    if context is not None and (context.kind == "gru") != speech:
        found = f'kind = "{context.kind}" for {"speech" if speech else "images"}'
        expected = f'"{"gru" if speech else "pixelcnn"}"'
        raise RecipeError(f"{where} [objective.context]", found, expected, _REMOVE)
    if loss.labelled == "frame" and not speech:
        raise RecipeError(f"{where} [objective] per", '"frame" for images', '"sample"')
    fitting = _FITTING.get(part.kind, {"infonce", "supervised"})
    if loss.kind not in fitting:
        found = f'"{loss.kind}" for a module of kind "{part.kind}"'
        expected = " or ".join(f'"{kind}"' for kind in sorted(fitting))
        raise RecipeError(f"{where} [objective] kind", found, expected)
    if loss.kind == "predsim" and crop_patches != 1:
        found = f'"predsim" on crops of {crop_patches} × {crop_patches} patches'
        raise RecipeError(f"{where} [objective] kind", found, "crops of one patch", _ONE_PATCH)
    if loss.kind == "predsim" and mode == "end_to_end":
        found = '"predsim" with mode = "end_to_end"'
        raise RecipeError(f"{where} [objective] kind", found, 'it with mode = "isolated"')


def check_output(chain: Chain) -> None:
    """Refuse to store what could not be read in parts."""
    whole = chain.modality.whole_only(chain.modules()[-1])
    if whole and chain.last.spec.output.store == "features":
        raise RecipeError(
            f"stage {chain.last.key} [output] store",
            f'"features" of {whole}',
            '"none": such a stage is probed, and hands nothing on',
        )


def check_probe(probe: ProbeSpec, chain: Chain, data: DataSpec, where: str) -> None:
    """Refuse to probe a stage on other data than the recipe's, or for labels of the other kind."""
    if probe.task not in chain.modality.tasks:
        suited = " or ".join(f'"{task}"' for task in chain.modality.tasks)
        found = f'"{probe.task}" of stage {chain.last.key}, on source = "{chain.data.source}"'
        raise RecipeError(f"{where} task", found, suited)
    if chain.data != data:
        raise RecipeError(
            f"{where} inputs",
            f"stage {chain.last.key}, on other data than the recipe's",
            "stages that one data.toml leads to",
            "probe the others in a recipe of their own",
        )


def check_own(probe: ProbeSpec, chains: Sequence[Chain], where: str) -> None:
    """Refuse to ask for classifiers that no stage was trained with."""
    losses = [loss for chain in chains for loss in filter(None, chain.last.spec.losses)]
    classify = any(isinstance(loss, SupervisedSpec) and loss.per == "sample" for loss in losses)
    if getattr(probe, "own", None) and (not classify or probe.weights == "random"):
        raise RecipeError(
            f"{where} own",
            "true, but no input was trained to classify",
            'a stage with an objective of kind = "supervised" and per = "sample"',
            "remove own",
        )


def check_reach(chain: Chain) -> None:
    """Refuse a crop in which the farthest prediction has nowhere to point to."""
    shape = chain.shapes()[-2]
    parts = chain.modules()[-1].parts
    for part, objective in zip(parts, chain.last.spec.losses, strict=True):
        shape = chain.after(part, shape)
        if not isinstance(objective, InfoNCESpec):
            continue
        needed = objective.prediction_gap + objective.prediction_steps + 1
        length, _ = chain.modality.predicted_axes(shape)
        if min(length, objective.window or length) < needed:
            raise RecipeError(
                f"stage {chain.last.key} [objective]",
                f"prediction_steps = {objective.prediction_steps} with prediction_gap = "
                f"{objective.prediction_gap} on crops of {chain.modality.crop_text(shape)}",
                f"at least {needed} {chain.modality.along}, in [views] and window",
                f"enlarge {chain.modality.crop_key}, or predict fewer steps",
            )


def check_hand_over(chain: Chain) -> None:
    """Refuse what the module before rectifies away, or cannot give, although it is needed."""
    if chain.upstream is None:
        return
    *_, giver_module, reader_module = chain.modules()
    giver, reader = chain.upstream.last, chain.last
    output = giver.spec.output
    if whole := chain.modality.whole_only(giver_module):
        raise RecipeError(
            f"stage {reader.key} input",
            f"stage {giver.key}, {whole}",
            "a stage whose features can be stored",
        )
    if output.relu and not (giver_module.rectified or reader_module.reads_through_relu):
        cure = f"set relu = false in stage {giver.number}"
        if isinstance(reader_module, ResNetModule) and reader_module.stem is None:
            # Its first block has no projection.
            cure += f", or give stage {reader.number} a stride of 2 or another width"
        raise RecipeError(
            f"stage {giver.key} [output] relu",
            f"true, but stage {reader.key} also reads negative values",
            "false",
            cure,
        )
    if output.store == "none" and giver_module.recurrent:
        raise RecipeError(
            f"stage {giver.key} [output] store",
            f'"none", but stage {reader.key} reads it and a recurrent module cannot be run again '
            "for a part of an utterance",
            '"features"',
        )
