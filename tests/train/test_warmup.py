"""The state that a recurrent module begins a crop with is that of the rows before it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.homes import RECIPES, StopAfter, at, bits, edit
from torch import Tensor
from torch.testing import assert_close

from gimstage.errors import RecipeError
from gimstage.inputs import SequenceSource
from gimstage.modules import ConvGRUModule, GRUModule, SequenceModule
from gimstage.objectives import InfoNCE
from gimstage.plan.fit import predicted_peak
from gimstage.progress import Interrupted
from gimstage.recipe.recipe import Recipe
from gimstage.stack import Learner
from gimstage.train import warmup
from gimstage.train.step import Batch, training_step
from gimstage.train.warmup import WarmUp
from gimstage.views import Spans

F64 = {"rtol": 1e-12, "atol": 1e-12}
ROWS, CHANNELS = 200, 3


class InMemory(SequenceSource):
    """Rows of two entries, in float64."""

    def __init__(self) -> None:
        rng = torch.Generator().manual_seed(1)
        self.rows = torch.randn(2, ROWS, CHANNELS, generator=rng, dtype=torch.float64)
        self.lengths = np.array([ROWS, ROWS])

    def buffer(self, count: int, size: int) -> Tensor:
        return torch.empty(count, size, CHANNELS, dtype=torch.float64)

    def fill(self, buffer: Tensor, places: Spans) -> Tensor:
        filled = buffer[: len(places), : places.count]
        for row, entry, first in zip(filled, places.entry, places.first, strict=True):
            padded = torch.nn.functional.pad(self.rows[entry], (0, 0, ROWS, ROWS))
            row.copy_(padded[ROWS + first : ROWS + first + places.count])
        return filled

    def prepare(self, raw: Tensor, places: Spans) -> Tensor:
        return raw.clone()


def gru() -> GRUModule:
    torch.manual_seed(7)
    return GRUModule(in_channels=CHANNELS, channels=4, bptt=True).double()


def conv_gru() -> ConvGRUModule:
    torch.manual_seed(8)
    return ConvGRUModule(
        in_channels=CHANNELS,
        channels=4,
        kernel=4,
        stride=2,
        padding=1,
        hidden_channels=4,
        bptt=True,
    ).double()


def states(module: SequenceModule, first: list[int], rows: int) -> Tensor | None:
    """The states before crops at these rows of input."""
    places = Spans(np.arange(len(first)) % 2, np.array(first) * module.stride, 10)
    how = {"rows": rows, "device": torch.device("cpu")}
    return WarmUp(module, InMemory(), places=places, **how)(0, len(first))


@pytest.mark.parametrize("make", [gru, conv_gru])
def test_a_state_is_that_of_the_rows_before_wherever_a_crop_begins(
    make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warmup, "PIECE_ROWS", 7)
    module, source = make(), InMemory()
    first = [40, 0, 12, 5, 60]
    found = states(module, first, rows=25)
    for number, begin in enumerate(first):
        count = min(begin, 25)
        wanted = torch.zeros(1, 1, 4, dtype=torch.float64)
        if count:
            begins, rows = module.reach(begin - count, count)
            places = Spans(np.array([number % 2]), np.array([begins]), rows)
            x = source.fill(source.buffer(1, rows), places)
            wanted = module.advance(x, None)[1]
        assert_close(found[:, number : number + 1], wanted, **F64)


def test_crops_that_begin_their_entries_have_no_state() -> None:
    assert states(gru(), [0, 0], rows=25) is None


@pytest.mark.parametrize("bptt", [True, False])
def test_a_crop_that_goes_on_has_the_contexts_of_the_whole(bptt: bool) -> None:
    module, rows = gru(), InMemory().rows
    module.bptt = bptt
    outputs = module.continued(rows[:, 50:], states(module, [50, 50], rows=50))
    assert_close(outputs.contexts, module(rows)[:, 50:], **F64)
    assert torch.equal(outputs.codes, rows[:, 50:])


@pytest.fixture(scope="module")
def finished(finished_speech: Path) -> Path:
    """The small recipe is that of speech."""
    return finished_speech


def gradients(micro_batch: int) -> dict[str, Tensor]:
    """Of a GRU and its loss after a step on two crops, warmed up on different rows."""
    module, rows = gru(), InMemory().rows
    torch.manual_seed(3)
    loss = InfoNCE(
        code_channels=CHANNELS,
        context_channels=4,
        prediction_steps=3,
        prediction_gap=0,
        num_negatives=4,
        projection="context",
        negative_source="batch",
        exclude_positive=False,
        probability_floor=0.0,
        window=None,
        context=None,
    ).double()
    first = np.array([40, 90])
    how = {"places": Spans(np.array([0, 1]), first, 10), "rows": 60}
    crops = torch.stack([rows[n, at : at + 10] for n, at in enumerate(first)])
    batch = Batch(
        load=lambda first, last: crops[first:last],
        count=2,
        labels=None,
        rngs=[torch.Generator().manual_seed(5)],
        state=WarmUp(module, InMemory(), device=torch.device("cpu"), **how),
    )
    still = torch.optim.SGD([*module.parameters(), *loss.parameters()], lr=0.0)
    step = {"optimiser": still, "precision": "float32", "due": [True]}
    training_step([Learner(module, loss, 1, 1)], batch, micro_batch=micro_batch, **step)
    return {name: weight.grad for name, weight in module.named_parameters()}


def test_two_passes_over_a_warmed_up_batch_give_the_plain_gradient() -> None:
    whole = gradients(micro_batch=2)
    assert any(gradient.abs().max() > 0 for gradient in whole.values())
    assert_close(gradients(micro_batch=1), whole, **F64)


def warm_up(home: Path, number: int, frames: int) -> None:
    views = f"[views]\ncrop_frames = 64\nwarm_up_frames = {frames}\n\n[module]"
    edit(home, f"{number}_*.toml", "[module]", views)


def test_a_warmed_up_stage_that_was_stopped_goes_on_to_the_same_bits(
    home: Path, finished: Path, tmp_path: Path
) -> None:
    before = bits(home)["6/weights.safetensors"]
    warm_up(home, 6, 100)
    stopped = Path(shutil.copytree(home, tmp_path / "stopped"))
    at(home).train_stage(6)
    with pytest.raises(Interrupted):
        at(stopped, StopAfter(3)).train_stage(6)
    at(stopped).train_stage(6)
    assert bits(stopped)["6/weights.safetensors"] == bits(home)["6/weights.safetensors"] != before


def test_a_step_takes_the_memory_of_a_piece_however_long_its_warm_up(tmp_path: Path) -> None:
    peaks = []
    for frames in (10**4, 10**6):
        home = tmp_path / str(frames)
        shutil.copytree(RECIPES / "tiny_audio", home / "tiny_audio")
        warm_up(home, 6, frames)
        peaks.append(predicted_peak(Recipe.load(home / "tiny_audio").chain(6), 4, False))
    assert peaks[0] == peaks[1]


def test_a_module_without_a_state_is_not_warmed_up(tmp_path: Path) -> None:
    shutil.copytree(RECIPES / "tiny_audio", tmp_path / "tiny_audio")
    warm_up(tmp_path, 2, 9)
    with pytest.raises(RecipeError) as caught:
        Recipe.load(tmp_path / "tiny_audio")
    assert str(caught.value) == (
        "stage tiny_audio/2 [views] warm_up_frames: 9, for a module without a state to warm up; "
        'expected it with one recurrent [module], such as "gru"; remove the key'
    )
