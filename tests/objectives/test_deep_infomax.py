"""Deep InfoMax: what its two losses compute, and what its scoring nets start from."""

import itertools
import math
import re

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from gimstage.objectives.deep_infomax import DeepInfoMax, dim_infonce, dim_jsd

F64 = {"rtol": 1e-10, "atol": 1e-12}
LOSSES = {"infonce": dim_infonce, "jsd": dim_jsd}


def objective(loss: str = "infonce") -> DeepInfoMax:
    torch.manual_seed(0)
    return DeepInfoMax(5, 3, hidden_channels=8, loss=loss).double()


def codes(*shape: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=rng, dtype=torch.float64).requires_grad_()


def plain_infonce(local_codes: Tensor, global_codes: Tensor) -> Tensor:
    """The definition, one pair of one image at a time."""
    images, near, far = len(local_codes), local_codes.shape[1], global_codes.shape[1]
    terms = []
    for n, i, j in itertools.product(range(images), range(near), range(far)):
        logits = [local_codes[n, i] @ global_codes[n, j]]
        for m, k in itertools.product(range(images), range(near)):
            score = local_codes[m, k] @ global_codes[n, j]
            logits.append(torch.full_like(score, -10) if m == n else score)
        terms.append(-torch.stack(logits).log_softmax(0)[0])
    return torch.stack(terms).mean()


def plain_jsd(local_codes: Tensor, global_codes: Tensor) -> Tensor:
    """The definition, one pair at a time."""
    images, like, unlike = len(local_codes), [], []
    for n, m in itertools.product(range(images), range(images)):
        for near, far in itertools.product(local_codes[n], global_codes[m]):
            score = near @ far
            terms = like if n == m else unlike
            terms.append((1 + (-score if n == m else score).exp()).log())
    return torch.stack(unlike).mean() + torch.stack(like).mean() - 2 * math.log(2)


@pytest.mark.parametrize(("loss", "plain"), [(dim_infonce, plain_infonce), (dim_jsd, plain_jsd)])
def test_a_loss_and_its_gradients_are_those_of_a_plain_loop(loss, plain) -> None:
    local_codes, global_codes = codes(3, 4, 2), codes(3, 2, 2, seed=1)
    leaves = [local_codes, global_codes]
    ours, theirs = loss(*leaves).loss, plain(*leaves)
    assert_close(ours, theirs, **F64)
    found, expected = (torch.autograd.grad(value, leaves) for value in (ours, theirs))
    assert_close(found, expected, **F64)


@pytest.mark.parametrize("loss", [dim_infonce, dim_jsd])
def test_gradients_agree_with_finite_differences(loss) -> None:
    def value(local_codes: Tensor, global_codes: Tensor) -> Tensor:
        return loss(local_codes, global_codes).loss

    assert torch.autograd.gradcheck(value, (codes(3, 4, 2), codes(3, 2, 2, seed=1)))


@pytest.mark.parametrize("loss", [dim_infonce, dim_jsd])
def test_scores_of_any_size_leave_loss_and_gradients_finite(loss) -> None:
    local_codes, global_codes = codes(3, 4, 2), codes(3, 2, 2, seed=1)
    loss(1000 * local_codes.float(), 1000 * global_codes.float()).loss.backward()
    assert local_codes.grad.isfinite().all()
    assert global_codes.grad.isfinite().all()


@pytest.mark.parametrize("loss", [dim_infonce, dim_jsd])
def test_accuracy_is_the_share_of_pairs_that_no_other_image_beats(loss) -> None:
    global_codes = torch.eye(2, dtype=torch.float64)[:, None]
    # Local codes of image 0 score 2 and 0.5 with its global code, those of image 1 score 1 and 0.
    local_codes = torch.tensor([[[2.0, 0], [0.5, 0]], [[1, 1], [0, 1]]], dtype=torch.float64)
    assert loss(local_codes, global_codes).accuracy.item() == 3 / 4


@pytest.mark.parametrize("loss", ["infonce", "jsd"])
def test_the_objective_is_the_loss_of_what_its_nets_make(loss) -> None:
    model, z, c = objective(loss), codes(3, 4, 4, 5), codes(3, 2, 2, 3, seed=1)

    def made(net: torch.nn.Module, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        wide = rows @ net.hidden.weight.T
        wide = (wide - wide.mean(0)) / (wide.var(0, False) + 1e-5).sqrt()
        y = wide.relu() @ net.out.weight.T + net.out.bias + rows @ net.shortcut.weight.T
        y = (y - y.mean(1, keepdim=True)) / (y.var(1, False, keepdim=True) + 1e-5).sqrt()
        return y.reshape(len(x), -1, 8)

    expected = LOSSES[loss](made(model.local_net, z), made(model.global_net, c)).loss
    result = model(z, c, model.draw(z.shape, torch.Generator()))
    assert_close(result.loss, expected, **F64)
    assert_close(result.loss_per_step, expected.detach()[None], **F64)


def test_shortcuts_start_as_noisy_copies() -> None:
    weight = objective().local_net.shortcut.weight.detach()
    noise = weight - torch.eye(8, 5, dtype=torch.float64)
    assert torch.equal(weight.diagonal(), torch.ones(5, dtype=torch.float64))
    assert 0.008 < noise.abs().max().item() <= 0.01


def test_the_published_nets_have_their_weights() -> None:
    with torch.device("meta"):
        model = DeepInfoMax(192, 192, hidden_channels=1024, loss="infonce")
    one = 2 * 192 * 1024 + 1024 * 1024 + 1024 + 2 * 2 * 1024
    assert sum(weight.numel() for weight in model.parameters()) == 2 * one


def test_gradient_reaches_codes_and_every_weight() -> None:
    model, z, c = objective(), codes(3, 4, 4, 5), codes(3, 2, 2, 3, seed=1)
    model(z, c, None).loss.backward()
    assert all(w.grad is not None and w.grad.any() for w in [z, c, *model.parameters()])


def test_it_needs_no_labels() -> None:
    assert objective().label_kind is None


def test_under_bfloat16_autocast_scores_are_float32() -> None:
    model = objective().float()
    z, c = codes(3, 4, 4, 5).detach().float(), codes(3, 2, 2, 3, seed=1).detach().float()
    exact = model(z, c, None).loss
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(z, c, None).loss
    assert rounded.dtype == torch.float32
    assert_close(rounded, exact, rtol=2e-2, atol=0)


@pytest.mark.parametrize("loss", ["infonce", "jsd"])
def test_twenty_adam_steps_lower_the_loss(loss) -> None:
    model = objective(loss)
    z = (codes(8, 1, 1, 5) + 0.1 * codes(8, 3, 3, 5, seed=1)).detach()
    c = (z.mean((1, 2), keepdim=True) @ codes(5, 3, seed=2)).detach()
    adam, losses = torch.optim.Adam(model.parameters(), lr=0.01), []
    for _ in range(21):
        loss_now = model(z, c, None).loss
        adam.zero_grad()
        loss_now.backward()
        adam.step()
        losses.append(loss_now.item())
    # The second loss is 0 for a blind scorer and falls towards −2 ln 2.
    assert losses[-1] < losses[0] - 0.2 * abs(losses[0])


@pytest.mark.parametrize(("near", "far"), [((1, 4, 2), (1, 2, 2)), ((3, 4, 2), (3, 2, 5))])
def test_one_image_and_unlike_channels_are_refused(near, far) -> None:
    message = (
        f"local codes {near}, global codes {far}; "
        "expected 2 images or more, the same number of them and of channels"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        dim_infonce(codes(*near), codes(*far))
