"""Windows that grow: what the top module takes on a minute, ten minutes, an hour, and whole nets.

Predicted memory is at the paper's widths and batch 1. Resident memory is that of a narrow encoder
that is trained, stored and probed on one recording, in a process of its own.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from common import Row

from gimstage.plan.fit import predicted_peak
from gimstage.recipe.chain import Chain
from gimstage.recipe.recipe import Recipe

STAGES = Path(__file__).parents[1] / "stages"
# Frames of 10 ms of the GRU's crop, and before it; what the largest stage may take, in GB.
LONG = {
    "1.28 s": (128, None, 0.13),
    "60 s": (6_000, None, 0.13),
    "600 s": (60_000, None, 0.8),
    "1 h": (60_000, 300_000, 0.8),
}
MINUTES = (2, 180)


def rows() -> Iterator[Row]:
    """The rows of long sequences."""
    for name, (crop, before, reach) in LONG.items():
        stages = [reserved(chain) for chain in stagewise(crop, before)]
        whole = reserved(end_to_end(crop + (before or 0)))
        largest = max(stages)
        note = f"stage {stages.index(largest) + 1}; end to end {whole / 1e9:.2f} GB"
        what = f"top module on {name}, largest stage: predicted reserved GB"
        yield Row(what, largest / 1e9, reach, True, note)
    yield resident_memory()


def reserved(chain: Chain) -> int:
    """The predicted reserved bytes of a plain step of one sample."""
    return predicted_peak(chain, 1, False).reserved_bytes


def stagewise(crop: int, before: int | None) -> list[Chain]:
    """The stages of librispeech_long, its GRU on crops of so many frames."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(shutil.copytree(STAGES / "librispeech_long", Path(home) / "long"))
        replace(folder / "data.toml", r"crop_frames = \d+", f"crop_frames = {crop}")
        if before:
            views = f"\n[views]\ncrop_frames = {crop}\nwarm_up_frames = {before}\n\n[module]"
            replace(folder / "6_gru.toml", r"\n\[module\]", views)
        for path in folder.glob("[1-6]_*.toml"):
            replace(path, r"batch_size = \d+", "batch_size = 1")
        recipe = Recipe.load(folder)
        return [recipe.chain(number) for number in recipe.stages]


def end_to_end(crop: int) -> Chain:
    """CPC of the same modules, on crops of so many frames."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(shutil.copytree(STAGES / "librispeech_cpc", Path(home) / "whole"))
        shutil.copy(STAGES / "librispeech_long/data.toml", folder)
        replace(folder / "data.toml", r"crop_frames = \d+", f"crop_frames = {crop}")
        replace(folder / "1_encoder.toml", '"librispeech/data"', '"data"')
        replace(folder / "1_encoder.toml", r"batch_size = \d+", "batch_size = 1")
        return Recipe.load(folder).chain(1)


def replace(path: Path, old: str, new: str) -> None:
    """Replace a pattern, which must be there, in a file."""
    text, count = re.subn(old, new, path.read_text())
    assert count, f"{old} in {path}"
    path.write_text(text)


NARROW = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import bench_long
bench_long.run_on_a_recording(Path(sys.argv[2]), minutes=int(sys.argv[3]))
status = Path("/proc/self/status").read_text()  # getrusage would count the parent's peak too
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


def run_on_a_recording(home: Path, *, minutes: int) -> None:
    """Write recordings of noise, and train, store and probe a narrow encoder on them."""
    import numpy as np
    import soundfile
    import torch

    from gimstage.inputs import find_data
    from gimstage.progress import Watch
    from gimstage.work.base import Settings
    from gimstage.work.pipeline import Pipeline

    rng = np.random.default_rng(0)
    for speaker in "12":
        for name, seconds in ((f"{speaker}-1-0000", 30 * minutes), (f"{speaker}-1-0001", 60)):
            path = home / f"data/{speaker}/1/{name}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            with soundfile.SoundFile(path, "w", 16_000, 1, subtype="PCM_16") as file:
                for _ in range(seconds):
                    file.write(0.05 * rng.standard_normal(16_000))
    for split, number in (("train", "0000"), ("test", "0001")):
        text = "".join(f"{speaker}-1-{number}\n" for speaker in "12")
        (home / f"data/{split}_split.txt").write_text(text)
    folder = Path(shutil.copytree(STAGES / "demo_long", home / "narrow"))
    data = (folder / "data.toml").read_text().split("[demo]")[0]
    (folder / "data.toml").write_text(data.replace('"demo_speech"', '"librispeech"'))
    for path in folder.glob("probe_*.toml"):
        replace(path, r"l2 = .*", "l2 = [1e-2]")  # so few samples are not divided
    for path in folder.glob("[1-6]_*.toml"):
        replace(path, r"batch_size = \d+\nsteps = \d+", "batch_size = 2\nsteps = 2")
        replace(path, r"channels = \d+", "channels = 8")
    label_phones(home / "data")
    loaded = Recipe.load(folder)
    settings = Settings(
        device=torch.device("cpu"), workers=2, max_disk=None, checkpoint_every_s=1e9
    )
    found = find_data(loaded.data, home / "data", home / "runs")
    Pipeline(loaded, found, root=home / "runs", settings=settings, watch=Watch()).run()


def label_phones(data: Path) -> None:
    """Label every frame of the recordings with one of three phones."""
    import soundfile

    lines = []
    for path in sorted(data.rglob("*.flac")):
        count = (soundfile.info(path).frames - 400) // 160 + 1
        lines.append(" ".join([path.stem, *(str(n // 7 % 3) for n in range(count))]))
    (data / "converted_aligned_phones.txt").write_text("\n".join(lines) + "\n")


def resident_memory() -> Row:
    """Peak resident memory on two minutes and on three hours, in processes of their own."""
    peaks = []
    for minutes in MINUTES:
        with tempfile.TemporaryDirectory() as home:
            command = [sys.executable, "-c", NARROW, str(Path(__file__).parent), home, str(minutes)]
            peaks.append(int(subprocess.run(command, capture_output=True, check=True).stdout))
    note = ", ".join(f"{peak / 1024:.0f} MiB" for peak in peaks)
    what = "resident memory of train, extract and probe, 3 h / 2 min of sound"
    return Row(what, peaks[1] / peaks[0], 1.05, True, note)
