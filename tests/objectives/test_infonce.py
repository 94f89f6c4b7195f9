"""InfoNCE: what it computes, what it draws, what it refuses."""

import math
import re

import pytest
import torch
from torch.testing import assert_close

from gimstage.objectives import InfoNCE

VISION = {"projection": "target", "negative_source": "targets", "probability_floor": 1e-11}
AUDIO = {"projection": "context", "negative_source": "batch", "probability_floor": 0.0}


def infonce(**changed) -> InfoNCE:
    """A small float64 objective: vision's choices, but for what is said."""
    chosen = {
        "code_channels": 3,
        "context_channels": 3,
        "prediction_steps": 3,
        "prediction_gap": 1,
        "num_negatives": 4,
        "exclude_positive": False,
        "window": None,
        **VISION,
    }
    return InfoNCE(**chosen | changed).double()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def codes(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64).requires_grad_()


def plain_loss(objective, z, c, draws):
    """The definition, one anchor, one step and one candidate at a time."""
    flat, steps = z.flatten(0, -2), []
    for k, negatives in enumerate(draws.negatives):
        weight, distance, terms = objective.projections[k], objective.distances[k], []
        for place, column, image in torch.cartesian_prod(*map(torch.arange, negatives.shape[:3])):
            context = c[image, draws.start + place, column]
            target = z[image, draws.start + place + distance, column]
            candidates = [target] + [flat[n] for n in negatives[place, column, image]]
            if objective.projection == "target":
                scores = [context @ (weight @ candidate) for candidate in candidates]
            else:
                scores = [candidate @ (weight @ context) for candidate in candidates]
            share = scores[0].exp() / sum(score.exp() for score in scores)
            terms.append(-(share + objective.probability_floor).log())
        steps.append(sum(terms) / len(terms))
    return sum(steps) / len(steps)


@pytest.mark.parametrize(
    "kind",
    [
        VISION,
        VISION | {"exclude_positive": True, "window": 6},
        AUDIO | {"prediction_gap": 0},
        AUDIO | {"negative_source": "sequence", "window": 6},
    ],
    ids=lambda kind: "-".join(map(str, kind.values())),
)
def test_the_loss_and_its_gradients_are_those_of_a_plain_triple_loop(kind):
    objective = infonce(context_channels=2, **kind)
    z, c = codes(2, 8, 2, 3), codes(2, 8, 2, 2, seed=1)
    draws = objective.draw(z.shape, seeded())
    ours, plain = objective(z, c, draws).loss, plain_loss(objective, z, c, draws)
    assert_close(ours, plain, rtol=1e-12, atol=0)
    leaves = [z, c, objective.projections]
    assert_close(torch.autograd.grad(ours, leaves), torch.autograd.grad(plain, leaves))


def test_a_sequence_needs_no_parallel_axis():
    objective, z = infonce(**AUDIO), codes(2, 8, 3)
    draws = objective.draw(z.shape, seeded())
    assert_close(objective(z, z, draws).loss, objective(z[:, :, None], z[:, :, None], draws).loss)


@pytest.mark.parametrize(
    ("kind", "chance"), [(AUDIO, math.log(5)), (VISION, -math.log(0.2 + 1e-11))]
)
def test_without_projections_the_loss_is_that_of_chance(kind, chance):
    objective, z = infonce(**kind), codes(2, 8, 2, 3)
    objective.projections.data.zero_()
    loss = objective(z, z, objective.draw(z.shape, seeded())).loss
    assert_close(loss.item(), chance, rtol=1e-15, atol=0)


@pytest.mark.parametrize("kind", [VISION, AUDIO])
def test_gradients_agree_with_finite_differences(kind):
    objective, z, c = infonce(**kind), codes(2, 6, 2, 3), codes(2, 6, 2, 3, seed=1)
    draws = objective.draw(z.shape, seeded())

    def loss(z, c, projections):
        own = {"projections": projections}
        return torch.func.functional_call(objective, own, (z, c, draws)).loss

    assert torch.autograd.gradcheck(loss, (z, c, objective.projections))


def test_gradient_reaches_codes_in_both_roles():
    objective, z = infonce(), codes(2, 8, 2, 3)
    draws = objective.draw(z.shape, seeded())
    target, context = z.detach().requires_grad_(), z.detach().requires_grad_()
    objective(z, z, draws).loss.backward()
    objective(target, context, draws).loss.backward()
    assert_close(z.grad, target.grad + context.grad)


def test_the_projection_side_only_transposes_the_weights():
    by_target, by_context = (
        infonce(context_channels=2),
        infonce(context_channels=2, projection="context"),
    )
    assert by_target.projections.shape == (3, 2, 3)
    by_context.projections.data = by_target.projections.data.mT.contiguous()
    z, c = codes(2, 8, 2, 3), codes(2, 8, 2, 2, seed=1)
    draws = by_target.draw(z.shape, seeded())
    assert_close(by_target(z, c, draws).loss, by_context(z, c, draws).loss)


@pytest.mark.parametrize(("projection", "fan_in"), [("target", 400), ("context", 100)])
def test_projections_start_within_one_over_the_root_of_their_fan_in(projection, fan_in):
    objective = infonce(code_channels=400, context_channels=100, projection=projection)
    largest, spread = objective.projections.abs().max().item(), objective.projections.std().item()
    assert 0.99 / math.sqrt(fan_in) < largest <= 1 / math.sqrt(fan_in) + 1e-9
    assert spread == pytest.approx(1 / math.sqrt(3 * fan_in), rel=0.02)


def test_accuracy_counts_the_anchors_whose_positive_scores_highest():
    objective = infonce(prediction_steps=2, prediction_gap=0, num_negatives=1, **AUDIO)
    objective.projections.data.copy_(torch.eye(3))
    z = torch.eye(3, dtype=torch.float64)[[0, 0, 0, 1]][None]
    draws = objective.draw(z.shape, seeded())
    for step in draws.negatives:
        step.fill_(0)
    # Step 1: the third anchor's positive loses to its negative; step 2: the second anchor's does.
    assert objective(z, z, draws).accuracy.item() == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_twenty_adam_steps_lower_the_loss():
    objective = infonce(code_channels=8, context_channels=8)
    z = codes(4, 1, 1, 8).detach().expand(4, 7, 7, 8) + 0.1 * codes(4, 7, 7, 8, seed=1).detach()
    adam = torch.optim.Adam(objective.parameters(), lr=0.01)
    losses = []
    for step in range(21):
        loss = objective(z, z, objective.draw(z.shape, seeded(step))).loss
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_under_bfloat16_autocast_loss_and_gradient_stay_close():
    objective = infonce(code_channels=32, context_channels=32).float()
    z = codes(4, 7, 7, 32).detach().float().requires_grad_()
    draws = objective.draw(z.shape, seeded())
    exact = objective(z, z, draws).loss
    with torch.autocast("cpu", torch.bfloat16):
        rounded = objective(z, z, draws).loss
    assert rounded.dtype == torch.float32
    assert_close(rounded, exact, rtol=1e-2, atol=0)
    (exact_grad,), (grad,) = (torch.autograd.grad(loss, z) for loss in (exact, rounded))
    assert (grad - exact_grad).norm() < 2e-2 * exact_grad.norm()


def test_bfloat16_codes_are_scored_in_float32():
    objective = infonce(code_channels=32, context_channels=32).float()
    z = codes(4, 7, 7, 32).detach().bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = objective(z, z, objective.draw(z.shape, seeded())).loss
    loss.backward()
    assert (loss.dtype, z.grad.dtype) == (torch.float32, torch.bfloat16)


def test_the_loss_can_be_taken_in_inference_mode():
    objective, z = infonce(), codes(2, 8, 2, 3)
    draws = objective.draw(z.shape, seeded())
    with torch.inference_mode():
        assert_close(objective(z, z, draws).loss, objective(z, z, draws).loss)


def positives(objective, shape, draws):
    """Row numbers of the anchors' own targets, shaped like the negatives of each step."""
    rows = torch.arange(math.prod(shape[:-1])).view(shape[:-1]).permute(1, 2, 0)
    for distance, negatives in zip(objective.distances, draws.negatives, strict=True):
        first = draws.start + distance
        yield rows[first : first + len(negatives), ..., None], negatives


def test_target_negatives_are_uniform_over_the_targets_of_their_own_step():
    objective, shape = infonce(num_negatives=2000), (2, 7, 3, 3)
    draws = objective.draw(shape, seeded())
    for own, negatives in positives(objective, shape, draws):
        seen = torch.bincount(negatives.flatten(), minlength=42)
        assert set(seen.nonzero().flatten().tolist()) == set(own.flatten().tolist())
        counts = seen[seen > 0]
        assert (counts / counts.double().mean() - 1).abs().max() < 0.15


def test_target_negatives_are_drawn_with_replacement_and_may_be_the_positive():
    objective, shape = infonce(num_negatives=30), (1, 5, 2, 3)
    draws = objective.draw(shape, seeded())
    assert all((own == negatives).any() for own, negatives in positives(objective, shape, draws))
    assert all(row.unique().numel() < 30 for row in draws.negatives[0].flatten(0, 2))


def test_excluding_the_positive_leaves_every_other_target():
    objective = infonce(num_negatives=500, exclude_positive=True)
    shape = (2, 5, 2, 3)
    for own, negatives in positives(objective, shape, objective.draw(shape, seeded())):
        others = {row.unique().numel() for row in negatives.flatten(0, 2)}
        assert not (own == negatives).any()
        assert others == {own.numel() - 1}


def test_batch_negatives_take_no_row_twice_in_one_list():
    draws = infonce(**AUDIO).draw((3, 9, 3), seeded())
    for negatives in draws.negatives:
        assert all(one.unique().numel() == one.numel() for one in negatives.unbind(-1))


def test_batch_negatives_come_from_everywhere_beyond_the_window():
    draws = infonce(**AUDIO | {"window": 6, "num_negatives": 5000}).draw((2, 40, 3), seeded())
    counts = torch.bincount(draws.negatives[0].flatten(), minlength=80)
    assert (counts / counts.double().mean() - 1).abs().max() < 0.2


def test_sequence_negatives_come_from_the_anchors_own_sequence():
    objective = infonce(**AUDIO | {"negative_source": "sequence", "num_negatives": 50})
    draws = objective.draw((3, 9, 3), seeded())
    for negatives in draws.negatives:
        assert (negatives // 9 == torch.arange(3)[:, None]).all()
    assert set((draws.negatives[0] % 9).flatten().tolist()) == set(range(9))


def test_the_window_begins_everywhere_but_at_the_last_place():
    objective = infonce(**AUDIO | {"window": 6})
    starts = {objective.draw((1, 10, 3), seeded(seed)).start for seed in range(100)}
    assert starts == {0, 1, 2, 3}


def test_a_short_sequence_is_its_own_window():
    draws = infonce(**AUDIO | {"window": 128}).draw((2, 10, 3), seeded())
    assert draws.start == 0
    assert draws.negatives[0].shape == (8, 1, 2, 4)


@pytest.mark.parametrize("kind", [VISION, AUDIO | {"window": 6}])
def test_the_same_seed_draws_the_same_and_another_draws_anew(kind):
    objective = infonce(**kind)
    first, again, other = (objective.draw((2, 8, 2, 3), seeded(seed)) for seed in (0, 0, 1))
    assert first.start == again.start
    assert all(map(torch.equal, first.negatives, again.negatives))
    assert not any(map(torch.equal, first.negatives, other.negatives))


def test_drawing_leaves_the_global_generator_alone():
    objective, before = infonce(), torch.get_rng_state()
    objective.draw((2, 8, 2, 3), seeded())
    assert torch.equal(torch.get_rng_state(), before)


def refusal(message: str):
    return pytest.raises(ValueError, match=f"^{re.escape(message)}$")


def test_too_few_positions_are_refused():
    with refusal("4 positions to predict along; expected more than 4"):
        infonce().draw((2, 4, 2, 3), seeded())


def test_codes_of_another_rank_are_refused():
    with refusal("codes (2, 3); expected (B, L, C) or (B, L, S, C)"):
        infonce().draw((2, 3), seeded())


def test_contexts_of_another_layout_are_refused():
    z, c = codes(2, 8, 2, 3), codes(2, 8, 1, 3)
    with refusal(
        "codes (2, 8, 2, 3), contexts (2, 8, 1, 3); expected the same layout with 3 and 3 channels"
    ):
        infonce()(z, c, infonce().draw(z.shape, seeded()))


def test_draws_for_another_shape_are_refused():
    z = codes(2, 6, 2, 3)
    with refusal(
        "negatives [(6, 2, 2, 4), (5, 2, 2, 4), (4, 2, 2, 4)]; "
        "expected [(4, 2, 2, 4), (3, 2, 2, 4), (2, 2, 2, 4)]"
    ):
        infonce()(z, z, infonce().draw((2, 8, 2, 3), seeded()))


def test_excluding_the_positive_from_whole_sequences_is_refused():
    message = (
        'exclude_positive = true with negative_source = "batch"; expected "targets", the only '
    )
    with refusal(message + "source that can leave one out"):
        infonce(**AUDIO | {"exclude_positive": True})
