"""GPU memory of a training step, known before it runs and without a GPU: a prediction.

    build, step ─► two steps under fake tensors ─► storages born and freed ─► Peak of the second
                                                          └─► caching allocator ─► reserved bytes

Nothing is computed: a fake tensor has shape, dtype and storage, but no numbers. The trace runs on
fake CPU tensors and counts what a CUDA device would hold:

- Storages, once however many views share them, until the last tensor on them dies; in blocks of 512
  bytes. The second step is reported: it finds gradients of the first, and the states of Adam.
- Gradients of a tensor used twice are summed in place where the engine does so without a mode;
  under any dispatch mode, this one included, it makes a third tensor.
- Tensors of the host (drawn negatives, a batch that is streamed) are left out; `.to(device)` copies
  them. One that meets counted tensors without it counts from there.
- A GRU is one cuDNN operation with copies in time-major order and a reserve. How large a reserve is
  cuDNN says on a device only; `GRU_RESERVE` is an estimate.

Not counted, and what `Budget` sets bytes aside for: the CUDA context, and memory inside kernels
(workspaces of cuDNN and cuBLAS, sorting, copies of operands a kernel cannot read as they lie). The
allocator is a model of PyTorch's with its default settings. Neither it nor the count has been
validated on CUDA; on a CPU the count is the profiler's, but for what kernels allocate inside.

This file imports nothing of gimstage but errors.
"""

import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from gimstage.errors import BudgetError
from gimstage.plan.allocator import BLOCK, Block, CachingAllocator, rounded_up

KINDS = ("weights", "gradients", "optimiser", "activations", "loss", "buffers")
REPEATS = 3  # of the last step, within which reserved memory stops growing; one sufficed so far
GRU_RESERVE = 5  # values kept per output, as torch's own fused GRU cell does

Build = Callable[[], tuple[nn.Module, nn.Module]]
Step = Callable[[Any, Any, torch.optim.Optimizer, Tensor], object]


@dataclass(frozen=True)
class Peak:
    """The most memory one training step takes at any time: a prediction.

    Args:
        allocated_bytes: the bytes of all tensors alive at once.
        reserved_bytes: the bytes of the segments the caching allocator holds them in, once further
            steps add none.
        by_kind: allocated_bytes by what they are for: weights, gradients (of weights), optimiser
            (Adam's states, temporaries of its step), activations (of the module, and gradients
            passing through it), loss (the same of the objective), buffers (the batch, and buffers
            of module and objective).
    """

    allocated_bytes: int
    reserved_bytes: int
    by_kind: dict[str, int]


@dataclass(frozen=True)
class Budget:
    """GPU memory allowed, and what of it is left for tensors.

    Args:
        total_bytes: all of it.
        context_bytes: what CUDA and its libraries take before the first tensor.
        workspace_bytes: memory inside kernels.
        margin_share: the share of the rest, kept free because a prediction can err; 0 … 1.
    """

    total_bytes: int
    context_bytes: int
    workspace_bytes: int
    margin_share: float

    @property
    def margin_bytes(self) -> int:
        """The bytes kept free because a prediction can err."""
        rest = self.total_bytes - self.context_bytes - self.workspace_bytes
        return int(max(0, rest) * self.margin_share)

    @property
    def for_tensors(self) -> int:
        """The most that `Peak.reserved_bytes` may be.

        Raises:
            BudgetError: nothing is left.
        """
        fixed = self.context_bytes + self.workspace_bytes
        left = self.total_bytes - fixed - self.margin_bytes
        if left <= 0:
            raise BudgetError(
                f"GPU memory of {self.total_bytes / 1e6:.0f} MB",
                f"nothing left for tensors: {fixed / 1e6:.0f} MB set aside for CUDA's context and "
                f"workspaces, {self.margin_share:.0%} of the rest as margin",
                f"more than {fixed / 1e6:.0f} MB",
                "allow more memory, or set less aside",
            )
        return left


def predict_peak(build: Build, step: Step, *, batch_shape: tuple[int, ...], resident: bool) -> Peak:
    """The peak of a training step on CUDA, traced without one.

    Args:
        build: makes module and objective, or lists of them, on the CPU in torch's default layout.
        step: a whole training step on module, objective, optimiser and batch: loss, backward and
            optimiser step. No number in it matters; every `.item()` gives 1.
        batch_shape: the shape of the module's input, float32.
        resident: whether the batch lies on the device; if not, it lies on the host, and what the
            step moves with `.to(device)` counts as long as it lives.
    """
    ledger, left_behind = Ledger(), []
    with FakeTensorMode():
        parts = build()
        parameters = [p for part in parts for p in part.parameters()]
        optimiser = torch.optim.Adam(parameters, foreach=True)  # its own choice on CUDA
        batch = torch.empty(batch_shape)
        ledger.count(parameters, "weights")
        ledger.count((b for part in parts for b in part.buffers()), "buffers")
        ledger.count([batch] if resident else [], "buffers")
        _tell_kinds(ledger, *parts, optimiser)
        with ledger, _AsOnDevice(ledger):
            for _ in range(2):
                first = len(ledger.events)
                step(*parts, optimiser, batch)
                left_behind.append(ledger.name_gradients(parameters))
    return ledger.peak(first, dict(zip(*left_behind, strict=True)))


def _tell_kinds(
    ledger: "Ledger", module: nn.Module, objective: nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    """Let the parts say themselves what is being allocated for."""

    def working_on(kind: str, *_: object) -> None:
        ledger.kind = kind

    def loss_begins(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        ledger.kind = "loss"
        for codes in (tensor for tensor in _tensors(inputs) if tensor.requires_grad):
            codes.register_hook(partial(working_on, "activations"))  # backward leaves the objective

    for part in module.modules():
        part.register_forward_pre_hook(partial(working_on, "activations"))
    for loss in objective if isinstance(objective, nn.ModuleList) else [objective]:
        loss.register_forward_pre_hook(loss_begins)
    optimiser.register_step_pre_hook(partial(working_on, "optimiser"))
    optimiser.register_step_post_hook(partial(working_on, "activations"))


class Ledger(TorchDispatchMode):
    """Writes down which storages are born and freed inside; storages are numbered.

    Attributes:
        kind: what storages born now are for.
        events: (number of a storage, whether it is born or freed), in order.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kind = "activations"
        self.events: list[tuple[int, bool]] = []
        self._kinds: list[str] = []
        self._sizes: list[int] = []
        self._alive: dict[int, tuple[int, weakref.ref[torch.UntypedStorage]]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run the operation; count its results where it reads anything counted."""
        if func is torch.ops.prim.device.default:
            return args[0].fake_device
        if func is torch.ops.aten._local_scalar_dense.default:
            return 1  # stands for any number; Adam would divide by 0
        if func is torch.ops.aten.add.Tensor and _engine_adds_in_place(args[0]):
            func = torch.ops.aten.add_.Tensor
        kwargs = kwargs or {}
        results = func(*args, **kwargs)
        operands = [*_tensors(args), *_tensors(kwargs.values())]
        if any(map(self.counts, operands)):
            # Single numbers of the host may meet tensors of the device, anything larger may not.
            self.count([*(t for t in operands if t.ndim), *_tensors((results,))])
        return results

    def counts(self, tensor: Tensor) -> bool:
        """Whether a tensor's storage is among the counted."""
        return tensor.untyped_storage()._cdata in self._alive

    def count(self, tensors: Iterable[Tensor], kind: str | None = None) -> None:
        """Count the storages of tensors from now until they die; once each."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key not in self._alive and storage.nbytes():
                number = len(self._sizes)
                self._kinds.append(kind or self.kind)
                self._sizes.append(rounded_up(storage.nbytes(), BLOCK))
                self._alive[key] = number, weakref.ref(storage, partial(self._freed, key))
                self.events.append((number, True))

    def _freed(self, key: int, _: object) -> None:
        self.events.append((self._alive.pop(key)[0], False))

    def name_gradients(self, parameters: Iterable[Tensor]) -> list[int]:
        """Say that the gradients of parameters were gradients from birth; returns their numbers."""
        gradients = (p.grad for p in parameters if p.grad is not None)
        numbers = [self._alive[g.untyped_storage()._cdata][0] for g in gradients]
        for number in numbers:
            self._kinds[number] = "gradients"
        return numbers

    def peak(self, first: int, successors: dict[int, int]) -> Peak:
        """The peak of the last step, which begins with event `first`.

        In place of the `successors`' keys, which it found, it leaves their values.
        """
        live, most = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0)
        for position, (number, born) in enumerate(self.events):
            live[self._kinds[number]] += self._sizes[number] if born else -self._sizes[number]
            if position >= first - 1 and sum(live.values()) > sum(most.values()):
                most = dict(live)
        return Peak(sum(most.values()), self._reserved(first, successors), most)

    def _reserved(self, first: int, successors: dict[int, int]) -> int:
        """Bytes the caching allocator ends up with as the last step is repeated."""
        allocator, blocks = CachingAllocator(), dict[int, Block]()

        def replay(events: Iterable[tuple[int, bool]]) -> None:
            for number, born in events:
                if born and number not in blocks:
                    blocks[number] = allocator.allocate(self._sizes[number])
                elif not born and number in blocks:
                    allocator.free(blocks.pop(number))

        replay(self.events)
        for _ in range(REPEATS):
            blocks |= {old: blocks.pop(new) for old, new in successors.items()}
            replay(self.events[first:])
        return allocator.reserved


class _AsOnDevice(TorchFunctionMode):
    """What a CUDA device does otherwise than the CPU that the trace runs on."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self.ledger = ledger

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Copy what moves from host to device; run a GRU as one operation."""
        kwargs = kwargs or {}
        name, named = getattr(func, "__name__", ""), (*args[1:], *kwargs.values())
        if name == "gru" and (*args[4:5], *args[7:]) == (1, False, True):
            return _gru(*args)
        moves = name == "to" and any(isinstance(value, torch.device) for value in named)
        if moves and not self.ledger.counts(args[0]):
            moved = func(*args, **kwargs, copy=True)
            self.ledger.count([moved])
            return moved
        return func(*args, **kwargs)


def _gru(x: Tensor, state: Tensor, weights: list[Tensor], *_: Any) -> Any:
    """What `torch.gru` returns, of one layer, one direction, batch first."""
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        x, state, *weights = (t.to(dtype) for t in (x, state, *weights))
    return _CudnnGRU.apply(x, state, *weights)  # type: ignore[no-untyped-call]


class _CudnnGRU(torch.autograd.Function):
    """The storages, not the numbers, of cuDNN's forward and backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, state: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs (B, T, C') and last state (1, B, C') for x (B, T, C)."""
        rows, new = x.transpose(0, 1).contiguous(), weights[0].new_empty
        output = new(*rows.shape[:2], state.shape[-1])
        ctx.save_for_backward(x, output, new(GRU_RESERVE * output.numel()), *weights)
        return output.transpose(0, 1), new(state.shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x, which cuDNN makes whether asked for or not, and of weights."""
        x, _, _, *weights = ctx.saved_tensors
        copies, new = [t.transpose(0, 1).contiguous() for t in (x, grad)], weights[0].new_empty
        grad_x = new(copies[0].shape).transpose(0, 1)
        sizes = [weight.numel() for weight in weights]
        parts = new(sum(sizes)).split(sizes)
        return grad_x, None, *(p.view_as(w) for p, w in zip(parts, weights, strict=True))


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors among values and in lists among them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


def _engine_adds_in_place(older: Tensor) -> bool:
    """Whether the autograd engine, without a mode, would add to this gradient in place.

    It does where nothing else holds the gradient or its storage (torch's input_buffer.cpp); seen
    from a mode, the counts are then 4 and 2.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame and frame.f_code.co_name in ("__torch_dispatch__", "_fn", "inner"):
        frame = frame.f_back  # out of this mode and the wrappers torch puts round it
    if frame is None or frame.f_code.co_name != "_engine_run_backward":
        return False
    storage = older.untyped_storage()
    holders: int = older._use_count()  # type: ignore[attr-defined]
    alone = holders == 4 and torch._C._storage_Use_Count(storage._cdata) == 2
    return alone and storage.nbytes() == older.nbytes  # dense, too
