"""The commands as methods: a recipe, its data and its runs in a person's hands."""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property, partial, wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from gimstage.cache import FeatureReader
from gimstage.errors import BudgetError, DataError
from gimstage.errors.commands import Asked, asking
from gimstage.plan.cost import plan_stage, plan_stages
from gimstage.progress import Progress, Watch
from gimstage.recipe.recipe import Recipe
from gimstage.session.display import open_console, shown_progress, stopped_by
from gimstage.session.options import Options
from gimstage.session.results import Plan, ProbeRows, ReportPage, States, TrainedStage
from gimstage.session.tables import Answer
from gimstage.stack import Stack, trained_stack
from gimstage.work.base import Settings
from gimstage.work.pipeline import Pipeline

Watching = Callable[[], AbstractContextManager[Watch]]


P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound="Session")


def _asking(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """A method in whose errors every command carries what the session was opened with."""

    @wraps(method)
    def call(session: S, /, *arguments: P.args, **options: P.kwargs) -> R:
        with asking(Asked(session.folder, session.runs, session.data, session.seed)):
            return method(session, *arguments, **options)

    return call


class Session:
    """A recipe on its data, below a runs folder; every method is the command of its name.

    Files are read anew by every call, so a recipe may be edited between two of them.

    Args:
        folder: the folder of the recipe's TOML files.
        runs: folder of all runs.
        data: folder of the data set; None where the recipe writes its own.
        seed: replaces the recipe's seeds; runs as NAME@SEED.
        options: how to compute.
        watching: gives each call its watch, which hears of progress and asks to stop.

    Raises:
        RecipeError: the recipe cannot mean what it says.
    """

    def __init__(
        self,
        folder: Path,
        *,
        runs: Path,
        data: Path | None,
        seed: int | None,
        options: Options,
        watching: Watching,
    ) -> None:
        self.folder, self.runs, self.data, self.seed = folder, runs, data, seed
        self.options, self._watching = options, watching
        self.name = self.recipe.name

    def __repr__(self) -> str:
        """The recipe, where its runs lie, and what it consists of."""
        recipe = self.recipe
        stages = ", ".join(f"{n} {stage.title}" for n, stage in recipe.stages.items()) or "none"
        probes = ", ".join(recipe.probes) or "none"
        return f"recipe {self.name} in {self.runs / self.name}: stages {stages}; probes {probes}"

    @property
    def recipe(self) -> Recipe:
        """The recipe as its files stand now.

        Raises:
            RecipeError: it cannot mean what it says.
        """
        return Recipe.load(self.folder, self.seed)

    @cached_property
    def settings(self) -> Settings:
        """How to compute, the device looked for.

        Raises:
            GimstageError: there is no such device, or a text is not a number of bytes.
        """
        return self.options.settings()

    @_asking
    def pipeline(self, watch: Watch | None = None) -> Pipeline:
        """The recipe on its data, both read anew, to work with: a demo's data is written first.

        Raises:
            GimstageError: the recipe or the data is wrong, or there is no data.
        """
        return Pipeline.find(
            self.recipe, self.data, self.runs, settings=self.settings, watch=watch or Watch()
        )

    def look(self) -> Pipeline:
        """The recipe on its data for whoever only looks: nothing is written; raises as `pipeline`.

        A demo's data that is not written yet is then known by its counts, lengths and labels.
        """
        return self._look(self.recipe)

    def _look(self, recipe: Recipe) -> Pipeline:
        return Pipeline.look(recipe, self.data, self.runs, settings=self.settings)

    @_asking
    def plan(self, *, calibrate: bool = False) -> Plan:
        """What every stage will cost: GPU memory, operations, disk to the byte, hours.

        Without data, what depends on it is left out.

        Args:
            calibrate: whether this device and disk are measured first, for the hours, and what was
                measured is kept in `calibration.json` below the runs folder; else nothing is
                written.
        """
        recipe = self.recipe
        if not recipe.data.synthetic and self.data is None:
            return self._plan_memory(recipe)
        pipeline = self._look(recipe)
        if calibrate:
            pipeline.calibrate()
        plans, refusal = [], None
        try:
            plans = pipeline.plans()
            pipeline.require_disk(pipeline.to_store)
        except BudgetError as error:
            refusal = error
        free, budget = pipeline.free_disk(), pipeline.settings.budget
        return Plan(recipe.name, plans, free_bytes=free, budget=budget, refusal=refusal)

    def _plan_memory(self, recipe: Recipe) -> Plan:
        """Plan what does not depend on the data: GPU memory and operations."""
        plans, refusal, budget = [], None, self.options.budget()
        cost = partial(plan_stage, data=None, cached_bytes=0, budget=budget, calibration=None)
        try:
            plans = plan_stages(map(recipe.chain, recipe.stages), cost)
        except BudgetError as error:
            refusal = error
        return Plan(recipe.name, plans, free_bytes=None, budget=budget, refusal=refusal)

    @_asking
    def train(self, number: int | None = None) -> Answer[TrainedStage]:
        """Train stage `number`, freeze it and store its features; without a number, every stage.

        Raises:
            GimstageError: the stage before is not done, the disk is too small, another process
                works on it, the data or the numbers are bad.
            Interrupted: a stop was asked for; the next call goes on from there.
        """
        with self._watching() as watch:
            pipeline = self.pipeline(watch)
            numbers = list(pipeline.recipe.stages) if number is None else [number]
            fresh = {each: pipeline.train_stage(each) for each in numbers}
        return _trained(pipeline, fresh)

    @_asking
    def extract(self, number: int) -> Answer[TrainedStage]:
        """Store the features of the trained stage `number`.

        Raises:
            GimstageError: it is not trained as its recipe stands, or as `train` says.
            Interrupted: a stop was asked for; the next call goes on from there.
        """
        with self._watching() as watch:
            pipeline = self.pipeline(watch)
            fresh = {number: pipeline.extract_stage(number)}
        return _trained(pipeline, fresh)

    @_asking
    def probe(self, name: str | None = None) -> ProbeRows:
        """Fit linear probes on the frozen stack: probe `name`, or every probe of the recipe.

        Of several, those whose labels the data does not have are left out with a warning.

        Raises:
            GimstageError: a stage it reads is not done, or the data has no labels.
            Interrupted: a stop was asked for.
        """
        with self._watching() as watch:
            pipeline = self.pipeline(watch)
            names = pipeline.possible_probes if name is None else [name]
            rows = [row for each in names for row in pipeline.probe(each)]
        return ProbeRows(self.name, rows)

    @_asking
    def run(self) -> ProbeRows:
        """Train every stage that is not done, then fit every probe.

        Raises:
            GimstageError: as `train` and `probe` say.
            Interrupted: a stop was asked for; the next call goes on from there.
        """
        with self._watching() as watch:
            rows = self.pipeline(watch).run()
        return ProbeRows(self.name, rows)

    @_asking
    def status(self, *, why: bool = False) -> States:
        """Which stages and probes are missing, partial, done, stale or damaged.

        Args:
            why: whether every field that changed is shown, old and new, or the first reason.
        """
        pipeline = self.look()
        stages, probes = pipeline.statuses(), pipeline.probe_statuses()
        memory = {status.name: pipeline.memory(status.name) for status in stages}
        return States(self.name, stages, probes, memory=memory, why=why)

    @_asking
    def features(self, number: int) -> FeatureReader:
        """A reader of what the finished stage `number` stores, every shard's index checked.

        Raises:
            GimstageError: the stage is not done, stores nothing, or it is damaged.
        """
        pipeline = self.look()
        chain = pipeline.recipe.chain(number)
        pipeline.runs.require(chain)
        return pipeline.runs.stage_folder(chain).open_features()

    @_asking
    def stack(self, number: int) -> Stack:
        """The frozen modules from the data up to the finished stage `number`.

        Raises:
            GimstageError: the stage is not done, or damaged.
        """
        pipeline = self.look()
        return trained_stack(pipeline.runs, pipeline.recipe.chain(number))

    @_asking
    def report(self, out: Path | str = "report") -> ReportPage:
        """Set the paper's tables and figures beside the runs of this recipe, as a page in `out`.

        Raises:
            GimstageError: nothing has been run, or `out` cannot be written to.
            Interrupted: a stop was asked for; the report of before is still there.
        """
        with self._watching() as watch:
            lenders: set[str] = set()
            with suppress(DataError):  # without its data, what is in its own folder
                lenders = self.look().lenders()
            runs = [self.name]
            return report_on(self.runs, runs, Path(out), self.data, watch, also=lenders)


def _trained(pipeline: Pipeline, fresh: dict[int, bool]) -> Answer[TrainedStage]:
    stages = []
    for number in fresh:
        chain = pipeline.recipe.chain(number)
        manifest = pipeline.runs.require(chain)
        status = pipeline.runs.status(chain)
        stages.append(
            TrainedStage(
                pipeline.recipe.name,
                status,
                fresh=fresh[number],
                training=manifest.training,
                features=manifest.features,
            )
        )
    return Answer(stages, *map(str, stages))


def report_on(
    runs: Path,
    names: list[str],
    out: Path,
    data: Path | None,
    watch: Watch,
    *,
    also: Collection[str] = (),
) -> ReportPage:
    """Write the report of some runs, or of all where no name is given; its page and its rows.

    Args:
        runs: folder of all runs.
        names: the names of recipes, or of single runs as RECIPE@SEED.
        out: the folder to write to.
        data: where raw data lies that is not where it was when the runs read it.
        watch: hears of progress, asks to stop.
        also: the names of further folders of runs, each without the other seeds of its recipe.

    Raises:
        GimstageError: there is no such run, or none at all, or `out` cannot be written to.
        Interrupted: a stop was asked for; the report of before is still there.
    """
    from gimstage.report import collect, summary, write_report  # of no use to other commands

    report = collect(runs, names, also=also)
    page = write_report(report, out=out, data=data, watch=watch)
    return ReportPage(page, summary(report))


def watching_in_python(progress: bool | Callable[[Progress], None]) -> Watching:
    """Watches for calls from Python: the first Ctrl-C saves and stops, the second one interrupts.

    Args:
        progress: True shows it on stderr, or in the cell of a notebook; False does not; a function
            is called with it instead.
    """

    @contextmanager
    def watching() -> Iterator[Watch]:
        watch = Watch()
        then = signal.default_int_handler
        with stopped_by(watch, [signal.SIGINT], then=then, heard=lambda number: None):
            if callable(progress):
                watch.report = progress
                yield watch
            elif progress:
                with shown_progress(open_console(stderr=True)) as watch.report:
                    yield watch
            else:
                yield watch

    return watching
