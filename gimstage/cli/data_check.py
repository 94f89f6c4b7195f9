"""The command that looks at data before anything is trained on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gimstage.cli.arguments import Place, given
from gimstage.cli.base import JSON, RUNS, answer, guarded, option, with_options
from gimstage.cli.look import inspect_table
from gimstage.data.kinds import data_kind
from gimstage.data.sources import source_in
from gimstage.session.tables import Table
from gimstage.sizes import format_bytes
from gimstage.sizes.bounds import MOST_FRAMES

if TYPE_CHECKING:
    from gimstage.data.check import DataReport
    from gimstage.data.check_speech import SpeechReport

SHEET_COLUMNS = 8  # images per class and split on a contact sheet
SHEET_ROWS = 6  # utterances drawn


@click.command()
@click.argument("folder", type=Place())
@option("--png", type=Place(), default=None, help="Draw samples of it.")
@option(
    "--crop-frames",
    type=click.IntRange(1, MOST_FRAMES),
    default=128,
    help="Frames of 10 ms below which an utterance is too short.",
)
@with_options([RUNS, JSON])
@guarded
def check(folder: Path, png: Path | None, crop_frames: int, runs: Path, as_json: bool) -> None:
    """Count and check the images, the sound or the arrays in FOLDER; mean and std to paste."""
    speaks = data_kind(folder) == "speech" and source_in(folder) == "librispeech"
    if given("crop_frames") and not speaks:
        raise click.UsageError(f"--crop-frames says nothing of {folder}: no speech lies there")
    source = source_in(folder)
    from gimstage.drafts.check import check_own, to_paste

    if source == "stl10":
        from gimstage.data.check import check as check_images
        from gimstage.data.check import contact_sheet

        images = check_images(folder)
        if png is not None:
            contact_sheet(folder, png, columns=SHEET_COLUMNS)
        document, table = images.to_json(), data_table(images, png)
    elif source == "librispeech":
        from gimstage.data.check_speech import check_speech, waveform_sheet

        speech = check_speech(folder, shortest_frames=crop_frames)
        if png is not None:
            waveform_sheet(folder, png, rows=SHEET_ROWS)
        document, table = speech.to_json(), speech_table(speech, png)
    else:
        document = check_own(folder, runs, png=png)
        table = own_table(folder, document)
    paste = to_paste(folder, runs)
    note = "\n".join([*filter(None, [table.note]), *(f"for data.toml: {line}" for line in paste)])
    answer(document | {"to_paste": paste}, replace(table, note=note), as_json=as_json)


def own_table(folder: Path, facts: dict[str, Any]) -> Table:
    """What is known of data of one's own, with what a person should know below."""
    shown = {name: value for name, value in facts.items() if name != "notes"}
    return replace(inspect_table(str(folder), shown), note="\n".join(facts["notes"]))


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
