"""Every error gimstage raises on purpose; the command line renders them, exit code 1.

    GimstageError
    ├── RecipeError            a TOML file says something it cannot mean
    ├── DataError              the data set on disk is not what its format promises
    │   ├── NoLabelsError      it is, but it has no labels of the kind asked for
    │   └── ChangedDataError   its bytes are not those that were to be trained on
    ├── CacheError             what a stage or probe left on disk cannot be used
    │   ├── StaleCacheError    it is not there yet, or made by another recipe, upstream or data
    │   └── DamagedCacheError  a file lacks bytes, or holds the wrong ones
    ├── BudgetError            it would not fit: disk or memory
    ├── CheckpointError        training cannot go on from what lies there
    ├── TrainingError          the numbers went wrong (NaN, infinity)
    └── BusyError              another process works on the same stage

A message has four parts: where · what was found · what was expected · what to do.

commands  the commands that messages name, with the options used so far
failures  what the system's errors mean to a person

This file imports nothing of gimstage.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class GimstageError(Exception):
    """Any refusal or failure that has a message for the user.

    Args:
        where: the file, key, stage or value concerned.
        found: what is there.
        expected: what should be there; empty where it goes without saying.
        cure: what the user can do about it.
    """

    def __init__(self, where: str, found: str, expected: str = "", cure: str = "") -> None:
        self.where, self.found, self.expected, self.cure = where, found, expected, cure
        super().__init__(str(self))

    def __str__(self) -> str:
        """The whole message on one line: where: found; expected …; cure."""
        parts = [f"{self.where}: {self.found}"]
        if self.expected:
            parts.append(f"expected {self.expected}")
        if self.cure:
            parts.append(self.cure)
        return "; ".join(parts)


class RecipeError(GimstageError):
    """A recipe file says something it cannot mean."""


class DataError(GimstageError):
    """The data set on disk is not what its format promises."""


class NoLabelsError(DataError):
    """The data has no labels of the kind asked for, or none that could be learned and told."""


class ChangedDataError(DataError):
    """A file of the data holds other bytes than those that a result is said to come from."""


class CacheError(GimstageError):
    """What a stage or probe left on disk cannot be used: features, weights, or a manifest."""


class StaleCacheError(CacheError):
    """What is asked for is not there yet, or was made by another recipe, upstream or data."""


class DamagedCacheError(CacheError):
    """A file that a stage or probe left lacks bytes, or holds the wrong ones."""


class BudgetError(GimstageError):
    """It would not fit on the disk or in the memory allowed.

    Args:
        where: the stage or recipe concerned.
        found: what it takes.
        expected: what there is.
        cure: what the user can do about it.
        smallest_bytes: the smallest budget that would do, where that is known.
    """

    def __init__(
        self,
        where: str,
        found: str,
        expected: str = "",
        cure: str = "",
        *,
        smallest_bytes: int | None = None,
    ) -> None:
        super().__init__(where, found, expected, cure)
        self.smallest_bytes = smallest_bytes


class CheckpointError(GimstageError):
    """Training cannot go on from what lies there."""


class TrainingError(GimstageError):
    """The numbers went wrong: NaN or infinity."""


class BusyError(GimstageError):
    """Another process works on the same stage."""


def nearest(word: str, known: Iterable[str]) -> str:
    """The advice "did you mean 'x'?" for the known word nearest to `word`, or the list of all."""
    known = sorted(known)
    return guess(word, known) or f"choose from: {', '.join(known)}"


def guess(word: str, known: Iterable[str]) -> str:
    """The advice "did you mean 'x'?" for the known word nearest to `word`; empty where none is."""
    close = get_close_matches(word, sorted(known), n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else ""


def either(names: Iterable[str]) -> str:
    """`"a", "b" or "c"`, of at least one name."""
    *others, last = (f'"{name}"' for name in names)
    return f"{', '.join(others)} or {last}" if others else last
