"""Many recipes with many seeds: what is left to do, how long it will take, what became of it.

    folders ─► in_order ─► suiting ─► Campaign: estimate ─► work ─► the report of what is finished

One seed after another, each recipe after those it builds on: what is cut short leaves whole tables
of fewer seeds. What is done is not done again, so the same campaign goes on where it stopped.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gimstage.data.kinds import drafting
from gimstage.data.sources import source_in
from gimstage.errors import DataError, GimstageError, NoLabelsError, RecipeError
from gimstage.errors.commands import Asked, asking
from gimstage.errors.failures import told
from gimstage.plan.calibration import Calibration
from gimstage.progress import Watch
from gimstage.recipe.names import RunName
from gimstage.recipe.recipe import Recipe, Shelf
from gimstage.work.base import Settings
from gimstage.work.pipeline import Pipeline

CampaignState = Literal["to do", "part done", "done", "left out", "failed"]


@dataclass
class CampaignRun:
    """One recipe with one seed.

    Args:
        recipe: the recipe, its seeds replaced.
        state: what it is now; "left out" where the data lacks the labels it needs.
        estimated_s: seconds of what was left to do when it was estimated; None where unknown.
        error: why it failed or was left out.
        pipeline: the recipe on its data; None until it was estimated.
    """

    recipe: Recipe
    state: CampaignState = "to do"
    estimated_s: float | None = None
    error: str | None = None
    pipeline: Pipeline | None = None

    @property
    def name(self) -> str:
        """The name of its folder below the runs folder."""
        return self.recipe.name

    @property
    def key(self) -> RunName:
        """The recipe and the seed in that name."""
        return RunName.parse(self.name)

    def as_json(self) -> dict[str, Any]:
        """The run as plain JSON values."""
        row = {
            "recipe": self.key.recipe,
            "seed": self.recipe.seed,
            "state": self.state,
            "estimated_s": self.estimated_s,
        }
        return row if self.error is None else row | {"error": self.error}


class Campaign:
    """Recipes on their data, below a runs folder.

    Args:
        recipes: in the order of running, each after those it builds on.
        data: the folder of the data set; None where all recipes write their own.
        root: the runs folder.
        settings: how to compute.
        watch: hears of progress, asks to stop.
    """

    def __init__(
        self,
        recipes: Sequence[Recipe],
        *,
        data: Path | None,
        root: Path,
        settings: Settings,
        watch: Watch,
    ) -> None:
        self.runs = [CampaignRun(recipe) for recipe in recipes]
        self.data, self.root, self.settings, self.watch = data, root, settings, watch
        self._measured: Calibration | None = None

    def estimate(self) -> None:
        """Find out what is left to do of every run, and how long that will take.

        What was not measured before on this device is measured, seconds for each stage, and kept.

        Raises:
            Interrupted: a stop was asked for.
        """
        for run in self.runs:
            self._attempt(run, self._estimate)

    def look(self) -> None:
        """Find out what `estimate` does, for who only looks: nothing is written or kept.

        Where the disk was never measured it counts as one that takes no time.

        Raises:
            Interrupted: a stop was asked for.
        """
        for run in self.runs:
            self._attempt(run, self._look)

    def work(self) -> None:
        """Do what is left to do; a run that fails stops none of the others.

        Raises:
            Interrupted: a stop was asked for; the next call goes on from there.
        """
        for run in self.runs:
            if run.state in ("to do", "part done"):
                self._attempt(run, self._work)

    @property
    def knows_disk(self) -> bool:
        """Whether the disk's speed is in what was estimated; `look` measures none."""
        return self._measured is None or math.isfinite(self._measured.read_bytes_per_s)

    @property
    def failed(self) -> bool:
        """Whether any of the runs failed."""
        return any(run.state == "failed" for run in self.runs)

    @property
    def reportable(self) -> set[str]:
        """The names of the folders in which stages or probes of the runs are finished."""
        names = {run.name for run in self.runs}
        own = {name for name in names if any((self.root / name).glob("*/manifest.json"))}
        lent = [run.pipeline.lenders() for run in self.runs if run.state == "done" and run.pipeline]
        return own.union(*lent)

    def _attempt(self, run: CampaignRun, do: Callable[[CampaignRun], None]) -> None:
        self.watch.leave_if_asked()
        asked = Asked(run.recipe.folder, self.root, self.data, run.recipe.seed)
        try:
            with asking(asked):
                do(run)
        except NoLabelsError as error:
            run.state, run.error = "left out", str(error)
        except GimstageError as error:
            run.state, run.error = "failed", str(error)
        except OSError as error:  # of a disk, for one
            run.state, run.error = "failed", told(error, str(self.root))

    def _estimate(self, run: CampaignRun) -> None:
        self._refuse_without_base(run)
        run.pipeline = Pipeline.find(
            run.recipe, self.data, self.root, settings=self.settings, watch=self.watch
        )
        run.state = state_of(run.pipeline)
        if run.state != "done":
            run.pipeline.calibrate(again=False)
        run.estimated_s = seconds_left(run.pipeline)

    def _look(self, run: CampaignRun) -> None:
        self._refuse_without_base(run)
        run.pipeline = Pipeline.look(run.recipe, self.data, self.root, settings=self.settings)
        run.state = state_of(run.pipeline)
        if run.state != "done":
            self._measured = run.pipeline.measure(self._measured)
        run.estimated_s = seconds_left(run.pipeline)

    def _work(self, run: CampaignRun) -> None:
        assert run.pipeline is not None, "estimate first"
        self._refuse_without_base(run)
        run.pipeline.run()
        run.state = "done"

    def _refuse_without_base(self, run: CampaignRun) -> None:
        below = names_below(run.recipe)
        lacking = [r.name for r in self.runs if r.name in below and r.state == "left out"]
        if lacking:
            found = f"builds on {', '.join(lacking)}, which is left out"
            raise NoLabelsError(f"recipe {run.name}", found)


def state_of(pipeline: Pipeline) -> CampaignState:
    """What of a recipe is done, probes left out whose labels the data does not have.

    Raises:
        NoLabelsError: the data has none for the only probe.
    """
    probes = [s for s in pipeline.probe_statuses() if s.name in pipeline.possible_probes]
    states = {status.state for status in pipeline.statuses() + probes}
    if states <= {"done"}:
        return "done"
    return "part done" if states & {"done", "partial"} else "to do"


def seconds_left(pipeline: Pipeline) -> float:
    """What the stages and probes that are not done will take, fitting classifiers left out.

    A stage or probe that has begun counts whole. What the estimate rests on has been measured.
    """
    hours = [
        pipeline.plan(pipeline.recipe.chain(status.name)).hours
        for status in pipeline.statuses()
        if status.state != "done"
    ]
    hours += [
        pipeline.probe_hours(status.name)
        for status in pipeline.probe_statuses()
        if status.state != "done" and status.name in pipeline.possible_probes
    ]
    return 3600 * sum((each or 0.0 for each in hours), 0.0)


def in_order(folders: Sequence[Path]) -> list[Recipe]:
    """The recipes in some folders and those they build on, each after these.

    Raises:
        RecipeError: a recipe is wrong, or two folders have one name.
    """
    seen: dict[str, Path] = {}
    ordered: list[Recipe] = []
    shelf = Shelf()

    def add(folder: Path) -> None:
        recipe = Recipe.load(folder, shelf=shelf)
        other = seen.get(recipe.name)
        if other is None:
            seen[recipe.name] = recipe.folder
            for name in names_below(recipe):
                add(recipe.folder.absolute().parent / name)
            ordered.append(recipe)
        elif other.resolve() != recipe.folder.resolve():
            found = f"a second recipe {recipe.name}, beside {other}"
            cure = "both would run in one folder of runs: rename one"
            raise RecipeError(str(folder), found, "recipes of different names", cure)

    for folder in folders:
        add(folder)
    return ordered


def names_below(recipe: Recipe) -> list[str]:
    """The other recipes whose trained stages a recipe reads, directly or through others."""
    trained = [probe for probe in recipe.probes.values() if probe.weights == "trained"]
    refs = [*recipe.stages, *(ref for probe in trained for ref in probe.inputs)]
    names = dict.fromkeys(stage.recipe for ref in refs for stage in recipe.chain(ref).stages)
    return [name for name in names if name != recipe.name]


def divide_by_data(
    recipes: Sequence[Recipe], data: Path | None
) -> tuple[list[Recipe], list[Recipe]]:
    """The recipes that can run on what lies in a folder, and those of other data.

    Args:
        recipes: to choose from.
        data: the folder; None where every recipe writes its own.

    Raises:
        DataError: nothing there is read by any source, no recipe is for what does, or a recipe
            needs data and there is none.
    """
    if data is None:
        _refuse_without_data(recipes)
        return list(recipes), []
    source = source_in(data)
    chosen = [recipe for recipe in recipes if recipe.data.layout == source]
    if not chosen:
        names = ", ".join(recipe.name for recipe in recipes) or "none"
        cure = f"name others, or give other data; {drafting(data)}"
        found = f'data for source = "{source}"'
        raise DataError(str(data), found, f"what one of these is for: {names}", cure)
    return chosen, [recipe for recipe in recipes if recipe not in chosen]


def _refuse_without_data(recipes: Sequence[Recipe]) -> None:
    needy = [recipe.name for recipe in recipes if not recipe.data.synthetic]
    if needy:
        raise DataError(
            "--data",
            f"not given, but needed by {', '.join(needy)}",
            "the folder of images in STL-10's layout or of speech in LibriSpeech's",
            "`make tables DATA=DIR` or `gimstage tables --data DIR`; only recipes with a table "
            "[demo] in data.toml, such as stages/demo, need none",
        )
