"""The InfoNCE loss with its gradient, beside the plain form of it: time and peak memory.

The yardstick is the form one writes first, and that the original has: every negative of every
anchor gathered through an int64 index repeated over the channels, then softmax and logarithm.
Both sides get the same codes (batch 32, 7 × 7 grid), K = 5, gap 1, 16 negatives, and both leave
gradients in the codes and in every W_k. On speech: batch 8, 128 rows, K = 12, 10 negatives. One
thread, so that a busy neighbour slows both alike instead of stalling every parallel loop at its
barrier.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from common import Row, medians
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from gimstage.objectives import Draws, InfoNCE

BATCH, SIDE, STEPS, GAP, NEGATIVES, FLOOR = 32, 7, 5, 1, 16, 1e-11


def rows() -> Iterator[Row]:
    """Time and memory, as shares of the plain form's, at the widths of the three modules."""
    for channels in (256, 512, 1024):
        ours, plain = subjects(channels)
        with one_thread():
            own, other = medians(ours, plain, rounds=7)
        what = f"InfoNCE, C = {channels}: {{}}, share of the plain form"
        note = f"{own * 1e3:.0f} ms against {other * 1e3:.0f} ms"
        yield Row(what.format("time"), own / other, 0.6, at_most=True, note=note)
        own, other = peak_bytes(ours), peak_bytes(plain)
        note = f"{own / 2**20:.0f} MiB against {other / 2**20:.0f} MiB"
        yield Row(what.format("peak memory"), own / other, 0.15, at_most=True, note=note)

    yield from speech_rows()


def speech_rows() -> Iterator[Row]:
    """The same for sequences, at the width of the convolutions."""
    ours, plain = speech_subjects(batch=8, length=128, channels=512, steps=12, negatives=10)
    with one_thread():
        own, other = medians(ours, plain, rounds=7)
    note = f"{own * 1e3:.0f} ms against {other * 1e3:.0f} ms"
    yield Row("InfoNCE on speech: time, share of the plain form", own / other, 1.0, True, note)
    own, other = peak_bytes(ours), peak_bytes(plain)
    note = f"{own / 2**20:.0f} MiB against {other / 2**20:.0f} MiB"
    what = "InfoNCE on speech: peak memory, share of the plain form"
    yield Row(what, own / other, 0.5, True, note)


def speech_subjects(
    *, batch: int, length: int, channels: int, steps: int, negatives: int
) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """Our loss on sequences and the plain one, forward and backward."""
    seeded = torch.Generator().manual_seed(0)
    z = torch.randn(batch, length, channels, generator=seeded).mul_(0.3).requires_grad_()
    objective = InfoNCE(
        code_channels=channels,
        context_channels=channels,
        prediction_steps=steps,
        prediction_gap=0,
        num_negatives=negatives,
        projection="context",
        negative_source="batch",
        exclude_positive=False,
        probability_floor=0.0,
        window=None,
    )
    draws = objective.draw(z.shape, seeded)
    z_plain = z.detach().clone().requires_grad_()
    predictor = objective.projections.detach().flatten(0, 1).clone().requires_grad_()

    def ours() -> Tensor:
        z.grad = objective.projections.grad = None
        loss = objective(z, z, draws).loss
        loss.backward()
        return loss.detach()

    def plain() -> Tensor:
        z_plain.grad = predictor.grad = None
        loss = plain_speech_loss(z_plain, predictor, draws)
        loss.backward()
        return loss.detach()

    torch.testing.assert_close(ours(), plain())
    return ours, plain


def plain_speech_loss(z: Tensor, predictor: Tensor, draws: Draws) -> Tensor:
    """InfoNCE of codes (B, L, C): all predictions from one matrix, all negatives gathered."""
    batch, length, channels = z.shape
    predicted = z @ predictor.T
    rows, losses = z.reshape(-1, channels), []
    for step, numbers in enumerate(draws.negatives, start=1):
        anchors = predicted[:, : length - step, (step - 1) * channels : step * channels]
        index = numbers[:, 0].permute(1, 0, 2).reshape(-1)  # (B, L − k, negatives)
        repeated = index[:, None].repeat(1, channels)
        gathered = torch.gather(rows, 0, repeated).view(batch, length - step, -1, channels)
        positive = (anchors * z[:, step:]).sum(-1, keepdim=True)
        scores = torch.cat([positive, (gathered @ anchors[..., None])[..., 0]], dim=-1)
        losses.append(-torch.log_softmax(scores, dim=-1)[..., 0].mean())
    return sum(losses) / len(losses)


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, torch computes on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def subjects(channels: int) -> tuple[Callable[[], Tensor], Callable[[], Tensor]]:
    """Our loss and the plain one as calls that go forward and backward and return the loss."""
    seeded = torch.Generator().manual_seed(0)
    z = torch.randn(BATCH, SIDE, SIDE, channels, generator=seeded).requires_grad_()
    objective = InfoNCE(
        code_channels=channels,
        context_channels=channels,
        prediction_steps=STEPS,
        prediction_gap=GAP,
        num_negatives=NEGATIVES,
        projection="target",
        negative_source="targets",
        exclude_positive=False,
        probability_floor=FLOOR,
        window=None,
    )
    draws = objective.draw(z.shape, seeded)
    z_plain = z.detach().permute(0, 3, 1, 2).contiguous().requires_grad_()
    weights = [weight.detach().clone().requires_grad_() for weight in objective.projections]
    indices = plain_indices(draws)

    def ours() -> Tensor:
        z.grad = objective.projections.grad = None
        loss = objective(z, z, draws).loss
        loss.backward()
        return loss.detach()

    def plain() -> Tensor:
        for leaf in (z_plain, *weights):
            leaf.grad = None
        loss = plain_loss(z_plain, weights, indices)
        loss.backward()
        return loss.detach()

    torch.testing.assert_close(ours(), plain())
    return ours, plain


def plain_indices(draws: Draws) -> list[Tensor]:
    """The same negatives, counted (row, column, image) within the targets of each step."""
    indices = []
    for step, numbers in enumerate(draws.negatives, start=1):
        image, place = numbers // SIDE**2, numbers % SIDE**2 - (step + GAP) * SIDE
        indices.append((place * BATCH + image).flatten())
    return indices


def plain_loss(z: Tensor, weights: list[Tensor], indices: list[Tensor]) -> Tensor:
    """InfoNCE of codes (B, C, row, column) in its plain form."""
    losses = []
    for step, (weight, index) in enumerate(zip(weights, indices, strict=True), start=1):
        target = torch.nn.functional.conv2d(z[:, :, step + GAP :], weight[:, :, None, None])
        target = target.permute(2, 3, 0, 1).flatten(0, 2)
        context = z[:, :, : SIDE - step - GAP].permute(2, 3, 0, 1).flatten(0, 2)
        repeated = index[:, None].repeat(1, z.shape[1])
        negatives = torch.gather(target, 0, repeated).view(-1, NEGATIVES, z.shape[1])
        positive = (context * target).sum(1, keepdim=True)
        scores = torch.cat([positive, torch.bmm(negatives, context[:, :, None])[:, :, 0]], dim=1)
        losses.append(-(torch.softmax(scores, dim=1)[:, 0] + FLOOR).log().mean())
    return sum(losses) / STEPS


def peak_bytes(call: Callable[[], object]) -> int:
    """The most bytes that were allocated at once, above what was alive before the call."""
    call()
    cpu = [ProfilerActivity.CPU]
    with profile(activities=cpu, profile_memory=True, acc_events=True) as recorded:
        call()
    events = recorded.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    live = peak = 0
    for _, change in changes:
        live += change
        peak = max(peak, live)
    return peak
