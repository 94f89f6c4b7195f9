"""InfoNCE: tell the code that really follows from codes that do not.

One implementation serves the patch grid of an image and the time steps of a sequence. Codes are
laid out (B, L, S, C): L is the axis predicted along (rows from the top, or time), S the axis that
runs beside it (columns; length 1 in a sequence). For step k the context at l scores the target at
l + k + gap against drawn negatives with the bilinear form of W_k; the loss of a step is the mean
over its anchors, the loss is the mean over the steps (Löwe et al. 2019).

Drawing is apart from computing: `draw` makes index tensors on the CPU from a private generator,
and the loss is a pure function of codes, contexts, weights and those.

Shape letters: B batch, L length, S parallel, C channels, K prediction steps, T window (L or less),
M anchors. A *row* is one code of the flattened z; its number is (b · L + l) · S + s.
This file imports nothing of gimstage but the bases of modules and objectives.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from annotated_types import Ge, Lt
from torch import Tensor, nn

from gimstage.modules.base import Shape
from gimstage.objectives.base import Objective, Result
from gimstage.sizes.bounds import Natural, Positive


@dataclass(frozen=True)
class Draws:
    """What chance decides in one evaluation of the loss.

    Args:
        start: where the window begins on the axis L.
        negatives: row numbers for each step k, (T − k − gap, S, B, num_negatives) int64.
    """

    start: int
    negatives: tuple[Tensor, ...]


class InfoNCE(Objective, kind="infonce"):
    """The InfoNCE objective and its K projections W_k.

    Args:
        code_channels: channels of the codes z.
        context_channels: channels of the contexts c.
        prediction_steps: K.
        prediction_gap: positions passed over before step 1, because they overlap the context.
        num_negatives: per anchor.
        projection: which side W_k projects, so which way it is stored and initialised. The
            original projects the target in vision and the context in audio.
        negative_source: where the negatives of an anchor come from. "targets": the targets of the
            same step in the whole batch, with replacement. "batch": every position of the batch,
            no row twice in one list of negatives. "sequence": every row of the anchor's own
            sequence, none twice either. The lists of the last two are shared by all steps.
        exclude_positive: never draw the anchor's own target; for "targets" only.
        probability_floor: added to the positive's probability before the logarithm; 0 for none.
        window: longest stretch of L that anchors and targets are taken from, at a random place;
            None for all of it. Negatives of "batch" and "sequence" still come from everywhere.
        context: makes contexts (B, L, its out_channels) of those it is given, and is trained with
            the projections: the original's option of a GRU on every module. None to use them as
            they come.
    """

    algorithm = 1

    def __init__(
        self,
        *,
        code_channels: int,
        context_channels: int,
        prediction_steps: Positive,
        prediction_gap: Natural,
        num_negatives: Positive,
        projection: Literal["target", "context"],
        negative_source: Literal["targets", "batch", "sequence"],
        exclude_positive: bool,
        probability_floor: Annotated[float, Ge(0), Lt(1)],
        window: Positive | None,
        context: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.check_keys(exclude_positive=exclude_positive, negative_source=negative_source)
        if context is not None:
            context_channels = context.out_channels  # type: ignore[assignment]  # a number
        self.code_channels, self.context_channels = code_channels, context_channels
        self.distances = range(1 + prediction_gap, 1 + prediction_gap + prediction_steps)
        self.num_negatives = num_negatives
        self.projection = projection
        self.negative_source, self.exclude_positive = negative_source, exclude_positive
        self.probability_floor = probability_floor
        self.window, self.context = window, context
        source, image = code_channels, context_channels
        if projection == "context":
            source, image = image, source
        self.projections = nn.Parameter(torch.empty(prediction_steps, image, source))
        nn.init.uniform_(self.projections, -1 / math.sqrt(source), 1 / math.sqrt(source))

    @classmethod
    def chance_loss_for(cls, **keys: Any) -> float:
        """ln(1 + negatives): every candidate is as likely."""
        return math.log(1 + keys["num_negatives"])

    @classmethod
    def check_keys(cls, **keys: Any) -> None:
        """Refuse to exclude the positive from negatives that cannot leave one out.

        Raises:
            ValueError: `exclude_positive` with another source than "targets".
        """
        source = keys["negative_source"]
        if keys["exclude_positive"] and source != "targets":
            found = f'exclude_positive = true with negative_source = "{source}"'
            raise ValueError(f'{found}; expected "targets", the only source that can leave one out')

    def too_short(self, length: int) -> tuple[str, int] | None:
        """The farthest prediction needs a target: in the crop, and in the window."""
        needed = self.distances[-1] + 1
        if min(length, self.window or length) >= needed:
            return None
        gap, steps = self.distances[0] - 1, len(self.distances)
        return f"prediction_steps = {steps} with prediction_gap = {gap}", needed

    def multiply_adds(self, shape: Shape) -> int:
        """Those of contexts, projections and scores, for one sample's codes (L, S, C) or (T, C)."""
        length, parallel = (*shape[:-1], 1)[:2]
        window = min(length, self.window or length)
        anchors = parallel * sum(window - distance for distance in self.distances)
        scores = self.context_channels + 1 + self.num_negatives
        return self._context_work(shape) + anchors * self.code_channels * scores

    def _context_work(self, shape: Shape) -> int:
        context: Any = self.context
        return 0 if context is None else context.multiply_adds((*shape[:-1], context.in_channels))

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Draws:
        """Fresh negatives, and a fresh window, for codes of `shape`: (B, L, S, C) or (B, L, C)."""
        rows = _row_numbers(shape)
        window = self._window_length(len(rows))
        # GIM: audio/models/loss_InfoNCE.py never starts at the last possible place; neither do we.
        spare = len(rows) - window
        start = int(torch.randint(spare, (), generator=generator)) if spare else 0
        if self.negative_source == "targets":
            inside = rows[start : start + window]
            negatives = [self._draw_targets(inside[d:], generator) for d in self.distances]
        else:
            lists = [self._draw_list(rows, window, generator) for _ in range(self.num_negatives)]
            by_target = torch.stack(lists, dim=-1)
            negatives = [by_target[d:] for d in self.distances]
        return Draws(start, tuple(negatives))

    def forward(self, z: Tensor, c: Tensor, draws: Draws, labels: Tensor | None = None) -> Result:
        """The loss of predicting codes from contexts, with gradient into both and into every W_k.

        Args:
            z: codes, (B, L, S, C) or, where S is 1, (B, L, C); any floating dtype.
            c: contexts of the same layout, (…, C of contexts), or what `context` makes them of; z
                itself where no context module stands between.
            draws: what `draw` returned for z's shape.
            labels: not looked at.

        Returns:
            Loss, loss per step and contrastive accuracy: the share of anchors no negative of which
            beats the positive, averaged over the steps. Float32 at least, also for narrower codes.

        Raises:
            ValueError: the shapes of z, c and draws do not fit together.
        """
        same, c = c is z and self.context is None, c if self.context is None else self.context(c)
        anchors = self._check(z, c, draws)
        begin, end = draws.start, draws.start + anchors[0] + self.distances[0]
        if same:
            z, inside = _WithStretch.apply(z, begin, end)  # type: ignore[no-untyped-call]
        else:
            inside = c[:, begin:end]
        # Projecting the context, whichever side W_k is said to project, changes neither scores
        # nor gradients, and lets the candidates of all steps be rows of one tensor.
        queries = self._queries(inside, anchors)
        index = self._candidates(z.shape, draws).to(z.device, non_blocking=True)
        rows = z.reshape(-1, self.code_channels).to(queries.dtype)
        scores: Tensor = _Scores.apply(queries, rows, index)  # type: ignore[no-untyped-call]

        per_step = [count * math.prod(z.shape[2:-1]) * len(z) for count in anchors]
        log_p = F.log_softmax(scores, dim=1)[:, 0]
        if self.probability_floor:
            # GIM: vision/models/InfoNCE_Loss.py caps a term at −ln(floor) this way.
            log_p = (log_p.exp() + self.probability_floor).log()
        losses = torch.stack([-part.mean() for part in torch.split(log_p, per_step)])
        hits = (scores[:, :1] >= scores[:, 1:]).all(dim=1).float()
        accuracy = torch.stack([part.mean() for part in torch.split(hits, per_step)]).mean()
        return Result(losses.mean(), losses.detach(), accuracy)

    def _window_length(self, length: int) -> int:
        window = length if self.window is None else min(length, self.window)
        if window <= self.distances[-1]:
            raise ValueError(
                f"{window} positions to predict along; expected more than {self.distances[-1]}"
            )
        return window

    def _draw_targets(self, targets: Tensor, generator: torch.Generator) -> Tensor:
        """Row numbers (…, num_negatives) uniform over `targets`, the rows of one step's targets."""
        count = targets.numel()
        shape = (count, self.num_negatives)
        if self.exclude_positive:
            away = torch.randint(1, count, shape, generator=generator)
            chosen = (torch.arange(count)[:, None] + away) % count
        else:
            chosen = torch.randint(count, shape, generator=generator)
        return targets.reshape(-1)[chosen].view(*targets.shape, self.num_negatives)

    def _draw_list(self, rows: Tensor, window: int, generator: torch.Generator) -> Tensor:
        """One row for each place a target may be at, (T, S, B), none twice within its source."""
        # A whole permutation, of which the window uses a part: 0.2 ms for 32,760 rows, less than
        # drawing the part alone by rejection took.
        if self.negative_source == "sequence":
            return rows[torch.randperm(len(rows), generator=generator)[:window]]
        shape = window, *rows.shape[1:]
        return torch.randperm(rows.numel(), generator=generator)[: math.prod(shape)].view(shape)

    def _check(self, z: Tensor, c: Tensor, draws: Draws) -> list[int]:
        """The number of anchor positions on L of each step, once all shapes fit together."""
        if z.shape[-1] != self.code_channels or c.shape != (*z.shape[:-1], self.context_channels):
            raise ValueError(
                f"codes {tuple(z.shape)}, contexts {tuple(c.shape)}; expected the same layout "
                f"with {self.code_channels} and {self.context_channels} channels"
            )
        parallel = z.shape[2] if z.ndim == 4 else 1
        window = self._window_length(z.shape[1])
        anchors = [window - distance for distance in self.distances]
        found = [tuple(negatives.shape) for negatives in draws.negatives]
        expected = [(count, parallel, len(z), self.num_negatives) for count in anchors]
        if found != expected:
            raise ValueError(f"negatives {found}; expected {expected}")
        return anchors

    def _queries(self, inside: Tensor, anchors: list[int]) -> Tensor:
        """Every step's projected contexts of the window end to end, (M of all, C of codes)."""
        dtype = torch.promote_types(inside.dtype, torch.float32)
        if inside.ndim == 3:
            inside = inside[:, :, None]
        # Position first, so that the anchors of each step are one stretch of memory.
        inside = inside.permute(1, 2, 0, 3).contiguous()
        weights = self.projections.unbind()
        if self.projection == "target":
            weights = tuple(weight.T for weight in weights)
        projected = [
            F.linear(inside[:count].flatten(0, 2), weight)
            for count, weight in zip(anchors, weights, strict=True)
        ]
        return torch.cat(projected).to(dtype)

    def _candidates(self, shape: tuple[int, ...], draws: Draws) -> Tensor:
        """Row numbers of [positive, negatives] for the anchors of all steps, (M, 1 + negatives)."""
        rows = _row_numbers(shape)
        parts = []
        for distance, negatives in zip(self.distances, draws.negatives, strict=True):
            first = draws.start + distance
            positive = rows[first : first + len(negatives), ..., None]
            parts.append(torch.cat([positive, negatives], dim=-1).flatten(0, 2))
        return torch.cat(parts)


def _row_numbers(shape: tuple[int, ...]) -> Tensor:
    """The number of each row of codes of `shape`, arranged (L, S, B)."""
    if len(shape) not in (3, 4):
        raise ValueError(f"codes {tuple(shape)}; expected (B, L, C) or (B, L, S, C)")
    batch, length, parallel = (*shape[:-1], 1)[:3]
    return torch.arange(batch * length * parallel).view(batch, length, parallel).permute(1, 2, 0)


class _WithStretch(torch.autograd.Function):
    """A tensor and a stretch of its axis 1, whose gradients meet in one tensor of that size.

    By itself autograd would hold two: the stretch's gradient, widened with zeros, and the tensor's.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, begin: int, end: int) -> tuple[Tensor, Tensor]:
        """The codes z as they are, and z[:, begin:end] beside them."""
        ctx.begin, ctx.end = begin, end
        return z.view_as(z), z[:, begin:end]

    @staticmethod
    def backward(ctx: Any, grad: Tensor, grad_stretch: Tensor) -> tuple[Tensor, None, None]:
        """Their sum; the first one's tensor, which nobody else holds, is added to."""
        grad[:, ctx.begin : ctx.end] += grad_stretch
        return grad, None, None


class _Scores(torch.autograd.Function):
    """scores[m, j] = <queries[m], rows[index[m, j]]> without ever holding every picked row.

    The plain form gathers (M, J, C), 17 times the codes for 16 negatives, and keeps it for its
    gradient. Here forward picks one slot j at a time; backward is two weighted sums of rows.
    """

    @staticmethod
    def forward(ctx: Any, queries: Tensor, rows: Tensor, index: Tensor) -> Tensor:
        """Scores (M, J) of queries (M, C) with the rows (R, C) that index (M, J) names."""
        ctx.save_for_backward(queries, rows, index)
        scores = queries.new_empty(index.shape)
        for slot in range(index.shape[1]):
            picked = rows.index_select(0, index[:, slot])
            torch.sum(picked.mul_(queries), dim=1, out=scores[:, slot])
        return scores

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        """Gradients of queries and rows."""
        queries, rows, index = ctx.saved_tensors
        grad_queries = F.embedding_bag(index, rows, mode="sum", per_sample_weights=grad)
        # Sorted by row, the uses of each row lie together and are summed in a fixed order: unlike
        # index_add_, whose atomic additions on CUDA end in different bits from run to run.
        used, order = index.flatten().sort(stable=True)
        begins = torch.searchsorted(used, torch.arange(len(rows), device=used.device))
        grad_rows = F.embedding_bag(
            order // index.shape[1],
            queries,
            begins,
            mode="sum",
            per_sample_weights=grad.flatten()[order],
        )
        return grad_queries, grad_rows, None
