import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.digests import fingerprint
from helpers.manifests import (
    IMAGES,
    SPEECH,
    random,
    several,
    stored_features,
    whole_stage,
    write_stage,
    write_store,
)
from torch import Tensor

from gimstage.data.demo import write_demo
from gimstage.data.librispeech import FRAME_SAMPLES
from gimstage.data.pixels import normalise
from gimstage.data.stl10 import files, open_split
from gimstage.inputs import memo_path
from gimstage.progress import Watch
from gimstage.report import collect, patches
from gimstage.report.drawing import Drawing
from gimstage.specs import DATA_SPECS

SAMPLES, GRID, CHANNELS = 6, 8, 3
SCALES = [3.0, 0.0, 1.0]  # how much each channel varies


def store_stage(runs: Path, key: str, features: Tensor, **about: Any) -> None:
    """A finished stage with its features on disk."""
    small, attributes = about.pop("small", None), about.pop("attributes", {})
    path = runs / key / "features.zarr"
    shards = write_store(path, {"features": features}, small=small, **attributes)
    write_stage(runs, key, features=stored_features([*features.shape], 1, shards), **about)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three stages on synthetic images below the runs folder."""
    runs = tmp_path / "runs"
    root = runs / "data/demo-6-10-10-1"
    write_demo(root, unlabeled=SAMPLES, train=10, test=10, seed=1)
    sha = fingerprint(files(root, "unlabeled"), memo_path(runs))
    features = random(SAMPLES, 1, GRID, GRID, CHANNELS, 2, 2)
    features *= torch.tensor(SCALES)[:, None, None]
    for number in (1, 2, 3):
        store_stage(runs, f"small/{number}", features, data_sha256=sha)
    return runs


def drawn(
    runs: Path, base: str = "small", data: Path | None = None
) -> tuple[Drawing | None, list[str]]:
    notes: list[str] = []
    watch, folder = Watch(), runs / "figures"
    report = collect(runs)
    return draw_patches(report, base, folder, data=data, notes=notes, watch=watch), notes


draw_patches = patches.draw_patches


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[patches.Searched]:
    """What is drawn from now on."""
    found: list[patches.Searched] = []
    draw = patches._draw

    def spy(figure: Any, stages: list[patches.Searched], rows: int, excerpts: Any) -> None:
        found.extend(stages)
        draw(figure, stages, rows, excerpts)

    monkeypatch.setattr(patches, "_draw", spy)
    return found


def test_the_channels_that_vary_most_are_drawn(runs: Path) -> None:
    drawing, notes = drawn(runs)
    assert notes == []
    assert drawing
    assert drawing.alt == (
        "The patches that excite single channels most: module 1, channels 0, 2; "
        "module 2, channels 0, 2; module 3, channels 0, 2."
    )
    assert (runs / "figures/figure2_small.png").exists()


def test_a_patch_is_the_pixels_that_the_module_saw(
    runs: Path, shown: list[patches.Searched]
) -> None:
    drawn(runs)
    features = random(SAMPLES, 1, GRID, GRID, CHANNELS, 2, 2)[..., 0, :, :].mean((-2, -1))
    sample, _, row, column = np.unravel_index(int(features.argmax()), features.shape)
    spec = DATA_SPECS["stl10"].model_validate(IMAGES | {"source": "stl10"})
    y, x, flip = spec.cached_views(SAMPLES).origins[sample, 0]
    split = open_split(runs / "data/demo-6-10-10-1", "unlabeled")
    whole = torch.from_numpy(split.images[sample, :, y : y + 72, x : x + 72].copy())
    gray = normalise(whole, channels="gray", mean=[0.0], std=[1.0])[0].numpy()
    gray = gray[:, ::-1] if flip else gray
    wanted = gray[8 * row : 8 * row + 16, 8 * column : 8 * column + 16]
    assert np.array_equal(shown[0].shown[0][0], wanted)


def test_a_module_that_stores_no_features_is_named(runs: Path) -> None:
    write_stage(runs, "small/4", features=None)
    drawing, _ = drawn(runs)
    assert drawing
    assert drawing.caption == (
        "Run small. A row is one channel, its number at the left; its 4 patches have the highest "
        "pooled activation, strongest first, no image twice. Shown are the channels whose pooled "
        "activation varies most. Without stored features: module 4. Data: synthetic images (demo)."
    )


def test_of_a_stage_of_several_modules_the_last_is_drawn(runs: Path) -> None:
    for path in runs.glob("small/*/manifest.json"):
        manifest = json.loads(path.read_text())
        for key in manifest["identity"]:
            if key.startswith("stage "):
                own = whole_stage(several("isolated", "resnet", "resnet"))
                manifest["identity"][key] |= own | {"module": None}
        path.write_text(json.dumps(manifest))
    drawing, _ = drawn(runs)
    assert drawing
    assert drawing.alt == (
        "The patches that excite single channels most: module 2, channels 0, 2; "
        "module 4, channels 0, 2; module 6, channels 0, 2."
    )
    assert drawing.caption.endswith(
        "varies most. Without stored features: module 1, 3, 5. Data: synthetic images (demo)."
    )


def test_data_elsewhere_is_found_where_it_was_read(runs: Path, tmp_path: Path) -> None:
    (runs / "data/demo-6-10-10-1").rename(tmp_path / "elsewhere")
    memo = runs / "data/fingerprints.json"
    memo.unlink()
    fingerprint(files(tmp_path / "elsewhere", "unlabeled"), memo)
    assert drawn(runs)[0]


def test_data_elsewhere_is_found_where_it_is_said_to_be(runs: Path, tmp_path: Path) -> None:
    (runs / "data/demo-6-10-10-1").rename(tmp_path / "elsewhere")
    assert drawn(runs, data=tmp_path / "elsewhere")[0]


def test_other_data_is_never_drawn_from(runs: Path) -> None:
    image = runs / "data/demo-6-10-10-1/unlabeled_X.bin"
    image.write_bytes(image.read_bytes()[::-1])
    sha = collect(runs).groups[0].training_data or ""
    assert drawn(runs) == (
        None,
        [f"figure 2 of small: data {sha[:8]} not found; not drawn; add --data DIR"],
    )


def test_nothing_is_drawn_from_damaged_features(runs: Path) -> None:
    shard = runs / "small/1/features.zarr/features/c.0.0.0.0.0.0.0"
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    figure, (note,) = drawn(runs)
    assert figure is None
    assert note.startswith(f"figure 2 of small: {shard}, chunk 0: checksum does not match; run ")
    assert note.endswith("; not drawn")


def test_without_features_there_is_no_figure_2(tmp_path: Path) -> None:
    write_stage(tmp_path, "small/1")
    assert drawn(tmp_path) == (
        None,
        ["figure 2 of small: no stage of it stores features; not drawn"],
    )


def test_a_damaged_store_leaves_the_figure_out(runs: Path) -> None:
    (runs / "small/1/features.zarr/features/c.1.0.0.0.0.0.0").unlink()
    drawing, notes = drawn(runs)
    assert drawing is None
    assert notes[0].startswith("figure 2 of small: ")
    assert "c.1.0.0.0.0.0.0" in notes[0]


def test_a_snippet_has_its_frame_in_the_middle(
    tmp_path: Path, shown: list[patches.Searched]
) -> None:
    import soundfile

    from gimstage.data import librispeech

    root = tmp_path / "runs/data/demo-speech"
    (root / "1/1").mkdir(parents=True)
    click = 50 * FRAME_SAMPLES + 80  # the middle of frame 50
    for number in range(3):
        wave = np.zeros(130 * FRAME_SAMPLES, np.float32)
        wave[click] = 0.5
        soundfile.write(root / f"1/1/1-1-{number}.flac", wave, 16_000)
    sha = fingerprint(librispeech.files(root, "train"))
    count = len(librispeech.open_split(root, "train"))
    rows = torch.zeros(count * 130, 1)
    rows[50::130] = 1
    offsets = np.arange(count + 1) * 130
    about = {"small": {"offsets": offsets}, "attributes": {"rows_per_10_ms": 1}}
    store_stage(tmp_path / "runs", "audio/1", rows, data=SPEECH, data_sha256=sha, **about)
    drawing, notes = drawn(tmp_path / "runs", "audio")
    assert notes == []
    assert drawing
    loudness = shown[0].shown[0][0].sum(0)
    assert abs(int(loudness.argmax()) - len(loudness) // 2) <= 1
