"""The commands on data sets: fetch, check, synthesise."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gimstage.cli.arguments import Place, given
from gimstage.cli.base import answer, guarded, option, watching
from gimstage.data.kinds import data_kind
from gimstage.progress import Progress, Watch
from gimstage.session.tables import Table
from gimstage.sizes import format_bytes
from gimstage.sizes.bounds import MOST_FRAMES, MOST_IMAGES, MOST_SEED, MOST_VOICES

if TYPE_CHECKING:
    from gimstage.data.check import DataReport
    from gimstage.data.check_speech import SpeechReport

SHEET_COLUMNS = 8  # images per class and split on a contact sheet
SHEET_ROWS = 6  # utterances drawn
IMAGES, VOICES = click.IntRange(1, MOST_IMAGES), click.IntRange(1, MOST_VOICES)


@click.group()
def data() -> None:
    """Fetch, check and synthesise images in STL-10's layout and speech in LibriSpeech's."""


@data.command()
@click.argument("name", type=click.Choice(["stl10"]))
@click.argument("folder", type=Place())
@option("--url", default=None, help="Fetch the archive from here instead of its home.")
@option("--md5", default=None, help="Checksum of the archive at --url, else not compared.")
@option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@guarded
def download(name: str, folder: Path, url: str | None, md5: str | None, as_json: bool) -> None:
    """Fetch data set NAME into FOLDER; an interrupted download goes on where it stopped."""
    from gimstage.data.download import download_stl10

    with watching(quiet=as_json) as watch, watch.breaking_off():
        download_stl10(folder, url=url, md5=md5, progress=download_progress(watch))
    answer({"folder": str(folder)}, f"{name} is in {folder}", as_json=as_json)


def download_progress(watch: Watch) -> Callable[[int, int | None], None]:
    """A callback for downloads that reports to a watch, and stops when it asks."""
    began = time.perf_counter()
    start: int | None = None

    def report(present: int, total: int | None) -> None:
        nonlocal start
        watch.leave_if_asked()
        start = present if start is None else start
        if watch.due() or present == total:
            speed = (present - start) / max(time.perf_counter() - began, 1e-9)
            watch.report(Progress("download", present, total or 0, "bytes", bytes_per_s=speed))

    return report


@data.command()
@click.argument("folder", type=Place())
@option("--png", type=Place(), default=None, help="Draw samples of it.")
@option(
    "--crop-frames",
    type=click.IntRange(1, MOST_FRAMES),
    default=128,
    help="Frames of 10 ms below which an utterance is too short.",
)
@option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@guarded
def check(folder: Path, png: Path | None, crop_frames: int, as_json: bool) -> None:
    """Count and check the images or the utterances of FOLDER."""
    speaks = data_kind(folder) == "speech"
    if given("crop_frames") and not speaks:
        raise click.UsageError(f"--crop-frames says nothing of {folder}: no speech lies there")
    if not speaks:  # what is neither is refused with the names of the images
        from gimstage.data.check import check as check_images
        from gimstage.data.check import contact_sheet

        images = check_images(folder)
        if png is not None:
            contact_sheet(folder, png, columns=SHEET_COLUMNS)
        answer(images.to_json(), data_table(images, png), as_json=as_json)
        return
    from gimstage.data.check_speech import check_speech, waveform_sheet

    speech = check_speech(folder, shortest_frames=crop_frames)
    if png is not None:
        waveform_sheet(folder, png, rows=SHEET_ROWS)
    answer(speech.to_json(), speech_table(speech, png), as_json=as_json)


def data_table(report: DataReport, png: Path | None) -> Table:
    """Counts, sizes and labels of a data folder."""
    numbers = ("images", "size", "gray mean", "gray std")
    rows = [
        (
            split.name,
            f"{split.images:,}",
            format_bytes(split.bytes),
            f"{split.gray_mean:.4f}",
            f"{split.gray_std:.4f}",
            "  ".join(f"{name} {count}" for name, count in (split.labels or {}).items()) or "none",
        )
        for split in report.splits
    ]
    note = "\n".join(_image_notes(report, png))
    return Table(report.root, ("split", *numbers, "labels"), rows, numbers, note)


def _image_notes(report: DataReport, png: Path | None) -> list[str]:
    notes = list(report.notes)
    if report.absent:
        notes.append(f"not there: {', '.join(report.absent)}")
    notes += [
        f"{split.name}: {split.blank:,} of {split.sampled:,} images looked at are of one colour"
        for split in report.splits
        if split.blank
    ]
    return notes if png is None else [*notes, f"contact sheet: {png}"]


def speech_table(report: SpeechReport, png: Path | None) -> Table:
    """Speakers, utterances, lengths and labels of a speech folder."""
    numbers = ("speakers", "utterances", "minutes", "seconds", "too short", "phone labels")
    rows = [
        (
            split.name,
            f"{split.speakers:,}",
            f"{split.utterances:,}",
            f"{split.minutes:.2f}",
            f"{split.shortest_s:.2f} – {split.longest_s:.2f}",
            f"{split.too_short:,}",
            f"{split.phone_labelled:,} ({100 * split.label_coverage:.0f} %)",
            "  ".join(f"{rate} Hz: {count:,}" for rate, count in split.rates.items()),
        )
        for split in report.splits
    ]
    note = "\n".join(_speech_notes(report, png))
    return Table(report.root, ("split", *numbers, "sampling rates"), rows, numbers, note)


def _speech_notes(report: SpeechReport, png: Path | None) -> list[str]:
    notes = [
        f"{split.name}, shorter than {report.shortest_frames} frames of 10 ms: "
        + ", ".join(split.too_short_first)
        + (", …" if split.too_short > len(split.too_short_first) else "")
        for split in report.splits
        if split.too_short
    ]
    notes += report.notes
    notes += [
        f"{split.name}: {split.silent:,} of {split.utterances:,} utterances are silent"
        for split in report.splits
        if split.silent
    ]
    if not report.listed:
        notes.append("no split lists: a hash of the ids divides each speaker's utterances")
    if report.unlisted:
        notes.append(f"{report.unlisted:,} audio files are in neither split")
    if report.unseen:
        notes.append(f"test speakers that train lacks: {', '.join(report.unseen)}")
    if png is not None:
        notes.append(f"spectrograms: {png}")
    return notes


@data.command()
@click.argument("folder", type=Place())
@option("--unlabeled", type=IMAGES, default=2000, help="Unlabelled images.")
@option("--train", type=IMAGES, default=500, help="Labelled training images.")
@option("--test", type=IMAGES, default=500, help="Labelled test images.")
@option("--seed", type=click.IntRange(0, MOST_SEED), default=1, help="Seed.")
@option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@guarded
def demo(folder: Path, as_json: bool, **counts: int) -> None:
    """Write the synthetic images of the demo to FOLDER."""
    from gimstage.data.demo import write_demo

    write_demo(folder, **counts)
    answer({"folder": str(folder), **counts}, f"synthetic images are in {folder}", as_json=as_json)


@data.command("demo-audio")
@click.argument("folder", type=Place())
@option("--speakers", type=click.IntRange(2, MOST_VOICES), default=12, help="Speakers.")
@option("--train", type=VOICES, default=16, help="Training utterances of each.")
@option("--test", type=VOICES, default=16, help="Test utterances of each.")
@option("--seed", type=click.IntRange(0, MOST_SEED), default=1, help="Seed.")
@option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@guarded
def demo_audio(folder: Path, as_json: bool, **counts: Any) -> None:
    """Write the synthetic speech of the audio demo to FOLDER."""
    from gimstage.data.demo_speech import write_demo_speech

    write_demo_speech(folder, **counts)
    answer({"folder": str(folder), **counts}, f"synthetic speech is in {folder}", as_json=as_json)
