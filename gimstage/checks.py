"""What no single TOML file can be wrong about: stages that do not fit their data or each other."""

import math

from gimstage.chain import Chain
from gimstage.errors import RecipeError
from gimstage.modules import ResNetModule, SequenceModule
from gimstage.specs import ImageDataSpec, SpeechDataSpec
from gimstage.views import FRAME_SAMPLES


def check_kind(chain: Chain) -> None:
    """Refuse a module that cannot read this data, and keys that say nothing of it."""
    stage, module = chain.last, chain.modules()[-1]
    where, speech = f"stage {stage.key}", isinstance(chain.data, SpeechDataSpec)
    if module.unit_axes != len(chain.data.unit_shape):
        suited = '"conv1d", "gru" or "conv1d_gru"' if speech else '"resnet"'
        found = f'"{stage.spec.module.kind}" on source = "{chain.data.source}"'
        raise RecipeError(f"{where} [module] kind", found, suited)
    if isinstance(chain.data, ImageDataSpec):
        for key, value in (
            ("[views]", stage.spec.views),
            ("[objective.context]", stage.spec.objective.context),
        ):
            if value is not None:
                cure = "remove the table"
                raise RecipeError(f"{where} {key}", "given for images", "it with speech only", cure)
    else:
        _check_speech(chain.data, chain, where)


def _check_speech(data: SpeechDataSpec, chain: Chain, where: str) -> None:
    """Refuse crops longer than the data's, rows that no frame divides into, and codes twice."""
    spec = chain.last.spec
    if spec.views is not None and spec.views.crop_frames > data.views.crop_frames:
        found = f"{spec.views.crop_frames} frames"
        expected = f"at most {data.views.crop_frames}, the crop_frames of data.toml"
        raise RecipeError(f"{where} [views] crop_frames", found, expected)
    samples = math.prod(m.stride for m in chain.modules() if isinstance(m, SequenceModule))
    if FRAME_SAMPLES % samples:
        found = f"a row every {samples} samples, all strides multiplied"
        expected = f"a divisor of {FRAME_SAMPLES}, the samples of 10 ms at which crops begin"
        raise RecipeError(f"{where} [module] stride", found, expected)
    if spec.output.codes:
        found, expected = "true, but the features of a sequence are its codes", "false"
        raise RecipeError(f"{where} [output] codes", found, expected)


def check_reach(chain: Chain) -> None:
    """Refuse a crop in which the farthest prediction has nowhere to point to."""
    objective = chain.last.spec.objective
    if isinstance(chain.data, ImageDataSpec):
        side = chain.data.live_views().crop_patches
        crops, unit, table = f"{side} × {side} patches", "patches a side", "crop_px"
    else:
        side = chain.shapes()[-1][0]
        crops, unit, table = f"{side} rows", "rows", "crop_frames"
    needed = objective.prediction_gap + objective.prediction_steps + 1
    if min(side, objective.window or side) < needed:
        raise RecipeError(
            f"stage {chain.last.key} [objective]",
            f"prediction_steps = {objective.prediction_steps} with prediction_gap = "
            f"{objective.prediction_gap} on crops of {crops}",
            f"at least {needed} {unit}, in [views] and window",
            f"enlarge {table}, or predict fewer steps",
        )


def check_hand_over(chain: Chain) -> None:
    """Refuse what the module before rectifies away, or cannot give, although it is needed."""
    if chain.upstream is None:
        return
    *_, giver_module, reader_module = chain.modules()
    recurrent = isinstance(giver_module, SequenceModule) and giver_module.recurrent
    giver, reader = chain.upstream.last, chain.last
    output = giver.spec.output
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
    if output.store == "none" and recurrent:
        raise RecipeError(
            f"stage {giver.key} [output] store",
            f'"none", but stage {reader.key} reads it and a recurrent module cannot be run again '
            "for a part of an utterance",
            '"features"',
        )
