"""On which data set figures were taken, and which published ones may stand beside them.

A manifest of an earlier release has no title of its data; then its source tells, and counts.
"""

from collections.abc import Iterable, Mapping

from gimstage.data.kinds import Kind
from gimstage.data.titles import LIBRISPEECH, OWN, STL10, STL10_COUNTS, SYNTHETIC
from gimstage.runs.manifest import Manifest, ProbeManifest
from gimstage.specs import DATA_SPECS

PUBLISHED_ON: Mapping[Kind, str] = {"images": STL10, "speech": LIBRISPEECH}
_PAPER_LAYOUTS = ("stl10", "librispeech")
_SYNTHETIC_SOURCES = ("demo_images", "demo_large", "demo_speech")


def title_of(manifest: Manifest | ProbeManifest) -> str | None:
    """What the data of a stage or probe is called; None where nothing tells."""
    source = manifest.data.get("source")
    if manifest.data_title is not None:
        return manifest.data_title
    if source not in DATA_SPECS:
        return None
    kind = DATA_SPECS[source].kind
    if source in _SYNTHETIC_SOURCES:
        return SYNTHETIC[kind]
    return STL10 if kind == "images" and _of_stl10(manifest) else OWN[kind]


def _of_stl10(manifest: Manifest | ProbeManifest) -> bool:
    """Whether the samples that a manifest counts are as many as STL-10 has."""
    if isinstance(manifest, ProbeManifest):
        sizes = {(row.train_samples, row.test_samples) for row in manifest.rows}
        return sizes == {(STL10_COUNTS["train"], STL10_COUNTS["test"])}
    counted = manifest.features.shape[0] if manifest.features else manifest.training.samples
    return counted == STL10_COUNTS.get(manifest.data.get("train_split", ""))


def is_own(source: str) -> bool:
    """Whether data of a source is somebody's own, in no layout of the paper's and not synthetic."""
    known = source in DATA_SPECS and not source.startswith("demo_")
    return known and DATA_SPECS[source].layout not in _PAPER_LAYOUTS


def joined(titles: Iterable[str | None]) -> str | None:
    """Several titles in words, each once; None for none."""
    return ", ".join(dict.fromkeys(title for title in titles if title)) or None


def of_data(title: str | None) -> str:
    """A sentence for a caption that names the data."""
    return f" Data: {title}." if title else ""


def unlike(title: str | None, kind: Kind) -> str | None:
    """Why published figures are no measure of runs on some data; None where they are.

    Args:
        title: of the data of the runs; None where there are no runs.
        kind: of the paper's data.
    """
    if title in (None, PUBLISHED_ON[kind]):
        return None
    return (
        f"In brackets, for they are no measure of these runs: published: {PUBLISHED_ON[kind]}; "
        f"these runs: {title}."
    )
