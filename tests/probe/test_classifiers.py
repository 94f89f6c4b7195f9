"""Classifiers on codes, by every protocol: what they learn, and which rows they learn it from."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gimstage.errors import DataError, TrainingError
from gimstage.probe import classifiers
from gimstage.probe.classifiers import (
    converged_accuracy,
    converged_classifier,
    hidden_accuracy,
    paper_accuracy,
)
from gimstage.specs import ConvergedProtocol, HiddenProtocol, PaperProtocol

Codes = tuple[NDArray[np.float32], NDArray[np.int64]]
PAPER = PaperProtocol(learning_rate=0.05, batch_size=8, epochs=20, views=2, seed=3)
CONVERGED = ConvergedProtocol(views=2, l2=[1e-2, 1.0], validation_share=0.25, seed=3)
HIDDEN = HiddenProtocol(
    hidden_channels=16,
    dropout=0.1,
    learning_rate=0.01,
    batch_size=8,
    epochs=20,
    decay_factor=0.5,
    decay_epochs=[10],
    views=2,
    seed=3,
)
PROTOCOLS = [
    (paper_accuracy, PAPER),
    (converged_accuracy, CONVERGED),
    (hidden_accuracy, HIDDEN),
]


def codes(count: int, classes: int = 3, *, seed: int, spread: float = 0.3) -> Codes:
    """Points around a corner for each class, (count, 4), and which corner each is at."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    points = np.eye(classes, 4)[labels] * 3 + rng.normal(0, spread, (count, 4))
    return points.astype(np.float32), labels.astype(np.int64)


def views(count: int, **how: float) -> Codes:
    """Two views of such points, (2, count, 4)."""
    first, labels = codes(count, seed=1, **how)
    second, _ = codes(count, seed=2, **how)
    return np.stack([first, second]), labels


@pytest.mark.parametrize(("accuracy", "protocol"), PROTOCOLS)
def test_classes_that_lie_apart_are_all_told_apart(accuracy, protocol) -> None:
    train, labels = views(48)
    test, told = codes(30, seed=5)
    assert accuracy(train, labels, test, told, protocol=protocol) == 1.0


@pytest.mark.parametrize(("accuracy", "protocol"), PROTOCOLS)
def test_codes_that_say_nothing_give_about_chance(accuracy, protocol) -> None:
    rng = np.random.default_rng(0)
    train = rng.normal(size=(2, 90, 4)).astype(np.float32)
    test = rng.normal(size=(300, 4)).astype(np.float32)
    labels, told = np.arange(90) % 3, rng.integers(0, 3, 300)
    assert 0.2 < accuracy(train, labels, test, told, protocol=protocol) < 0.47


@pytest.mark.parametrize(("accuracy", "protocol"), PROTOCOLS)
def test_the_same_seed_gives_the_same_accuracy_whatever_was_drawn_before(
    accuracy, protocol
) -> None:
    train, labels = views(48, spread=2.0)
    test, told = codes(99, seed=5, spread=2.0)
    first = accuracy(train, labels, test, told, protocol=protocol)
    torch.rand(5)
    np.random.default_rng().random(5)
    assert accuracy(train, labels, test, told, protocol=protocol) == first


@pytest.mark.parametrize(("accuracy", "protocol"), PROTOCOLS)
def test_a_class_that_only_the_test_has_is_got_wrong_and_no_error(accuracy, protocol) -> None:
    train, labels = views(48)
    test, told = codes(30, seed=5)
    told[:10] = 3
    found = accuracy(train, labels, test, told, protocol=protocol)
    assert found == pytest.approx(20 / 30)


def test_every_epoch_sees_the_view_of_its_turn() -> None:
    seen: list[float] = []

    class Model(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x[0, 0].item())
            return super().forward(x)

    train = np.stack([np.full((4, 2), float(view), np.float32) for view in range(3)])
    how = {"batch_size": 4, "smallest_batch": 1, "seed": 1}
    classifiers._train(Model(2, 2), train, np.zeros(4, np.int64), rates=[0.1] * 5, **how)
    assert seen == [0, 1, 2, 0, 1]


@pytest.mark.parametrize(("smallest", "sizes"), [(1, [4, 4, 1]), (2, [4, 4])])
def test_batches_too_small_for_the_model_are_left_out(smallest: int, sizes: list[int]) -> None:
    seen: list[int] = []

    class Model(torch.nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(len(x))
            return super().forward(x)

    train, labels = np.zeros((1, 9, 2), np.float32), np.zeros(9, np.int64)
    how = {"batch_size": 4, "smallest_batch": smallest, "seed": 1}
    classifiers._train(Model(2, 2), train, labels, rates=[0.1], **how)
    assert seen == sizes


def test_views_of_one_sample_are_held_out_together(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted_on: list[set[float]] = []
    plain = classifiers._logistic

    def spy(x: NDArray[np.float32], y: NDArray[np.int64], l2: float) -> object:
        fitted_on.append({float(row) for row in x[:, 1]})
        return plain(x, y, l2)

    monkeypatch.setattr(classifiers, "_logistic", spy)
    samples = np.tile(np.arange(40), 3)
    x = np.stack([samples % 2, samples], 1).astype(np.float32)
    converged_classifier(x, samples % 2, samples, protocol=CONVERGED)
    *trials, last = fitted_on
    assert [len(trial) for trial in trials] == [30, 30]
    assert trials[0] == trials[1]
    assert last == set(range(40))


def test_validation_that_leaves_one_class_to_learn_from_is_refused() -> None:
    train, labels = views(3)
    test, told = codes(9, seed=5)
    protocol = CONVERGED.model_copy(update={"validation_share": 0.9})
    with pytest.raises(DataError) as caught:
        converged_accuracy(train, labels, test, told, protocol=protocol)
    assert str(caught.value) == (
        "probe, [converged]: validation_share = 0.9 leaves 0 of 3 samples to learn from, of one "
        "class at most; expected two classes; probe more samples, or name one value only in l2, "
        "which needs no validation"
    )


def test_where_nothing_is_validated_every_sample_is_learned_from() -> None:
    train, labels = views(3)
    protocol = CONVERGED.model_copy(update={"validation_share": 0.9, "l2": [1e-2]})
    assert converged_accuracy(train, labels, train[1], labels, protocol=protocol) == 1.0


def test_codes_of_one_class_are_refused() -> None:
    x, samples = np.zeros((4, 2), np.float32), np.arange(4)
    with pytest.raises(DataError) as caught:
        converged_classifier(x, np.zeros(4, np.int64), samples, protocol=CONVERGED)
    assert str(caught.value) == (
        "probe, [converged]: 4 codes to learn from, of one class at most; expected two classes; "
        "probe more samples or frames"
    )


def test_a_fit_that_does_not_converge_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifiers, "MOST_ITERATIONS", 1)
    train, labels = views(48, spread=2.0)
    test, told = codes(9, seed=5)
    protocol = CONVERGED.model_copy(update={"l2": [1e-6]})
    with pytest.raises(TrainingError) as caught:
        converged_accuracy(train, labels, test, told, protocol=protocol)
    assert str(caught.value) == (
        "probe, logistic regression with l2 = 1e-06: not converged after 1 iterations; "
        "leave the smallest values of l2 out"
    )
