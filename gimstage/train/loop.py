"""One training loop for every stage and every objective.

    batch ─► module ─► features ─► pool ─► codes ─► objective ─► loss ─► backward ─► Adam
                        (dropped at once)

What a step sees depends on the seed and the step alone, so training continues from step, weights
and Adam's state to the same bits as if it had never stopped.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gimstage.device import module_to_device, naming_out_of_memory, to_fastest_layout
from gimstage.draws import drawing, generator
from gimstage.inputs import Places, Source, TrainingDraws, prefetched, to_device
from gimstage.progress import Interrupted, Progress, Watch
from gimstage.recipe.chain import Chain
from gimstage.runs.folder import RunFolder
from gimstage.runs.tensors import Stored, save_tensors
from gimstage.stack import new_learners, whole_module, whole_objective
from gimstage.train.checkpoints import Checkpoints
from gimstage.train.metrics import Metrics, not_finite
from gimstage.train.step import Batch, Load, State, training_step, validation_step
from gimstage.train.warmup import warm_up

READ_AHEAD = 2  # batches read while one is trained on
ADAM_SLOTS = ("step", "exp_avg", "exp_avg_sq")


class Training:
    """A stage in training: its parts, its optimiser, and how far it is.

    Args:
        chain: the stage, last of its chain.
        folder: where it keeps its files, and leaves its weights.
        fingerprint: the fingerprint of everything that decides its weights.
        total_steps: optimiser steps of the whole training.
        device: where it computes.
        micro_batch: samples whose graph is kept at once; the batch size or more for all.
        checkpointing: whether blocks are computed again in backward instead of kept.
    """

    def __init__(
        self,
        chain: Chain,
        folder: RunFolder,
        *,
        fingerprint: str,
        total_steps: int,
        device: torch.device,
        micro_batch: int,
        checkpointing: bool,
    ) -> None:
        self.stage, self.spec = chain.last, chain.last.spec.train
        self.folder, self.fingerprint, self.total_steps = folder, fingerprint, total_steps
        self.learners = new_learners(chain)
        self.module = module_to_device(whole_module(self.learners), device).train()
        self.module.checkpointing, self.micro_batch = checkpointing, micro_batch
        self.objective = whole_objective(self.learners).to(device).train()
        parts = {"module": self.module, "objective": self.objective}
        self.named = {
            f"{k}.{n}": p for k, part in parts.items() for n, p in part.named_parameters()
        }
        # Statistics of batches, which no gradient reaches.
        self.kept = {f"{k}.{n}": b for k, part in parts.items() for n, b in part.named_buffers()}
        self.optimiser = torch.optim.Adam(self.named.values(), lr=self.spec.learning_rate)
        self.device, self.step = device, 0
        self.checkpoints = Checkpoints(folder, fingerprint)
        validation = chain.data.validation
        self.metrics = Metrics(
            folder.metrics,
            stage=self.stage.key,
            batch_size=self.spec.batch_size,
            total_steps=total_steps,
            evaluations=validation.evaluations if validation else 0,
        )

    def restore(self) -> None:
        """Go on from the last whole checkpoint of this very training, else from the start.

        Damaged checkpoints are set aside with a warning.
        """
        stored = self.checkpoints.newest(self._fits)
        if stored is None:
            self.metrics.resume(None)
            return
        for name, value in (self.named | self.kept).items():
            value.data.copy_(stored.tensors[name])
        self.optimiser.load_state_dict(self._adam_state(stored.tensors))
        self.step = stored.header["step"]
        self.metrics.resume(stored.header["metrics"])

    def _fits(self, stored: Stored) -> bool:
        """Whether a checkpoint holds every tensor of the training, and no other."""
        shapes = {name: value.shape for name, value in (self.named | self.kept).items()}
        for name, parameter in self.named.items():
            slots = dict.fromkeys(ADAM_SLOTS, parameter.shape) | {"step": torch.Size()}
            shapes |= {f"adam.{slot}.{name}": shape for slot, shape in slots.items()}
        return {name: tensor.shape for name, tensor in stored.tensors.items()} == shapes

    @torch.no_grad()
    def _adam_state(self, tensors: dict[str, Tensor]) -> dict[str, Any]:
        state = self.optimiser.state_dict()
        state["state"] = {
            index: {
                "step": tensors[f"adam.step.{name}"],
                # In the parameter's own layout: another one would take another path through Adam.
                "exp_avg": torch.empty_like(p).copy_(tensors[f"adam.exp_avg.{name}"]),
                "exp_avg_sq": torch.empty_like(p).copy_(tensors[f"adam.exp_avg_sq.{name}"]),
            }
            for index, (name, p) in enumerate(self.named.items())
        }
        return state

    def save_checkpoint(self) -> None:
        """Write everything training needs to go on.

        Raises:
            TrainingError: a loss or weight is not finite; the checkpoints before stay.
            CheckpointError: it cannot be written; they stay as well.
        """
        self._refuse_not_finite()
        tensors = {name: value.detach() for name, value in (self.named | self.kept).items()}
        for name, parameter in self.named.items():
            slots = self.optimiser.state[parameter]
            tensors |= {f"adam.{slot}.{name}": slots[slot] for slot in ADAM_SLOTS}
        self.checkpoints.save(tensors, step=self.step, metrics=self.metrics.state())

    def run(
        self,
        source: Source,
        draws: TrainingDraws,
        *,
        workers: int,
        checkpoint_every_s: float,
        watch: Watch,
        finishing: Callable[[], None],
    ) -> None:
        """Train to the last step, then leave weights.safetensors and objective.safetensors.

        Args:
            source: what the stage reads.
            draws: which part of it each step sees.
            workers: reading threads.
            checkpoint_every_s: seconds between checkpoints.
            watch: hears of progress, asks to stop.
            finishing: called after the last step, before the weights are left.

        Raises:
            Interrupted: a stop was asked for; the checkpoint holds the last finished step.
            TrainingError: a loss or weight is not finite.
        """
        began, first_step = time.perf_counter(), self.step
        saved = began
        for load, labels, state, idle_s in self._batches(source, draws, workers):
            values = self._step(load, labels, state)
            self.step += 1
            due = self.metrics.validates(self.step)
            validation = self._validation(source, draws) if due else ()
            self.metrics.add(self.step, values, idle_s, validation)
            now = time.perf_counter()
            if watch.due() or self.step == self.total_steps:
                self._report(watch, self.step - first_step, now - began)
            stopping = watch.stop.is_set() and self.step < self.total_steps
            if stopping or now - saved >= checkpoint_every_s:
                self.save_checkpoint()
                saved = now
            if stopping:
                raise Interrupted
        finishing()
        self._finish()

    def _step(self, load: Load, labels: Tensor | None, state: State | None) -> list[Tensor]:
        """One step.

        Raises:
            BudgetError: it takes more GPU memory than there is, or than is allowed.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = self.spec.rate(self.step, self.total_steps)
        seed = self.spec.seed
        dropout = drawing(seed, "dropout", self.step) if self.module.uses_dropout else nullcontext()
        # Not saved anew: an update that runs out of memory half way leaves half of it.
        fitting = naming_out_of_memory(
            f"stage {self.stage.key}, step {self.step + 1}",
            expected="a step within the memory allowed",
            cure="its last checkpoint is kept; allow more, or have a leaner step chosen: --gpu-mem "
            "below what is free, --gpu-margin above 10 %",
        )
        with fitting, dropout:
            return training_step(
                self.learners,
                self._batch(load, labels, state, "negatives", self.step),
                optimiser=self.optimiser,
                precision=self.spec.precision,
                micro_batch=self.micro_batch,
                due=[self.step % learner.update_every == 0 for learner in self.learners],
            )

    def _batch(
        self, load: Load, labels: Tensor | None, state: State | None, purpose: str, number: int
    ) -> Batch:
        rngs = [
            generator(self.spec.seed, purpose, learner.position, number)
            for learner in self.learners
        ]
        count = self.spec.batch_size
        return Batch(load=load, count=count, labels=labels, rngs=rngs, state=state)

    def _validation(self, source: Source, draws: TrainingDraws) -> list[tuple[float, float]]:
        """Mean loss and accuracy of every learner on the batches held out.

        Their negatives are the same at every evaluation, so that only training moves the loss.
        """
        buffer = source.buffer(self.spec.batch_size, draws.size)
        sums = torch.zeros(len(self.learners), 2, device=self.device)
        self._learning(False)
        for index, places in enumerate(draws.held_out):
            load = partial(load_samples, source, source.fill(buffer, places), places, self.device)
            state = warm_up(self.module, source, places, draws.warm_up, self.device)
            values = validation_step(
                self.learners,
                self._batch(load, draws.labels(places), state, "validation-negatives", index),
                precision=self.spec.precision,
                micro_batch=self.micro_batch,
            )
            sums += torch.stack([each[:2] for each in values])
        self._learning(True)
        means: list[tuple[float, float]] = (sums / len(draws.held_out)).tolist()
        return means

    def _learning(self, on: bool) -> None:
        self.module.train(on)
        self.objective.train(on)

    def _batches(
        self, source: Source, draws: TrainingDraws, workers: int
    ) -> Iterator[tuple[Load, Tensor | None, State | None, float]]:
        """Input, labels and states of every remaining step, and the seconds waited for them."""
        count = self.spec.batch_size
        buffers = [source.buffer(count, draws.size) for _ in range(READ_AHEAD + 1)]
        batches = (draws(step) for step in range(self.step, self.total_steps))
        asked = time.perf_counter()
        for raw, places in prefetched(source, batches, buffers=buffers, workers=workers):
            waited = time.perf_counter() - asked
            load: Load = partial(load_samples, source, raw, places, self.device)
            if source.recomputes and self.micro_batch < count:
                load = _InputKeptOnHost(load, self.device)
            state = warm_up(self.module, source, places, draws.warm_up, self.device)
            yield load, draws.labels(places), state, waited
            asked = time.perf_counter()

    def _report(self, watch: Watch, steps: int, seconds: float) -> None:
        self.metrics.settle()
        watch.report(
            Progress(
                task=f"{self.stage.key} train",
                done=self.step,
                total=self.total_steps,
                unit="steps",
                samples_per_s=steps * self.spec.batch_size / seconds,
                loss=self.metrics.loss,
            )
        )

    def _finish(self) -> None:
        """Leave the trained weights; once the module's are there, the stage is trained."""
        self._refuse_not_finite()
        self.metrics.finish()
        # No times in here: equal trainings leave equal files.
        record = {"fingerprint": self.fingerprint, "steps": self.step}
        save_tensors(self.folder.objective, self.objective.state_dict(), record)
        save_tensors(self.folder.weights, self.module.state_dict(), record)

    def _refuse_not_finite(self) -> None:
        self.metrics.settle()
        for name, parameter in self.named.items():
            if not bool(torch.isfinite(parameter).all()):
                raise not_finite(self.stage.key, self.step, f"{name} is not finite")


def load_samples(
    source: Source, raw: Tensor, places: Places, device: torch.device, first: int, last: int
) -> Tensor:
    """Module input on the device, of the samples of a batch from `first` to before `last`."""
    raw_samples = to_device(raw[first:last], device)
    made = source.prepare(raw_samples, places.entries(first, last))
    return to_fastest_layout(made, source.gives)


class _InputKeptOnHost:
    """Module input that is costly to make, kept on the host from the first pass for the second."""

    def __init__(self, load: Load, device: torch.device) -> None:
        self._load, self._device = load, device
        self._kept: dict[tuple[int, int], Tensor] = {}

    def __call__(self, first: int, last: int) -> Tensor:
        if (first, last) in self._kept:
            return self._kept.pop((first, last)).to(self._device)
        made = self._load(first, last)
        self._kept[first, last] = made.cpu()
        return made
