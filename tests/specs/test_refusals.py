"""What single TOML files may not say: every refusal names file, table and key in one message."""

import shutil
from pathlib import Path

import pytest
from helpers.homes import RECIPES

from gimstage.errors import RecipeError
from gimstage.recipe.recipe import Recipe
from gimstage.specs import DATA_SPECS

DATA = [
    (
        "tiny",
        "data.toml",
        'kind = "grid"',
        'kind = "crops"',
        'data.toml [stored_views]: kind = "crops" with patches; expected patches '
        'with kind = "grid", and only there',
    ),
    (
        "tiny",
        "data.toml",
        'source = "demo_images"',
        'source = "stl10"',
        'data.toml: source = "stl10" with [demo]; expected [demo] with "demo_…", and only there',
    ),
    (
        "tiny",
        "data.toml",
        'source = "demo_images"',
        'source = "stl11"',
        "data.toml source: \"stl11\"; did you mean 'stl10'?",
    ),
    (
        "tiny",
        "data.toml",
        'source = "demo_images"',
        "source = 3",
        f"data.toml source: 3; choose from: {', '.join(sorted(DATA_SPECS))}",
    ),
    (
        "tiny",
        "data.toml",
        'source = "demo_images"\n',
        "",
        f"data.toml source: missing; choose from: {', '.join(DATA_SPECS)}",
    ),
    (
        "tiny",
        "data.toml",
        'channels = "gray"',
        'channels = "rgb"',
        "data.toml mean: [0.412]; expected 3 numbers, one per channel",
    ),
    (
        "tiny",
        "data.toml",
        'channels = "gray"',
        'channels = "grey"',
        "data.toml channels: \"grey\"; expected 'gray' or 'rgb'; did you mean 'gray'?",
    ),
    (
        "tiny",
        "data.toml",
        'train_split = "unlabeled"',
        'train_split = "unlabelled"',
        "data.toml train_split: \"unlabelled\"; expected 'unlabeled', 'train', "
        "'test' or 'train+unlabeled'; did you mean 'unlabeled'?",
    ),
    (
        "tiny",
        "data.toml",
        "crop_px = 56",
        "crop_px = 0",
        "data.toml [views] crop_px: 0; expected greater than 0",
    ),
    (
        "tiny",
        "data.toml",
        "crop_px = 56",
        "crop_px = 56.5",
        "data.toml [views] crop_px: 56.5; expected a valid integer",
    ),
    (
        "tiny",
        "data.toml",
        "flip = true",
        "flip = 1",
        "data.toml [views] flip: 1; expected a valid boolean",
    ),
    (
        "tiny",
        "data.toml",
        "std = [0.2570]",
        "std = [0]",
        "data.toml std: 0; expected greater than 0",
    ),
    (
        "tiny",
        "data.toml",
        "std = [0.2570]",
        "std = [nan]",
        "data.toml std: NaN; expected a finite number",
    ),
    (
        "tiny",
        "data.toml",
        "[demo]",
        "[validation]\nshare = 1.0\nseed = 1\nevaluations = 1\nbatches = 1\n\n[demo]",
        "data.toml [validation] share: 1.0; expected less than 1",
    ),
    (
        "tiny_audio",
        "data.toml",
        'kind = "utterances"',
        'kind = "utterances"\ncount = 2',
        'data.toml [stored_views]: kind = "utterances" with count; expected count '
        'and seed with kind = "crops", and only there',
    ),
    (
        "tiny_audio",
        "data.toml",
        'kind = "utterances"',
        'kind = "crops"\ncount = 2',
        'data.toml [stored_views]: kind = "crops" with count; expected count and '
        'seed with kind = "crops", and only there',
    ),
    (
        "tiny_audio",
        "data.toml",
        "crop_frames = 128",
        "crop_frames = -1",
        "data.toml [views] crop_frames: -1; expected greater than 0",
    ),
    (
        "tiny_audio",
        "data.toml",
        "crop_frames = 128",
        "crop_px = 128",
        "data.toml [views] crop_px: unknown key; choose from: crop_frames",
    ),
    (
        "tiny",
        "data.toml",
        "[demo]",
        "[nodemo]",
        "data.toml [nodemo]: unknown key; did you mean 'demo'?",
    ),
]
STAGES = [
    (
        "tiny",
        "1_first.toml",
        '"float16"',
        '"float8"',
        "1_first.toml [output] encoding: \"float8\"; expected 'float16', "
        "'float16_zstd', 'round5', 'uint8' or 'float32'; did you mean 'float32'?",
    ),
    (
        "tiny",
        "1_first.toml",
        '"float16"',
        '"float_16"',
        "1_first.toml [output] encoding: \"float_16\"; expected 'float16', "
        "'float16_zstd', 'round5', 'uint8' or 'float32'; did you mean 'float16'?",
    ),
    (
        "tiny",
        "1_first.toml",
        'store = "features"',
        'store = "disk"',
        "1_first.toml [output] store: \"disk\"; expected 'features' or 'none'",
    ),
    (
        "tiny",
        "1_first.toml",
        'precision = "float32"',
        'precision = "float16"',
        "1_first.toml [train] precision: \"float16\"; expected 'float32' or "
        "'bfloat16'; did you mean 'bfloat16'?",
    ),
    (
        "tiny",
        "1_first.toml",
        "batch_size = 8",
        'batch_size = "8"',
        '1_first.toml [train] batch_size: "8"; expected a valid integer',
    ),
    (
        "tiny",
        "1_first.toml",
        "learning_rate = 1e-3",
        "learning_rate = -1e-3",
        "1_first.toml [train] learning_rate: -0.001; expected greater than 0",
    ),
    (
        "tiny",
        "1_first.toml",
        "seed = 2",
        "seed = -1",
        "1_first.toml [train] seed: -1; expected greater than or equal to 0",
    ),
    (
        "tiny",
        "1_first.toml",
        'input = "data"',
        'input = "data.toml"',
        '1_first.toml input: "data.toml"; expected "data", the number of a stage, '
        '"RECIPE/data" or "RECIPE/NUMBER"',
    ),
    (
        "tiny",
        "1_first.toml",
        'input = "data"',
        "input = 0",
        "1_first.toml input: stage 0 does not exist; expected a stage of tiny: 1, 2, 3",
    ),
    (
        "tiny",
        "1_first.toml",
        'input = "data"',
        "input = 1",
        "1_first.toml input: the inputs form a circle: tiny/1 → tiny/1; expected a way to the data",
    ),
    (
        "tiny",
        "1_first.toml",
        'input = "data"',
        "input = true",
        "1_first.toml input: true; expected a valid integer",
    ),
    (
        "tiny",
        "1_first.toml",
        "[module]",
        "[modul]",
        "1_first.toml [modul]: unknown key; did you mean 'module'?",
    ),
    (
        "tiny",
        "1_first.toml",
        'kind = "resnet"',
        'kind = "resent"',
        "1_first.toml [module] kind: \"resent\"; did you mean 'resnet'?",
    ),
    (
        "tiny",
        "1_first.toml",
        '[objective]\nkind = "infonce"',
        '[objective]\nkind = "nce"',
        "1_first.toml [objective] kind: \"nce\"; did you mean 'infonce'?",
    ),
    (
        "tiny_audio",
        "6_gru.toml",
        "bptt = true",
        'bptt = "true"',
        '6_gru.toml [module] bptt: "true"; expected a valid boolean',
    ),
    (
        "tiny_audio",
        "6_gru.toml",
        "bptt = true\n",
        "",
        "6_gru.toml [module] bptt: missing; add it: nothing that changes a number has a default",
    ),
    (
        "tiny",
        "1_first.toml",
        'precision = "float32"',
        'precision = "float32"\n\n[train.decay]\nfactor = 0.5\nafter = []',
        "1_first.toml [train] [decay] after: []; expected at least 1 of them",
    ),
    (
        "tiny",
        "1_first.toml",
        'precision = "float32"',
        'precision = "float32"\n\n[train.decay]\nfactor = 1.5\nafter = [0.5]',
        "1_first.toml [train] [decay] factor: 1.5; expected less than 1",
    ),
]
PROBES = [
    (
        "tiny",
        "probe.toml",
        'task = "class"',
        'task = "classes"',
        "probe.toml task: \"classes\"; did you mean 'class'?",
    ),
    (
        "tiny",
        "probe.toml",
        'task = "class"',
        'task = "phone"',
        "probe.toml [paper] batch_size: unknown key; choose from: epochs, learning_rate, seed",
    ),
    (
        "tiny",
        "probe.toml",
        'task = "class"\n',
        "",
        "probe.toml task: missing; choose from: class, speaker, phone, label, frames",
    ),
    (
        "tiny",
        "probe.toml",
        "inputs = [1, 2, 3]",
        "inputs = [1, 4]",
        "probe.toml inputs: stage 4 does not exist; expected a stage of tiny: 1, 2, 3",
    ),
    (
        "tiny",
        "probe.toml",
        "l2 = [1e-2, 1e-1]",
        "l2 = []",
        "probe.toml [converged] l2: []; expected at least 1 of them",
    ),
    (
        "tiny",
        "probe.toml",
        'weights = "trained"',
        'weights = "learned"',
        "probe.toml weights: \"learned\"; expected 'trained' or 'random'",
    ),
    (
        "tiny_audio",
        "probe_phone.toml",
        "delta_frames = 5",
        "delta_frames = 4",
        "probe_phone.toml [mfcc]: delta_frames = 4; expected an odd number",
    ),
    (
        "tiny_audio",
        "probe_phone.toml",
        "delta_frames = 5",
        "delta_frames = 1",
        "probe_phone.toml [mfcc] delta_frames: 1; expected greater than or equal to 3",
    ),
    (
        "tiny_audio",
        "probe_phone.toml",
        "coefficients = 13",
        "coefficients = 41",
        "probe_phone.toml [mfcc]: coefficients = 41 of mel_bands = 40; expected no "
        "more coefficients than bands",
    ),
    (
        "tiny_audio",
        "probe_phone.toml",
        "offset = 1",
        "offset = -1",
        "probe_phone.toml offset: -1; expected greater than or equal to 0",
    ),
]


def refusal(home: Path, recipe: str, file: str, old: str, new: str) -> str:
    """What loading a recipe says once a text of it, which must be there, is another."""
    folder = Path(shutil.copytree(RECIPES / recipe, home / recipe))
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    with pytest.raises(RecipeError) as caught:
        Recipe.load(folder)
    return str(caught.value).removeprefix(f"{folder}/")


@pytest.mark.parametrize(("recipe", "file", "old", "new", "message"), DATA)
def test_data_that_cannot_be_meant_is_refused(
    tmp_path: Path, recipe: str, file: str, old: str, new: str, message: str
) -> None:
    assert refusal(tmp_path, recipe, file, old, new) == message


@pytest.mark.parametrize(("recipe", "file", "old", "new", "message"), STAGES)
def test_a_stage_that_cannot_be_meant_is_refused(
    tmp_path: Path, recipe: str, file: str, old: str, new: str, message: str
) -> None:
    assert refusal(tmp_path, recipe, file, old, new) == message


@pytest.mark.parametrize(("recipe", "file", "old", "new", "message"), PROBES)
def test_a_probe_that_cannot_be_meant_is_refused(
    tmp_path: Path, recipe: str, file: str, old: str, new: str, message: str
) -> None:
    assert refusal(tmp_path, recipe, file, old, new) == message
