"""The protocols on arrays of codes, held against scikit-learn and plain loops."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from gimstage.draws import generator, initialising
from gimstage.probe import classifiers
from gimstage.probe.classifiers import (
    converged_accuracy,
    converged_classifier,
    hidden_accuracy,
    paper_accuracy,
)
from gimstage.probe.crops import all_codes, by_view, mean_code
from gimstage.specs import ConvergedProtocol, HiddenProtocol, PaperProtocol

PAPER = PaperProtocol(learning_rate=1e-2, batch_size=7, epochs=4, views=2, seed=3)
HIDDEN: dict[str, Any] = {
    "hidden_channels": 8,
    "dropout": 0.2,
    "learning_rate": 1e-2,
    "batch_size": 16,
    "epochs": 5,
    "decay_factor": 0.5,
    "decay_epochs": [2, 4],
    "views": 1,
    "seed": 1,
}


def converged(**changes: Any) -> ConvergedProtocol:
    settings = {"views": 1, "l2": [0.1], "validation_share": 0.25, "seed": 3}
    return ConvergedProtocol(**settings | changes)


def clouds(count: int, *, views: int = 1, spread: float = 1.0) -> tuple[Any, Any]:
    """Codes (V, N, 5) around a centre of each of three classes, and the classes (N,)."""
    rng = np.random.default_rng(count)
    labels = rng.integers(0, 3, count).astype(np.int64)
    centres = np.random.default_rng(0).standard_normal((3, 5))
    noise = spread * rng.standard_normal((views, count, 5))
    return (centres[labels] + noise).astype(np.float32), labels


def test_the_papers_probe_is_a_plain_loop_over_epochs_views_and_batches() -> None:
    (train, labels), (test, right) = clouds(40, views=2, spread=3), clouds(2000, spread=3)
    with initialising(PAPER.seed):
        linear = nn.Linear(5, 3)
    adam = torch.optim.Adam(linear.parameters(), lr=PAPER.learning_rate)
    for epoch in range(PAPER.epochs):
        order = torch.randperm(40, generator=generator(PAPER.seed, "probe", epoch))
        for batch in (order[at : at + 7] for at in range(0, 40, 7)):
            logits = linear(torch.from_numpy(train[epoch % 2])[batch])
            adam.zero_grad()
            nn.functional.cross_entropy(logits, torch.from_numpy(labels)[batch]).backward()
            adam.step()
    hits = linear(torch.from_numpy(test[0])).argmax(1).numpy() == right
    assert paper_accuracy(train, labels, test[0], right, protocol=PAPER) == hits.mean()


def test_another_seed_learns_from_other_batches() -> None:
    (train, labels), (test, right) = clouds(40, spread=2), clouds(400, spread=2)
    seeds = [PAPER.model_copy(update={"seed": seed}) for seed in range(5)]
    found = [paper_accuracy(train, labels, test[0], right, protocol=p) for p in seeds]
    assert len(set(found)) > 1


def test_the_converged_probe_is_scikit_learns_on_standardised_codes() -> None:
    (train, labels), (test, _) = clouds(80), clouds(200)
    x = train[0].astype(np.float64)
    mean, std = x.mean(0), x.std(0)
    plain = LogisticRegression(C=1 / (0.1 * 80), tol=1e-8, max_iter=5000)
    plain.fit((x - mean) / std, labels)
    found = converged_classifier(train[0], labels, np.arange(80), protocol=converged())
    wanted = plain.predict_proba((test[0] - mean) / std)
    np.testing.assert_allclose(found.predict_proba(test[0]), wanted, atol=2e-3)


def test_the_converged_probe_has_no_gradient_left() -> None:
    train, labels = clouds(80)
    fitted = converged_classifier(train[0], labels, np.arange(80), protocol=converged())
    scaler, regression = fitted[0], fitted[-1]
    x = torch.from_numpy(scaler.transform(train[0].astype(np.float64)))
    weight = torch.from_numpy(regression.coef_).requires_grad_()
    logits = x @ weight.T + torch.from_numpy(regression.intercept_)
    loss = nn.functional.cross_entropy(logits, torch.from_numpy(labels))
    (gradient,) = torch.autograd.grad(loss + 0.1 / 2 * weight.square().sum(), weight)
    assert gradient.abs().max() < 1e-2


@pytest.mark.parametrize("factor", [1e-3, 50.0])
def test_the_scale_of_codes_does_not_change_what_converges(factor: float) -> None:
    (train, labels), (test, right) = clouds(80), clouds(200)
    plain = converged_accuracy(train, labels, test[0], right, protocol=converged())
    scaled = converged_accuracy(
        train * np.float32(factor), labels, test[0] * factor, right, protocol=converged()
    )
    assert scaled == plain


def test_every_view_is_a_row_with_its_samples_label() -> None:
    (train, labels), (test, right) = clouds(30, views=3), clouds(100)
    rows = np.concatenate(list(train))
    flat = converged_classifier(
        rows, np.concatenate([labels] * 3), np.arange(90) % 30, protocol=converged()
    )
    found = converged_accuracy(train, labels, test[0], right, protocol=converged())
    assert found == flat.score(test[0], right)


def strengths_tried(
    monkeypatch: pytest.MonkeyPatch, protocol: ConvergedProtocol, samples: Any
) -> list[tuple[float, set[int]]]:
    """Of every fit in turn its strength of L2, and of which samples it is."""
    told: list[tuple[float, set[int]]] = []
    fit = classifiers._logistic

    def spy(x: Any, y: Any, l2: float) -> Any:
        told.append((l2, {int(row) for row in x[:, 0]}))
        return fit(x, y, l2)

    monkeypatch.setattr(classifiers, "_logistic", spy)
    x = np.stack([samples, np.random.default_rng(1).standard_normal(len(samples))], 1)
    converged_classifier(x.astype(np.float32), samples % 2, samples, protocol=protocol)
    return told


def test_one_strength_is_taken_without_holding_anything_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    samples = np.arange(40)
    assert strengths_tried(monkeypatch, converged(), samples) == [(0.1, set(range(40)))]


def test_strengths_are_tried_on_what_was_kept_and_the_best_fitted_on_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = strengths_tried(monkeypatch, converged(l2=[0.01, 1.0]), np.arange(40))
    assert [l2 for l2, _ in tried[:2]] == [0.01, 1.0]
    assert [len(rows) for _, rows in tried] == [30, 30, 40]
    assert tried[2][0] in (0.01, 1.0)


def test_the_hidden_layer_tells_clouds_apart() -> None:
    (train, labels), (test, right) = clouds(200, spread=0.2), clouds(200, spread=0.2)
    protocol = HiddenProtocol(**HIDDEN)
    assert hidden_accuracy(train, labels, test[0], right, protocol=protocol) > 0.9


@pytest.mark.parametrize(
    ("decay", "rates"),
    [([2, 4], [1e-2, 1e-2, 5e-3, 5e-3, 2.5e-3]), ([], [1e-2] * 5), ([1], [1e-2, *[5e-3] * 4])],
)
def test_learning_rates_fall_from_the_epochs_that_are_named(
    decay: list[int], rates: list[float]
) -> None:
    protocol = HiddenProtocol(**HIDDEN | {"decay_epochs": decay})
    assert protocol.rates() == pytest.approx(rates)


@pytest.mark.parametrize("shape", [(4, 6), (4, 3, 6), (4, 3, 2, 6)])
def test_a_mean_code_is_the_mean_over_all_positions(shape: tuple[int, ...]) -> None:
    codes = torch.randn(shape)
    rows = codes.reshape(4, -1, 6)
    wanted = torch.stack([sum(row, torch.zeros(6)) / len(row) for row in rows])
    if len(shape) > 2:
        torch.testing.assert_close(mean_code(codes), wanted)
    assert all_codes(codes).tolist() == [[v for row in each for v in row.tolist()] for each in rows]


def test_batches_of_views_come_back_view_by_view() -> None:
    codes = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    batches = [codes[view, at : at + 3] for view in (0, 1) for at in (0, 3)]
    assert np.array_equal(by_view(batches, 2), codes)
