"""What the side of an image costs: memory of training, extraction and probes on whole maps.

The windows of stages/demo_large at half their size, on synthetic images of 512² and of 8192²; what
is predicted for the widths of the paper.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from common import Row

from gimstage.inputs import find_data
from gimstage.plan.fit import plain_setting
from gimstage.progress import Watch
from gimstage.recipe.recipe import Recipe

RECIPE = Path(__file__).parents[1] / "stages/demo_large"
PAPER_CHANNELS = 512  # of every module of the published encoder of speech, whose twin this is
SIDES = (512, 8192)
# A run in a process of its own; prints the most that it held of memory that no file backs, in kB:
# pages of mapped images are the system's to take away.
RUN = """
import sys, threading, time
from pathlib import Path

peak, done = 0, threading.Event()

def watch():
    global peak
    while not done.is_set():
        status = Path("/proc/self/status").read_text()
        peak = max(peak, int(status.partition("RssAnon:")[2].split()[0]))
        time.sleep(0.01)

thread = threading.Thread(target=watch)
thread.start()
import gimstage
gimstage.open(sys.argv[1], runs=sys.argv[2], device="cpu").run()
done.set()
thread.join()
print(peak)
"""


def rows() -> Iterator[Row]:
    """The rows of large images."""
    with tempfile.TemporaryDirectory() as temporary:
        yield resident_memory(Path(temporary))
        yield predicted_memory(Path(temporary))


def recipe(home: Path, *, size_px: int, steps: int, channels: int | None = None) -> Path:
    """A copy of the recipe on a few images of a side, its windows halved."""
    folder = home / f"large_{size_px}"
    folder.mkdir()
    for path in RECIPE.glob("*.toml"):
        text = path.read_text().replace("size_px = 2048", f"size_px = {size_px}")
        text = re.sub(r"crop_px = (\d+)", lambda crop: f"crop_px = {int(crop[1]) // 2}", text)
        text = re.sub(r"(train|test) = \d+", r"\1 = 5", text)
        text = re.sub(r"steps = \d+\nseed", f"steps = {steps}\nseed", text)
        text = re.sub(r"batch_size = \d+", "batch_size = 4", text)
        text = re.sub(r"prediction_steps = \d", "prediction_steps = 2", text)
        if channels:
            text = re.sub(r"channels = \d+", f"channels = {channels}", text)
        (folder / path.name).write_text(text)
    return folder


def resident_memory(home: Path) -> Row:
    """Peak resident memory on small and on large images, in processes of their own."""
    peaks = []
    for side in SIDES:
        folder = recipe(home, size_px=side, steps=5)
        # Drawing a synthetic image holds all of it; that is not what is measured.
        find_data(Recipe.load(folder).data, None, home / "runs").make(Watch())
        command = [sys.executable, "-c", RUN, str(folder), str(home / "runs")]
        output = subprocess.run(command, capture_output=True, check=True, text=True).stdout
        peaks.append(int(output.split()[-1]))
    note = ", ".join(f"{peak / 1024:.0f} MiB" for peak in peaks)
    what = "resident memory of train, extract and probe, images of 8192² / 512²"
    return Row(what, peaks[1] / peaks[0], 1.05, True, note)


def predicted_memory(home: Path) -> Row:
    """The largest stage on images of 8192² with as many channels as the paper has on speech."""
    (home / "wide").mkdir()
    folder = recipe(home / "wide", size_px=8192, steps=5, channels=PAPER_CHANNELS)
    loaded = Recipe.load(folder)
    peaks = [plain_setting(loaded.chain(n)).peak.reserved_bytes for n in loaded.stages]
    note = ", ".join(f"{peak / 1e6:.0f} MB" for peak in peaks)
    what = f"predicted GB, images of 8192² and {PAPER_CHANNELS} channels"
    return Row(what, max(peaks) / 1e9, 1.0, True, note)
