"""Whether what a recipe left, and the data it came from, are what the manifests say: all read."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from gimstage.errors import CacheError, ChangedDataError, DataError, GimstageError, StaleCacheError
from gimstage.errors.commands import on_recipe, pasted
from gimstage.inputs import DataSet
from gimstage.inputs.reread import verify_data
from gimstage.progress import Watch
from gimstage.recipe.recipe import Recipe
from gimstage.runs.folder import RunFolder, damaged_files
from gimstage.runs.manifest import Manifest, ProbeManifest
from gimstage.runs.state import Runs

R = TypeVar("R", Manifest, ProbeManifest)


@dataclass
class Verified:
    """What was read of a finished stage or probe, and what is wrong with it.

    Args:
        kind: "stage" or "probe".
        name: its number or name.
        read: the names of what was read, the data that it came from among them.
        damage: one error for everything that fails.
        asides: what was damaged earlier and set aside.
    """

    kind: str
    name: str
    read: list[str] = field(default_factory=list)
    damage: list[GimstageError] = field(default_factory=list)
    asides: list[Path] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return {
            self.kind: self.name,
            "read": self.read,
            "features": "features.zarr" in self.read,
            "damage": list(map(str, self.damage)),
            "set_aside": list(map(str, self.asides)),
        }


class Verification:
    """Reads every byte that the stages and probes of a recipe left, and of their data.

    Args:
        recipe: the recipe.
        data: the data set, as the recipe finds it now.
        places: where each stage and probe is read from, by its own folder.
        runs: all runs.
        watch: hears of progress, asks to stop.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: DataSet,
        *,
        places: Mapping[RunFolder, RunFolder],
        runs: Runs,
        watch: Watch,
    ) -> None:
        self.recipe, self.data, self.places = recipe, data, places
        self.runs, self.watch = runs, watch

    def all(self) -> list[Verified]:
        """What was read of every finished stage and probe, in order.

        Raises:
            StaleCacheError: none is finished, so there is nothing to read.
            Interrupted: a stop was asked for.
        """
        stages = [self._stage(number) for number in self.recipe.stages]
        found = [each for each in [*stages, *map(self._probe, self.recipe.probes)] if each]
        if not found:
            running = pasted(on_recipe("run", run=self.recipe.name, root=self.runs.root))
            raise StaleCacheError(
                str(self.runs.root / self.recipe.name),
                "nothing to verify",
                "a finished stage",
                f"finish one with {running}, or name the folder of its runs with --runs",
            )
        return found

    def _stage(self, number: int) -> Verified | None:
        chain = self.recipe.chain(number)
        folder, found = self._place(self.runs.own_folder(chain)), Verified("stage", str(number))
        manifest = self._manifest(folder.manifest, found)
        if manifest is not None:
            found.read += manifest.digests
            found.damage += damaged_files(folder, manifest)
            kept = chain.last.spec.output.store == "features" or folder.features.exists()
            if manifest.features is not None and kept:
                found.read.append(folder.features.name)
                found.damage += folder.damaged_features(manifest.features, full=True)
            self._read_data(manifest, found)
        return self._finished(folder, found)

    def _probe(self, name: str) -> Verified | None:
        folder = self._place(self.runs.folder(f"{self.recipe.name}/{name}"))
        found = Verified("probe", name)
        manifest = self._manifest(folder.probe_manifest, found)
        if manifest is not None:
            self._read_data(manifest, found)
        return self._finished(folder, found)

    def _place(self, own: RunFolder) -> RunFolder:
        """The own folder in any state; where it has no manifest, the one that is read."""
        return own if own.manifest_path.exists() else self.places[own]

    def _manifest(self, read: Callable[[], R | None], found: Verified) -> R | None:
        try:
            manifest = read()
        except CacheError as error:
            found.damage.append(error)
            return None
        if manifest is not None:
            found.read.append("manifest.json")
        return manifest

    def _read_data(self, manifest: Manifest | ProbeManifest, found: Verified) -> None:
        if self.data.is_outdated:
            where, wanted = str(self.data.root), "the files that were imported"
            cure = f"import them again with {pasted(on_recipe('run', run=self.recipe.name))}"
            found.damage.append(
                ChangedDataError(where, "its files have changed since", wanted, cure)
            )
        if not self.data.is_made:  # a demo's, and gone: what is written again will be the same
            return
        try:
            verify_data(self.data, [manifest], runs=self.runs.root, watch=self.watch)
        except DataError as error:
            found.damage.append(error)
            if not isinstance(error, ChangedDataError):
                return
        found.read.append("data")

    def _finished(self, folder: RunFolder, found: Verified) -> Verified | None:
        """What was found, with what was set aside; None where nothing was ever finished."""
        if not found.read and not found.damage:
            return None
        found.asides = folder.asides
        return found


def damage_in(verified: list[Verified]) -> Iterator[GimstageError]:
    """Everything that is wrong, each thing once: several records may be about the same data."""
    seen: set[str] = set()
    for each in verified:
        for error in each.damage:
            if str(error) not in seen:
                seen.add(str(error))
                yield error
