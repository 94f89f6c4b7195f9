"""What every kind of encoder says of itself, held against what it does."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gimstage.modules import EncoderModule, SequenceModule, multiply_adds
from gimstage.modules.base import counted_multiply_adds

Case = tuple[str, dict[str, Any], tuple[int, ...]]

CONV = {"channels": 6, "kernel": 4, "stride": 2, "padding": 1}
RESNET = {"width": 4, "blocks": 2, "stride": 2, "stem_channels": None}
VGG = {"channels": 5, "kernel": 3, "stride": 1, "padding": 1, "max_pool": True, "dropout": 0.5}
ALEXNET = {"widths": [4, 4, 6, 6, 5], "global_channels": 7}
# Every kind, some keys of it, and the shape of a unit it reads.
CASES: list[Case] = [
    ("conv1d", CONV, (20, 3)),
    ("conv1d", CONV, (20, 1)),
    ("conv1d_gru", CONV | {"hidden_channels": 5, "bptt": True}, (20, 3)),
    ("gru", {"channels": 5, "bptt": False}, (20, 3)),
    ("identity", {}, (3, 6, 6)),
    ("resnet", RESNET | {"block": "basic"}, (3, 8, 8)),
    ("resnet", RESNET | {"block": "bottleneck", "stem_channels": 6}, (3, 8, 8)),
    ("vgg_layer", VGG, (3, 9, 8)),
    ("folded_alexnet", ALEXNET, (5, 5, 3, 16, 16)),
    ("pixelcnn", {"layers": 2}, (4, 4, 3, 1, 1)),
    ("conv2d", CONV, (12, 10, 3)),
    ("masked_conv2d", {"channels": 5, "kernel": 3}, (6, 5, 3)),
]
LAST = ("sequence", "map")  # has its channels last
NAMES = [f"{kind}-{number}" for number, (kind, *_) in enumerate(CASES)]
every_case = pytest.mark.parametrize("case", CASES, ids=NAMES)


def channels_of(case: Case) -> int:
    """Those of its input: the last axis of sequences and whole maps, else the third last."""
    shape = case[2]
    return shape[-1] if EncoderModule.kinds[case[0]].reads in LAST else shape[-3]


def made(case: Case) -> EncoderModule:
    """The module, frozen."""
    kind, keys, _ = case
    torch.manual_seed(7)
    module = EncoderModule.kinds[kind](in_channels=channels_of(case), **keys)  # type: ignore[call-arg]
    return module.eval()


def units(case: Case, count: int = 2) -> Tensor:
    """Some units of its input: whole images for what keeps their map, patches of a grid else."""
    leading = (count,) if len(case[2]) in (2, 5) or case[0] == "vgg_layer" else (count, 2, 2)
    return torch.randn(*leading, *case[2], generator=torch.Generator().manual_seed(3))


def test_every_built_in_kind_is_looked_at() -> None:
    built_in = {k for k, part in EncoderModule.kinds.items() if "gimstage." in part.__module__}
    assert built_in == {kind for kind, *_ in CASES}


@every_case
def test_features_have_the_shape_that_is_told(case: Case) -> None:
    module, x = made(case), units(case)
    features = module.outputs(x).features
    leading = x.shape[: x.ndim - module.unit_axes]
    assert features.shape == (*leading, *module.output_shape(case[2]))


@every_case
def test_codes_have_the_shape_that_is_told(case: Case) -> None:
    module, x = made(case), units(case)
    codes = module.outputs(x).codes
    leading = x.shape[: x.ndim - module.unit_axes]
    assert codes.shape == (*leading, *module.code_shape(case[2]))


@every_case
def test_channels_are_those_of_features_codes_and_contexts(case: Case) -> None:
    module = made(case)
    features, codes, contexts = module.outputs(units(case))
    axis = -1 if module.reads in LAST else -3
    assert features.shape[axis] == module.out_channels
    assert codes.shape[-1] == module.code_channels
    assert contexts.shape[-1] == module.context_channels


@every_case
def test_codes_and_contexts_alone_are_those_beside_the_features(case: Case) -> None:
    module, x = made(case), units(case)
    _, codes, contexts = module.outputs(x)
    alone = module.codes_and_contexts(x)
    torch.testing.assert_close(alone, (codes, contexts), rtol=0, atol=0)


@every_case
def test_a_frozen_module_encodes_every_unit_alone(case: Case) -> None:
    module, x = made(case), units(case)
    alone = torch.cat([module(each[None]) for each in x])
    torch.testing.assert_close(module(x), alone, rtol=1e-5, atol=1e-6)


@every_case
def test_features_are_the_same_with_codes_as_without(case: Case) -> None:
    module, x = made(case), units(case)
    assert torch.equal(module(x), module.outputs(x).features)


@every_case
def test_what_is_rectified_is_never_negative(case: Case) -> None:
    module = made(case)
    assert bool(module(units(case, 8)).min() >= 0) is module.rectified


@every_case
def test_negative_inputs_are_without_effect_only_where_that_is_said(case: Case) -> None:
    module, x = made(case), units(case)
    assert torch.equal(module(x), module(x.relu())) is module.reads_through_relu


@every_case
def test_only_a_recurrent_module_sees_all_rows_before(case: Case) -> None:
    module, x = made(case), units(case)
    if not isinstance(module, SequenceModule):
        assert not module.recurrent
        return
    changed = x.clone()
    changed[:, 0] += 3
    moved = (module(x) != module(changed))[:, -1].any()
    assert bool(moved) is module.recurrent


@every_case
def test_learning_units_meet_only_where_batch_statistics_are_said(case: Case) -> None:
    module, x = made(case).train(), units(case)
    if module.uses_dropout:
        for part in module.modules():
            if isinstance(part, nn.Dropout | nn.Dropout2d):
                part.p = 0.0
    together = module(x)[:1]
    met = not torch.allclose(together, module(x[:1]), rtol=1e-4, atol=1e-5)
    assert met is module.uses_batch_statistics


@pytest.mark.parametrize("case", [case for case in CASES if "gru" not in case[0]])
def test_the_stated_work_is_what_torch_counts_without_numbers(case: Case) -> None:
    with torch.device("meta"):
        module = made(case)
        x = torch.empty(1, *case[2])
    with FlopCounterMode(display=False) as counter:
        module.outputs(x)
    assert 2 * multiply_adds(module, case[2]) == counter.get_total_flops()


@pytest.mark.parametrize("case", [case for case in CASES if case[0] == "gru"])
def test_the_work_of_a_gru_is_three_products_of_input_and_state_a_row(case: Case) -> None:
    module = made(case)
    weights = sum(p.numel() for name, p in module.named_parameters() if ".weight_" in name)
    assert multiply_adds(module, case[2]) == case[2][0] * weights


@every_case
def test_a_module_is_the_one_part_of_itself(case: Case) -> None:
    module = made(case)
    assert module.parts == (module,)


class Scaled(EncoderModule):
    """Multiplies by a number, and does not say what that costs."""

    algorithm, reads = 1, "patch"

    def __init__(self, *, in_channels: int, mix: bool) -> None:
        super().__init__()
        self.in_channels = self.out_channels = self.code_channels = in_channels
        self.mix = nn.Linear(in_channels, in_channels, bias=False) if mix else None

    def forward(self, x: Tensor) -> Tensor:
        """Twice the input."""
        return 2 * x

    def pool(self, features: Tensor) -> Tensor:
        """The mean of every patch, mixed where there is something to mix it."""
        codes = features.mean((-2, -1))
        return codes if self.mix is None else self.mix(codes)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """As it comes in."""
        return shape


def test_work_that_torch_does_not_count_is_one_a_value_and_never_none() -> None:
    assert multiply_adds(Scaled(in_channels=3, mix=False), (3, 4, 5)) == 60


def test_counted_work_includes_what_makes_the_codes() -> None:
    with torch.device("meta"):
        module = Scaled(in_channels=40, mix=True)
    assert multiply_adds(module, (40, 2, 2)) == 1600


def test_a_matrix_product_counts_what_it_multiplies() -> None:
    weight = torch.empty(7, 5, device="meta")
    assert counted_multiply_adds(lambda x: x @ weight, (11, 7)) == 11 * 7 * 5


def test_counting_needs_no_gradient_and_leaves_none() -> None:
    with torch.device("meta"):
        linear = nn.Linear(8, 8)
    outputs: list[Tensor] = []
    counted_multiply_adds(lambda x: outputs.append(linear(x)), (2, 8))
    assert not outputs[0].requires_grad


def test_axes_of_a_unit_go_with_what_is_read() -> None:
    axes = {made(case).reads: made(case).unit_axes for case in CASES}
    assert axes == {"patch": 3, "sequence": 2, "grid": 5, "map": 3}


def test_every_kind_has_a_version_of_its_numbers() -> None:
    versions = [EncoderModule.kinds[kind].algorithm for kind, *_ in CASES]
    assert all(type(version) is int and version >= 1 for version in versions)


def test_a_module_without_padding_is_the_module_where_nothing_is_padded() -> None:
    module, x = made(CASES[5]), units(CASES[5])
    assert torch.equal(module.unpadded(x), module(x))
