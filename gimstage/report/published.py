"""What the paper's tables 1 to 4 say, and which recipe fills which of their rows.

A recipe belongs to a base by its name: `stl10_small_cpc` is the row CPC of the base `stl10_small`.
Accuracies are per cent, memory is GB.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from gimstage.data.kinds import Kind

# Where a row finds its figure when its own recipe was not run but its base was.
Substitute = Literal["random", "mfcc", "pixels", "no_gar"]

PAPER = "Löwe, O'Connor, Veeling: Putting An End to End-to-End, NeurIPS 2019"

_LOWE = "simultaneous training"
_SUPERVISED = "learning rate and number of epochs are not given"
_OORD = "copied by the paper from Oord et al. 2018, not measured again"


@dataclass(frozen=True)
class Published:
    """One printed figure.

    Args:
        value: per cent, or GB.
        std: behind its ±, None where none is printed.
    """

    value: float
    std: float | None = None

    def __str__(self) -> str:
        """The figure as the paper prints it."""
        return f"{self.value:.1f}" + ("" if self.std is None else f" ± {self.std:.1f}")


@dataclass(frozen=True)
class System:
    """One row of a table.

    Args:
        name: as the table calls it.
        recipes: by task, what follows the base's name; "" is the base itself.
        published: by task; empty for a row the paper does not have.
        source: what has to be known about the published figure.
        substitute: what of the base recipe may stand in where this system has no recipe of its own.
    """

    name: str
    recipes: Mapping[str, str]
    published: Mapping[str, Published] = field(default_factory=dict)
    source: str = ""
    substitute: Substitute | None = None


@dataclass(frozen=True)
class PaperTable:
    """One table of accuracies.

    Args:
        number: in the paper.
        title: what it compares.
        kind: the kind of data.
        tasks: its columns.
        systems: its rows.
    """

    number: int
    title: str
    kind: Kind
    tasks: tuple[str, ...]
    systems: tuple[System, ...]


def _image(
    name: str,
    suffix: str,
    published: Published | None,
    source: str = "",
    *,
    substitute: Substitute | None = None,
) -> System:
    figures = {"class": published} if published else {}
    return System(name, {"class": suffix}, figures, source, substitute)


def _speech(
    name: str,
    suffix: str | tuple[str, str],
    published: tuple[float, float] | None,
    source: str = "",
    *,
    substitute: Substitute | None = None,
) -> System:
    suffixes = (suffix, suffix) if isinstance(suffix, str) else suffix
    figures = dict(zip(SPEECH_TASKS, map(Published, published), strict=True)) if published else {}
    return System(name, dict(zip(SPEECH_TASKS, suffixes, strict=True)), figures, source, substitute)


SPEECH_TASKS = ("phone", "speaker")
_GIM, _SIMULTANEOUS = "Greedy InfoMax, one module after another", "Greedy InfoMax, simultaneous"

TABLES = (
    PaperTable(
        1,
        "Images: accuracy of a linear probe on the last module",
        "images",
        ("class",),
        (
            _image(_GIM, "", Published(81.9, 0.3), f"{_LOWE}; 4 runs"),
            _image(_SIMULTANEOUS, "_simultaneous", Published(81.9, 0.3), f"{_LOWE}; 4 runs"),
            _image("CPC", "_cpc", Published(80.5, 3.1)),
            _image("Supervised", "_supervised", Published(71.4), _SUPERVISED),
            _image("Greedy supervised", "_greedy_supervised", Published(65.2), _SUPERVISED),
            _image(
                "Deep InfoMax",
                "_dim",
                Published(78.2),
                "Hjelm et al. 2019, whose classifier has a hidden layer",
            ),
            _image("Deep InfoMax, Jensen–Shannon", "_dim_jsd", None),
            _image(
                "Predsim",
                "_predsim",
                Published(80.8),
                "Nøkland and Eidnes 2019, the network's own output",
            ),
            _image("Greedy InfoMax with PixelCNN contexts", "_pixelcnn", None),
            _image("Randomly initialised", "_random", Published(27.0), substitute="random"),
            _image("Pixels", "_pixels", None, substitute="pixels"),
        ),
    ),
    PaperTable(
        3,
        "Speech: accuracy of linear probes for phones and speakers",
        "speech",
        SPEECH_TASKS,
        (
            _speech(_GIM, "", (62.5, 99.4), _LOWE),
            _speech(_SIMULTANEOUS, "_simultaneous", (62.5, 99.4), _LOWE),
            _speech("CPC", "_cpc", (64.9, 99.6), "the paper's own run of CPC"),
            _speech(
                "Supervised",
                ("_supervised_phone", "_supervised_speaker"),
                (77.7, 98.9),
                _SUPERVISED,
            ),
            _speech(
                "Greedy supervised",
                ("_greedy_supervised_phone", "_greedy_supervised_speaker"),
                (73.4, 98.7),
                _SUPERVISED,
            ),
            _speech("Randomly initialised", "_random", (27.6, 1.9), _OORD, substitute="random"),
            _speech("MFCC", "_mfcc", (39.7, 17.6), f"{_OORD}; settings unknown", substitute="mfcc"),
        ),
    ),
    PaperTable(
        4,
        "Speech: Greedy InfoMax without parts of itself",
        "speech",
        SPEECH_TASKS,
        (
            _speech(_GIM, "", (62.5, 99.4), _LOWE),
            _speech("… without BPTT", "_no_bptt", (55.5, 99.2), _LOWE),
            _speech("… without the GRU", "_no_gar", (50.8, 99.1), _LOWE, substitute="no_gar"),
        ),
    ),
)


@dataclass(frozen=True)
class MemoryRow:
    """One row of table 2: GPU memory of one training process.

    Args:
        name: as the table calls it.
        suffix: what follows the base's name.
        part: "all" of the recipe's stages in turn, its "first", or its "largest".
        published: GB; None for a row the paper does not have.
    """

    name: str
    suffix: str
    part: Literal["all", "first", "largest"]
    published: Published | None


MEMORY_TITLE = "GPU memory of one training process"
MEMORY_ROWS = (
    MemoryRow("Supervised", "_supervised", "all", Published(6.3)),
    MemoryRow("CPC", "_cpc", "all", Published(7.7)),
    MemoryRow("Greedy InfoMax, all modules at once", "_simultaneous", "all", Published(7.0)),
    MemoryRow("Greedy InfoMax, first module", "", "first", Published(2.5)),
    MemoryRow("Greedy InfoMax, largest module", "", "largest", None),
)

SUFFIXES = sorted(
    {suffix for table in TABLES for system in table.systems for suffix in system.recipes.values()}
    - {""},
    key=len,
    reverse=True,
)


def base_of(recipe: str) -> tuple[str, str]:
    """The base a recipe belongs to, and what follows it in the recipe's name."""
    for suffix in SUFFIXES:
        if recipe.endswith(suffix) and recipe != suffix:
            return recipe.removesuffix(suffix), suffix
    return recipe, ""
