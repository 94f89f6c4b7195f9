"""What `gimstage data check` says of any data: what its splits hold, and lines for a data.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gimstage.drafts.facts import Facts, ImageFacts
from gimstage.drafts.look import find_in, look_at
from gimstage.drafts.page import literal
from gimstage.inputs.imported import Imported
from gimstage.inspection.data import describe_data, draw_data


def check_own(folder: Path, runs: Path, *, png: Path | None) -> dict[str, Any]:
    """What the splits of some data hold, its labels, and what a person should know of it.

    Args:
        folder: with the data, or an array.
        runs: the folder of all runs, in which an import may lie already.
        png: the file to draw samples to; None for none.

    Raises:
        DataError: no source reads the data; or samples are to be drawn that are not imported.
    """
    found = find_in(folder, runs, {})
    facts = describe_data(found.data, list(found.splits))
    facts["notes"] = _notes(found.data)
    if png is not None:
        draw_data(found.data, found.train.name, png, sample=0, title=str(folder))
        facts["png"] = str(png)
    return facts


def _notes(data: Any) -> list[str]:
    """How the splits are told and which files are left, of data that need not be imported."""
    if isinstance(data, Imported) and not data.is_made:
        bad = [f"{id_}: {why}" for id_, why in data.bad.items()]
        return [*data.listing.notes(), *bad]  # type: ignore[attr-defined]  # as all of files have
    return list(data.notes())


def to_paste(folder: Path, runs: Path) -> list[str]:
    """Mean and deviation of some data as lines for a data.toml: of images, gray and in colour."""
    first = look_at(folder, runs, {"channels": "gray"})
    if not isinstance(first, ImageFacts):
        return [_line(first)]
    if "channels" not in first.keys:
        return [_line(first)]
    colour = look_at(folder, runs, {"channels": "rgb"})
    return [
        f'channels = "gray", {_line(first)}',
        f'channels = "rgb", {_line(colour)}',
    ]


def _line(facts: Facts) -> str:
    keys = ", ".join(f"{key} = {literal(value)}" for key, value in facts.mean_and_std.items())
    return f"{keys}, measured over {facts.measured} of '{facts.train_split}'"
