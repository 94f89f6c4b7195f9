"""A recipe that fits some data: a base recipe's stages, with the data's own sizes and lengths."""

import re
import tomllib
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path

from gimstage.drafts import images, sequences
from gimstage.drafts.facts import Facts, ImageFacts, SequenceFacts, Task
from gimstage.drafts.page import Page, Table

# Of every stage: with extraction and probes, all stages take minutes on two cores.
IMAGE_STEPS, SEQUENCE_STEPS = 250, 600

Pages = dict[str, Page]


def drafted(facts: Facts, base: Path) -> Pages:
    """The files of a recipe by their names: data.toml, the stages, the probes.

    Args:
        facts: what the data holds.
        base: the folder of a recipe for the same kind of data, with a data.toml.
    """
    pages = {path.name: _read(path) for path in _files(base)}
    data = _data_page(facts, pages["data.toml"].table)
    stages = {name: page for name, page in pages.items() if name[0].isdigit()}
    if isinstance(facts, ImageFacts):
        images.fit(data, stages, facts)
    elif isinstance(facts, SequenceFacts):
        stages = sequences.fit(data, stages, facts)
    for page in stages.values():
        _fit_training(page, facts)
    _fit_validation(data, stages.values(), facts)
    probes = [page for name, page in pages.items() if name.startswith("probe")]
    return {"data.toml": data, **stages, **_probes(probes, facts, list(stages))}


def _files(base: Path) -> list[Path]:
    """The TOML files of a recipe, its stages by number."""
    return sorted(base.glob("*.toml"), key=lambda path: (_number(path.name), path.name))


def _number(name: str) -> int:
    """The number of a stage by its file's name; 0 of another file."""
    digits = name.partition("_")[0]
    return int(digits) if digits.isdecimal() else 0


def _read(path: Path) -> Page:
    """A file with its first comment as its title."""
    text = path.read_text("utf-8")
    line = text.split("\n", 1)[0]
    title = line.removeprefix("# ") if line.startswith("# ") else f"As {path.parent.name} has it."
    return Page(title, tomllib.loads(text))


def _data_page(facts: Facts, base: Table) -> Page:
    """data.toml with the data's own source, splits, mean and std, and the views of the base."""
    many = ", ".join(f"{count:,} {name}" for name, count in facts.splits.items())
    page = Page(f"What lies in {facts.folder.name}: {many}. Every number may be changed.", {})
    page.set("source", *facts.source)
    trained = f"{facts.trained:,} samples, whose labels no stage asks for"
    page.set("train_split", facts.train_split, trained)
    for key, (value, reason) in facts.keys.items():
        page.set(key, value, reason)
    for key, value in facts.mean_and_std.items():
        page.set(key, value, f"measured, over {facts.measured}")
    for key in ("views", "stored_views", "validation"):
        if key in base:
            page.table[key] = base[key]
    page.reasons["validation"] = "Looked at while training, never learned from."
    return page


def _fit_training(page: Page, facts: Facts) -> None:
    """A batch that the samples fill, and so many steps that it takes minutes."""
    train = page.table["train"]
    batch = min(train["batch_size"], facts.trained)
    page.set("train.batch_size", batch, "samples a step; they are each other's negatives")
    if "steps" in train:
        steps = IMAGE_STEPS if isinstance(facts, ImageFacts) else SEQUENCE_STEPS
        passes = steps * batch / facts.trained
        reason = f"minutes on two cores, {passes:.3g} passes over the data; more learn more"
        page.set("train.steps", steps, reason)


def _fit_validation(data: Page, stages: Iterable[Page], facts: Facts) -> None:
    """Nothing is held out where what is, or what is left, would not fill a batch."""
    batch = max((page.table["train"]["batch_size"] for page in stages), default=1)
    held = round(facts.trained * data.table.get("validation", {}).get("share", 0))
    if held < batch or facts.trained - held < batch:
        data.table.pop("validation", None)


def _probes(bases: list[Page], facts: Facts, stages: list[str]) -> Pages:
    """A probe for each task, after the one of the base that is most like it."""
    pages: Pages = {}
    for task in facts.tasks if facts.test_split else ():
        base = _like(bases, task)
        if base is None:
            continue
        page = deepcopy(base)
        page.title = f"How well the codes of each stage tell {task.name}."
        page.table["inputs"] = list(map(_number, stages))
        page.table["weights"] = "trained"
        page.table.pop("own", None)
        _fit_coefficients(page, facts)
        for key, value in task.keys.items():
            page.table[key] = value
        labelled = facts.train_split if facts.train_split != "unlabeled" else "train"
        page.set("train_split", labelled, "what the classifier learns from")
        page.set("test_split", facts.test_split, "what it is asked about")
        pages[f"probe_{re.sub(r'[^A-Za-z0-9_-]+', '_', task.name)}.toml"] = page
    return pages


def _fit_coefficients(page: Page, facts: Facts) -> None:
    """Cepstral coefficients over 25 ms of sound at its rate; none of what is no sound."""
    if isinstance(facts, SequenceFacts) and facts.source[0] != "array" and facts.rate_hz:
        if "mfcc" in page.table:
            rows = round(facts.rate_hz / 40)
            page.set("mfcc.window_samples", rows, "25 ms of sound behind each of them")
    else:
        page.table.pop("mfcc", None)


def _like(bases: list[Page], task: Task) -> Page | None:
    """The probe that a task's is made after; None where the base has none like it."""
    by_task = {page.table["task"]: page for page in reversed(bases)}
    return next((by_task[like] for like in task.like if like in by_task), None)
