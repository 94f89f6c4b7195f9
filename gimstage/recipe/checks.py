"""What no single TOML file can be wrong about: stages that do not fit their data or each other."""

import math
from collections.abc import Sequence

from gimstage.errors import RecipeError, either
from gimstage.modules import CONTEXTS, ResNetModule
from gimstage.objectives import Objective
from gimstage.recipe.chain import Chain
from gimstage.recipe.trials import sizes, try_construction, try_modules, try_objectives
from gimstage.sizes import format_bytes
from gimstage.specs import (
    PROBE_SPECS,
    DataSpec,
    EncoderTable,
    ObjectiveTable,
    ProbeSpec,
)

MOST_WEIGHTS = 10**10  # of a stage: 160 GB with their gradients and Adam's two moments
MOST_VALUES = 10**11  # made of one patch or crop: ten minutes of sound have a hundredth
NEIGHBOURHOOD = 3  # patches a side that a global code of Deep InfoMax sees
_REMOVE = "remove the table"
_ONE_PATCH = "set patch_px = crop_px in [views]: its loss is of whole images"


def check_kind(chain: Chain) -> None:
    """Refuse modules that cannot read this data or each other, and keys that say nothing of it."""
    where = f"stage {chain.last.key}"
    for each in [*chain.below(), chain]:  # those below may be of a recipe that nobody loaded
        _check_parts(each, f"stage {each.last.key}")
        try_construction(each, f"stage {each.last.key}")
    _check_sizes(chain, where)
    try_modules(chain, where)
    chain.modality.refuse(chain.last.spec, chain.modules(), where)
    _check_views(chain, where)
    for part, loss in zip(chain.last.spec.parts, chain.last.spec.losses, strict=True):
        if loss is not None:
            _check_loss(part, loss, chain=chain, where=where)
    _check_labels(chain, where)
    try_objectives(chain, where)
    _check_weights(chain, where)


def _check_views(chain: Chain, where: str) -> None:
    """Refuse crops in the words of another kind of data."""
    views, key = chain.last.spec.views, chain.modality.crop_key
    if views is not None and not hasattr(views, key):
        found = next(iter(type(views).model_fields))
        raise RecipeError(f"{where} [views] {found}", "not a key here", f"{key} instead")


def _check_parts(chain: Chain, where: str) -> None:
    """Refuse modules that do not suit the data, or in an order in which they cannot be."""
    tables, modality = chain.last.spec.parts, chain.modality
    for table in tables:
        if not modality.suits(table.part):
            found = f'"{table.kind}" on source = "{chain.data.source}"'
            raise RecipeError(f"{where} [module] kind", found, modality.suited)
    for table in tables if len(tables) > 1 else ():
        if table.part.reads == "grid":
            found = f'"{table.kind}", which encodes whole grids, among {len(tables)} modules'
            raise RecipeError(f"{where} [[modules]] kind", found, "it in a stage of its own")
    for table in tables[:-1]:
        if table.part.recurrent:
            found = f'"{table.kind}" before the last'
            raise RecipeError(f"{where} [[modules]] kind", found, "a recurrent module at the end")


def _check_sizes(chain: Chain, where: str) -> None:
    """Refuse modules of which nothing comes out, and batches too small for their statistics."""
    shape = chain.shapes()[-2]
    if not any(True for _ in chain.modules()[-1].parameters()):
        found = f'"{chain.last.spec.parts[0].kind}" alone'
        raise RecipeError(f"{where} [module] kind", found, "a module with weights")
    for number, part in enumerate(chain.modules()[-1].parts, start=1):
        if part.reads == "grid" and chain.modality.unit_of(part, shape)[0] < NEIGHBOURHOOD:
            expected = f"crops of {NEIGHBOURHOOD} × {NEIGHBOURHOOD} patches or more"
            found = f'"{chain.last.spec.parts[0].kind}" on smaller ones'
            raise RecipeError(f"{where} [module] kind", found, expected)
        shape = chain.after(part, shape)
        found = f"module {number}, of which {sizes(shape)} would come out"
        if min(shape) < 1:
            cure = "choose smaller kernels and strides, or larger patches or crops"
            raise RecipeError(f"{where} [module]", found, "at least 1 of each", cure)
        if math.prod(shape) > MOST_VALUES:
            expected = f"at most {MOST_VALUES:,} numbers of one patch or crop"
            raise RecipeError(f"{where} [module]", found, expected)
    module, batch = chain.modules()[-1], chain.last.spec.train.batch_size
    if module.uses_batch_statistics and batch < 2:
        found, expected = "1, for a module with batch statistics", "at least 2"
        raise RecipeError(f"{where} [train] batch_size", found, expected)


def _check_weights(chain: Chain, where: str) -> None:
    """Refuse modules and losses so large that making them would end in the system's own words."""
    parts = [*chain.modules()[-1].parts, *filter(None, chain.objectives)]
    count = sum(weight.numel() for part in parts for weight in part.parameters())
    if count > MOST_WEIGHTS:
        raise RecipeError(
            where,
            f"{count:,} weights, {format_bytes(16 * count)} while it is trained",
            f"at most {MOST_WEIGHTS:,}",
            "choose fewer channels, blocks or prediction steps",
        )


def _check_loss(part: EncoderTable, loss: ObjectiveTable, *, chain: Chain, where: str) -> None:
    """Refuse a loss that does not suit its module or the data."""
    modality, mode = chain.modality, chain.last.spec.mode
    for context in loss.contexts:
        if context.part.reads not in modality.reads:
            found = f'kind = "{context.kind}" for {chain.data.data_name}'
            suited = (k for k, c in CONTEXTS.items() if c.reads in modality.reads)
            raise RecipeError(f"{where} [objective.context]", found, either(suited), _REMOVE)
    _check_codes(part, loss, f"{where} [objective] kind")
    if loss.part.whole_images and modality.crop_patches != 1:
        side = modality.crop_patches
        on = f"crops of {side} × {side} patches" if side else chain.data.data_name
        found = f'"{loss.kind}" on {on}'
        raise RecipeError(f"{where} [objective] kind", found, "crops of one patch", _ONE_PATCH)
    if loss.part.isolates and mode == "end_to_end":
        found = f'"{loss.kind}" with mode = "end_to_end"'
        raise RecipeError(f"{where} [objective] kind", found, 'it with mode = "isolated"')


def _check_codes(part: EncoderTable, loss: ObjectiveTable, where: str) -> None:
    """Refuse a loss that cannot read the codes its module has."""
    layout = part.part.code_layout
    if layout not in loss.part.code_layouts:
        fitting = [kind for kind, c in Objective.kinds.items() if layout in c.code_layouts]
        found = f'"{loss.kind}" for a module of kind "{part.kind}"'
        raise RecipeError(where, found, either(sorted(fitting)))


def _check_labels(chain: Chain, where: str) -> None:
    """Refuse losses that need labels of frames where there are none."""
    if "frame" in chain.label_kinds and chain.modality.crop_frames is None:
        raise RecipeError(f"{where} [objective] per", '"frame" for images', '"sample"')


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
    kind = chain.modality.kind
    if kind not in probe.kinds:
        tasks = [task for task, spec in PROBE_SPECS.items() if kind in spec.kinds]
        found = f'"{probe.task}" of stage {chain.last.key}, on source = "{chain.data.source}"'
        raise RecipeError(f"{where} task", found, either(tasks))
    if getattr(probe, "mfcc", None) and getattr(data, "rate_hz", None) is None:
        raise RecipeError(f"{where} [mfcc]", "of data that has no rate_hz", "sound", "remove it")
    if kind != "images" and getattr(probe, "pixels", None):
        raise RecipeError(f"{where} pixels", "true, of sequences", "images", "remove it")
    if chain.data != data:
        raise RecipeError(
            f"{where} inputs",
            f"stage {chain.last.key}, on other data than the recipe's",
            "stages that one data.toml leads to",
            "probe the others in a recipe of their own",
        )


def check_once(chains: Sequence[Chain], where: str) -> None:
    """Refuse to probe a stage twice, whatever it is called."""
    keys = [chain.last.key for chain in chains]
    if twice := next((key for number, key in enumerate(keys) if key in keys[:number]), None):
        raise RecipeError(f"{where} inputs", f"stage {twice} twice", "every stage once")


def check_own(probe: ProbeSpec, chains: Sequence[Chain], where: str) -> None:
    """Refuse to ask for classifiers that no stage was trained with, or of other labels."""
    if not getattr(probe, "own", None):
        return
    losses = [loss for chain in chains for loss in filter(None, chain.objectives)]
    classify = any(loss.classifier is not None for loss in losses)
    if not classify or probe.weights == "random":
        raise RecipeError(
            f"{where} own",
            "true, but no input was trained to classify",
            'a stage with an objective of kind = "supervised" and per = "sample"',
            "remove own",
        )
    learned = chains[0].data.label_column
    if probe.label != learned:
        found = f"true, of '{probe.label}', but stages learn '{learned}'"
        raise RecipeError(f"{where} own", found, "the label that data.toml names", "remove own")


def check_reach(chain: Chain) -> None:
    """Refuse a crop in which the farthest prediction has nowhere to point to."""
    shape = chain.shapes()[-2]
    parts = chain.modules()[-1].parts
    for part, objective in zip(parts, chain.objectives, strict=True):
        shape = chain.after(part, shape)
        if lacking := objective and objective.too_short(chain.modality.length(shape)):
            raise RecipeError(
                f"stage {chain.last.key} [objective]",
                f"{lacking[0]} on crops of {chain.modality.crop_text(shape)}",
                f"at least {lacking[1]} {chain.modality.along}, in [views] and window",
                f"enlarge {chain.modality.crop_key}, or predict fewer steps",
            )


def check_hand_over(chain: Chain) -> None:
    """Refuse what the module before rectifies away, or cannot give, although it is needed."""
    if chain.upstream is None:
        return
    chain.modality.refuse_below(chain.upstream.modality, f"stage {chain.last.key}")
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
            f"for parts of {chain.data.sample_name}s",
            '"features"',
        )
