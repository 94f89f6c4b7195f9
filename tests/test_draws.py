"""Draws: pure functions of seed, purpose and counters, which leave the global generators alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gimstage.draws import NotInitialising, drawing, generator, initialising, stream_seed

COUNTERS = st.lists(st.integers(0, 99), max_size=3)


def numbers(seed: int, purpose: str, *counters: int) -> list[float]:
    return torch.rand(4, generator=generator(seed, purpose, *counters)).tolist()


def test_the_same_names_draw_the_same_whatever_was_drawn_before() -> None:
    first = numbers(3, "view", 1, 2)
    torch.rand(7)
    numbers(3, "order", 1)
    assert numbers(3, "view", 1, 2) == first


@pytest.mark.parametrize(
    "other", [(4, "view", 1, 2), (3, "order", 1, 2), (3, "view", 2, 1), (3, "view", 1)]
)
def test_another_seed_purpose_or_counter_draws_other_numbers(other: tuple[int, str, int]) -> None:
    assert numbers(*other) != numbers(3, "view", 1, 2)


@given(seed=st.integers(0, 10**6), one=COUNTERS, other=COUNTERS)
def test_seeds_of_different_counters_differ_and_fit_a_generator(
    seed: int, one: list[int], other: list[int]
) -> None:
    a, b = stream_seed(seed, "view", *one), stream_seed(seed, "view", *other)
    assert (a == b) == (one == other)
    assert 0 <= a < 2**63


def test_seeds_are_what_they_were_in_every_version() -> None:
    assert stream_seed(2, "init", 1) == 1898729490593967991


def test_drawing_moves_nothing_outside() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with drawing(1, "dropout", 2):
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    assert not torch.equal(inside, expected)


def test_drawing_moves_nothing_outside_where_it_fails() -> None:
    def fail() -> None:
        with drawing(1, "dropout"):
            torch.rand(1)
            raise KeyboardInterrupt

    before = torch.random.get_rng_state()
    with pytest.raises(KeyboardInterrupt):
        fail()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_initialisers_draw_from_their_seed() -> None:
    weights = []
    for seed in (1, 1, 2):
        with initialising(seed, 3):
            weights.append(nn.Linear(4, 4).weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_weights_that_others_replace_draw_nothing() -> None:
    def made() -> list[nn.Module]:
        return [nn.Conv2d(1, 2, 3), nn.GRU(2, 3), nn.Linear(2, 2), nn.BatchNorm1d(3)]

    before = torch.random.get_rng_state()
    with NotInitialising():
        _, _, _, norm = made()
        torch.nn.init.normal_(tensor=torch.empty(3))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(weight, torch.ones(3)) for weight in [norm.weight, norm.running_var])
    made()
    assert not torch.equal(torch.random.get_rng_state(), before)
