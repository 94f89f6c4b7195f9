"""Linear probes: how much of the class a frozen stack's codes hold, for a linear classifier.

    images ─► crops ─► frozen stack ─► codes, averaged over the crop's patches ─► linear classifier

Two protocols. *paper*: Adam on raw codes for a number of epochs (gim.md 1.8). *converged*:
standardised codes, logistic regression until it no longer improves, L2 chosen on held-out images;
it does not depend on the scale of the codes, which differs between modules by a factor of fifty.

Shape letters: N images, V crops per image, F features of a crop.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gimstage.draws import generator, initialising
from gimstage.errors import DataError, TrainingError
from gimstage.inputs import Images, PixelSource, prefetched, to_device
from gimstage.progress import Progress, Watch
from gimstage.specs import ConvergedProtocol, PaperProtocol, ProbeSpec
from gimstage.stack import Stack
from gimstage.views import Crops, Ints

Floats = NDArray[np.float32]
Codes = dict[str, Floats]  # by role: "train" (V, N, F), "test" (1, N, F)
Protocol = PaperProtocol | ConvergedProtocol
Row = dict[str, Any]

PIXELS = "pixels"
ROLES = ("train", "test")
BATCH_CROPS = 16
MOST_ITERATIONS = 5000


def paper_accuracy(
    train: Floats, train_labels: Ints, test: Floats, test_labels: Ints, *, protocol: PaperProtocol
) -> float:
    """Test accuracy of a linear layer trained with Adam on raw codes.

    Args:
        train: (V, N, F): epoch e sees view e modulo V of every image.
        train_labels: (N,) int64.
        test: (M, F), centre crops.
        test_labels: (M,) int64.
        protocol: learning rate, batch size, epochs, seed.
    """
    classes = int(max(train_labels.max(), test_labels.max())) + 1
    with initialising(protocol.seed):
        linear = nn.Linear(train.shape[-1], classes)
    optimiser = torch.optim.Adam(linear.parameters(), lr=protocol.learning_rate)
    labels = torch.from_numpy(train_labels)
    for epoch in range(protocol.epochs):
        view = torch.from_numpy(train[epoch % len(train)])
        order = torch.randperm(len(view), generator=generator(protocol.seed, "probe", epoch))
        for batch in order.split(protocol.batch_size):
            optimiser.zero_grad()
            nn.functional.cross_entropy(linear(view[batch]), labels[batch]).backward()
            optimiser.step()
    with torch.no_grad():
        predicted = linear(torch.from_numpy(test)).argmax(1).numpy()
    return float((predicted == test_labels).mean())


def converged_accuracy(
    train: Floats,
    train_labels: Ints,
    test: Floats,
    test_labels: Ints,
    *,
    protocol: ConvergedProtocol,
) -> float:
    """Test accuracy of logistic regression, trained to convergence on standardised codes.

    L2 is chosen on a share of the training images, then the classifier is fitted on all of them.

    Args:
        train: (V, N, F), every view a sample.
        train_labels: (N,) int64.
        test: (M, F), centre crops.
        test_labels: (M,) int64.
        protocol: candidate strengths of L2, validation share, seed.
    """
    count = len(train_labels)
    rng = generator(protocol.seed, "probe-validation")
    order = torch.randperm(count, generator=rng).numpy()
    held_out, kept = np.split(order, [max(1, round(count * protocol.validation_share))])

    def accuracy(l2: float, fit_on: Ints, x: Floats, y: Ints) -> float:
        fitted = _logistic(train[:, fit_on], train_labels[fit_on], l2)
        return float(fitted.score(x, y))

    validation = train[:, held_out].reshape(-1, train.shape[-1])
    validation_labels = np.tile(train_labels[held_out], len(train))
    scores = [accuracy(l2, kept, validation, validation_labels) for l2 in protocol.l2]
    best = protocol.l2[int(np.argmax(scores))]
    return accuracy(best, np.arange(count), test, test_labels)


def _logistic(views: Floats, labels: Ints, l2: float) -> Any:
    """Standardisation and logistic regression, mean loss + l2/2 · ‖W‖², fitted to convergence."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # In float64: the solver's line search gives up early on float32.
    x, y = views.reshape(-1, views.shape[-1]).astype(np.float64), np.tile(labels, len(views))
    regression = LogisticRegression(C=1 / (l2 * len(y)), tol=1e-3, max_iter=MOST_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            return make_pipeline(StandardScaler(), regression).fit(x, y)
        except ConvergenceWarning as warning:
            raise TrainingError(
                f"probe, logistic regression with l2 = {l2:g}",
                f"not converged after {MOST_ITERATIONS} iterations",
                "",
                "leave the smallest values of l2 out",
            ) from warning


class Probe:
    """A linear probe: codes of the labelled splits, then one row per stage and protocol.

    Args:
        spec: its TOML.
        images: the data.
        device: where to compute codes.
        workers: reading threads.
        watch: hears of progress, asks to stop.

    Raises:
        DataError: a split has no labels, or all the same.
    """

    def __init__(
        self, spec: ProbeSpec, images: Images, *, device: torch.device, workers: int, watch: Watch
    ) -> None:
        self.spec, self.images, self.watch = spec, images, watch
        self.device, self.workers = device, workers
        self.splits = {role: images.split(getattr(spec, f"{role}_split")) for role in ROLES}
        self.labels = {role: split.require_labels() for role, split in self.splits.items()}
        self.chance = 1 / self.splits["train"].num_classes
        if len(np.unique(self.labels["train"])) < 2:
            raise DataError(
                f"{images.root}, split '{spec.train_split}'",
                "images of one class only",
                "at least two classes",
                "probe on labelled data",
            )

    def rows(self, recipe: str, name: str, stacks: Mapping[str, tuple[Stack, Stack]]) -> list[Row]:
        """One row per protocol and input, pixels last.

        Args:
            recipe: whose stages are called by their number alone.
            name: of the probe, for progress.
            stacks: for each input of the recipe, by `RECIPE/NUMBER`, the stack that ends there or
                passes through it: as trained, and as it was before training.
        """
        protocols = {"converged": self.spec.converged, "paper": self.spec.paper}
        rows: list[Row] = []
        for protocol, spec in protocols.items():
            if spec is None:
                continue
            codes = self._all_codes(spec.seed, spec.views, stacks)
            inputs = [*stacks, PIXELS] if self.spec.pixels else [*stacks]
            for done, key in enumerate(inputs, start=1):
                self.watch.leave_if_asked()
                rows.append(self._row(recipe, key, protocol, spec, codes))
                self.watch.report(Progress(f"{name} {protocol}", done, len(inputs), "inputs"))
        return rows

    def _row(
        self, recipe: str, key: str, protocol: str, spec: Protocol, codes: Mapping[str, Codes]
    ) -> Row:
        def accuracy(name: str) -> float:
            train, test = codes[name]["train"], codes[name]["test"][0]
            labels = self.labels["train"], self.labels["test"]
            if isinstance(spec, PaperProtocol):
                return paper_accuracy(train, labels[0], test, labels[1], protocol=spec)
            return converged_accuracy(train, labels[0], test, labels[1], protocol=spec)

        return {
            "stage": key.removeprefix(f"{recipe}/"),
            "task": self.spec.task,
            "protocol": protocol,
            "accuracy": accuracy(key),
            "chance": self.chance,
            "random_init": None if key == PIXELS else accuracy(f"random {key}"),
            "train_images": len(self.labels["train"]),
            "test_images": len(self.labels["test"]),
            "settings": spec.model_dump(),
        }

    def _all_codes(
        self, seed: int, views: int, stacks: Mapping[str, tuple[Stack, Stack]]
    ) -> dict[str, Codes]:
        """Codes of both splits, by input, by "random " + input, and by "pixels"."""
        codes: dict[str, Codes] = {}
        for role, split in self.splits.items():
            samples, live = np.arange(len(split), dtype=np.int64), self.images.live()
            crops = [live.centre(samples)]
            if role == "train":
                rngs = [generator(seed, "probe-view", view) for view in range(views)]
                crops = [live.draw(rng, samples) for rng in rngs]
            source = self.images.source(split)
            if self.spec.pixels:
                codes.setdefault(PIXELS, {})[role] = self._pixels(source, crops)
            for trained, random in dict.fromkeys(stacks.values()):
                for prefix, stack in (("", trained), ("random ", random)):
                    found = self._codes(source, stack, crops)
                    for key, values in found.items():
                        codes.setdefault(prefix + key, {})[role] = values
        return codes

    def _codes(self, source: PixelSource, stack: Stack, crops: list[Crops]) -> dict[str, Floats]:
        """Mean codes of every crop, (V, N, C) by stage."""
        parts: dict[str, list[Floats]] = {}
        for raw in self._read(source, crops):
            self.watch.leave_if_asked()
            patches = source.prepare(to_device(raw, self.device))
            for name, values in stack.codes(patches).items():
                parts.setdefault(name, []).append(values.mean((1, 2)).cpu().numpy())
        return {name: _by_view(parts.pop(name), len(crops)) for name in list(parts)}

    def _pixels(self, source: PixelSource, crops: list[Crops]) -> Floats:
        """Normalised pixels of every crop, (V, N, channels · px²)."""
        read = self._read(source, crops)
        return _by_view([source.normalised(raw).flatten(1).numpy() for raw in read], len(crops))

    def _read(self, source: PixelSource, crops: list[Crops]) -> Iterator[Tensor]:
        places = [part for view in crops for part in _in_batches(view)]
        size = self.images.live().crop_patches
        buffers = [source.buffer(BATCH_CROPS, size) for _ in range(3)]
        yield from prefetched(source, places, buffers=buffers, workers=self.workers)


def _by_view(parts: list[Floats], views: int) -> Floats:
    return np.concatenate(parts).reshape(views, -1, parts[0].shape[-1])


def _in_batches(crops: Crops) -> Iterator[Crops]:
    for start in range(0, len(crops.sample), BATCH_CROPS):
        cut = slice(start, start + BATCH_CROPS)
        yield Crops(crops.sample[cut], crops.y[cut], crops.x[cut], crops.flip[cut], crops.size_px)
