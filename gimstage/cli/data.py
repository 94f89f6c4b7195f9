"""The commands on data sets: fetch and synthesise."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gimstage.cli.arguments import Place
from gimstage.cli.base import answer, guarded, option, watching
from gimstage.progress import Progress, Watch
from gimstage.sizes.bounds import MOST_IMAGES, MOST_SEED, MOST_VOICES

IMAGES, VOICES = click.IntRange(1, MOST_IMAGES), click.IntRange(1, MOST_VOICES)


@click.group()
def data() -> None:
    """Fetch, check, bring in and synthesise data sets."""


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
