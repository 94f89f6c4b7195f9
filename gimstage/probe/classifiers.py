"""Classifiers on arrays of codes, by every protocol.

Shape letters: N samples, V views of each, F features of a view, M samples to classify.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from gimstage.draws import drawing, generator, initialising
from gimstage.errors import DataError, TrainingError
from gimstage.probe.base import Floats
from gimstage.specs import ConvergedProtocol, FrameConverged, HiddenProtocol, PaperProtocol
from gimstage.views import Ints

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
    with initialising(protocol.seed):
        linear = nn.Linear(train.shape[-1], _classes(train_labels, test_labels))
    _train(
        linear,
        train,
        train_labels,
        rates=[protocol.learning_rate] * protocol.epochs,
        batch_size=protocol.batch_size,
        smallest_batch=1,
        seed=protocol.seed,
    )
    return _share_right(linear, test, test_labels)


def hidden_accuracy(
    train: Floats, train_labels: Ints, test: Floats, test_labels: Ints, *, protocol: HiddenProtocol
) -> float:
    """Test accuracy of a classifier with one hidden layer, trained with Adam on raw codes.

    Args:
        train: (V, N, F), N ≥ 2: epoch e sees view e modulo V of every sample.
        train_labels: (N,) int64.
        test: (M, F), centre crops.
        test_labels: (M,) int64.
        protocol: the layer, dropout, learning rates, batch size, seed.
    """
    hidden = protocol.hidden_channels
    with initialising(protocol.seed):
        model = nn.Sequential(
            nn.Linear(train.shape[-1], hidden),
            nn.Dropout(protocol.dropout),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, _classes(train_labels, test_labels)),
        )
    with drawing(protocol.seed, "probe-dropout"):
        _train(
            model,
            train,
            train_labels,
            rates=protocol.rates(),
            batch_size=protocol.batch_size,
            smallest_batch=2,  # one sample alone has no variance to normalise by
            seed=protocol.seed,
        )
    return _share_right(model, test, test_labels)


def _classes(*labels: Ints) -> int:
    return 1 + max(int(each.max()) for each in labels)


def _train(
    model: nn.Module,
    codes: Floats,
    labels: Ints,
    *,
    rates: Sequence[float],
    batch_size: int,
    smallest_batch: int,
    seed: int,
) -> None:
    """Cross-entropy by Adam, an epoch at each of the rates; smaller batches are left out."""
    optimiser = torch.optim.Adam(model.parameters())
    targets = torch.from_numpy(labels)
    for epoch, rate in enumerate(rates):
        optimiser.param_groups[0]["lr"] = rate
        view = torch.from_numpy(codes[epoch % len(codes)])
        order = torch.randperm(len(view), generator=generator(seed, "probe", epoch))
        for batch in order.split(batch_size):
            if len(batch) < smallest_batch:
                continue
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(view[batch]), targets[batch]).backward()
            optimiser.step()


@torch.no_grad()
def _share_right(model: nn.Module, codes: Floats, labels: Ints) -> float:
    predicted = model.eval()(torch.from_numpy(codes)).argmax(1).numpy()
    return float((predicted == labels).mean())


def converged_classifier(
    x: Floats, y: Ints, samples: Ints, *, protocol: ConvergedProtocol | FrameConverged
) -> Any:
    """Logistic regression fitted to convergence on standardised codes; scikit-learn's interface.

    L2 is chosen on a share of the samples, then the classifier is fitted on all of them.

    Args:
        x: codes, (M, F).
        y: labels, (M,) int64.
        samples: what each row is a view or a frame of, (M,) int64; rows of one sample are held out
            together.
        protocol: candidate strengths of L2, validation share, seed.

    Raises:
        DataError: the samples, or those not held out, are of fewer than two classes.
        TrainingError: the solver does not converge.
    """
    _refuse_one_class(y, f"{len(y):,} codes to learn from", "probe more samples or frames")
    if len(protocol.l2) == 1:
        return _logistic(x, y, protocol.l2[0])
    present = np.unique(samples)
    rng = generator(protocol.seed, "probe-validation")
    order = present[torch.randperm(len(present), generator=rng).numpy()]
    held_out = np.isin(samples, order[: max(1, round(len(present) * protocol.validation_share))])

    left = len(np.unique(samples[~held_out]))
    found = f"validation_share = {protocol.validation_share:g} leaves {left:,} of {len(present):,} "
    cure = "probe more samples, or name one value only in l2, which needs no validation"
    _refuse_one_class(y[~held_out], f"{found}samples to learn from", cure)

    def score(l2: float) -> float:
        fitted = _logistic(x[~held_out], y[~held_out], l2)
        return float(fitted.score(x[held_out], y[held_out]))

    return _logistic(x, y, max(protocol.l2, key=score))


def _refuse_one_class(y: Ints, found: str, cure: str) -> None:
    """Refuse labels (M,) int64 that leave nothing to tell apart, before scikit-learn does."""
    if len(np.unique(y)) < 2:
        raise DataError("probe, [converged]", f"{found}, of one class at most", "two classes", cure)


def converged_accuracy(
    train: Floats,
    train_labels: Ints,
    test: Floats,
    test_labels: Ints,
    *,
    protocol: ConvergedProtocol,
) -> float:
    """Test accuracy of `converged_classifier`, every training view a row.

    Args:
        train: (V, N, F).
        train_labels: (N,) int64.
        test: (M, F).
        test_labels: (M,) int64.
        protocol: candidate strengths of L2, validation share, seed.
    """
    views = len(train)
    fitted = converged_classifier(
        train.reshape(-1, train.shape[-1]),
        np.tile(train_labels, views),
        np.tile(np.arange(len(train_labels)), views),
        protocol=protocol,
    )
    return float(fitted.score(test, test_labels))


def _logistic(x: NDArray[Any], y: Ints, l2: float) -> Any:
    """Standardisation and logistic regression, mean loss + l2/2 · ‖W‖², fitted to convergence."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = LogisticRegression(C=1 / (l2 * len(y)), tol=1e-3, max_iter=MOST_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            # In float64: the solver's line search gives up early on float32.
            return make_pipeline(StandardScaler(), regression).fit(x.astype(np.float64), y)
        except ConvergenceWarning as warning:
            raise TrainingError(
                f"probe, logistic regression with l2 = {l2:g}",
                f"not converged after {MOST_ITERATIONS} iterations",
                cure="leave the smallest values of l2 out",
            ) from warning
