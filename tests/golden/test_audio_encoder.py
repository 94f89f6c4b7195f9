"""The audio encoder and its GRU against the original's numbers."""

from collections.abc import Callable

import pytest
from torch import Tensor
from torch.testing import assert_close

from gimstage.modules import Conv1dModule, GRUModule

F64 = {"rtol": 1e-8, "atol": 1e-10}
F32 = {"rtol": 1e-6, "atol": 1e-6}  # the fixture keeps some values in float32

Golden = dict[str, Tensor]
WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


@pytest.fixture(scope="module")
def g(golden: Callable[[str], Golden]) -> Golden:
    return golden("audio_encoder_gru")


@pytest.fixture(scope="module")
def convs(g: Golden) -> list[Conv1dModule]:
    settings = zip(
        g["kernels"].tolist(), g["strides"].tolist(), g["paddings"].tolist(), strict=True
    )
    modules = []
    for number, (kernel, stride, padding) in enumerate(settings, start=1):
        weight = g[f"conv{number}/weight"]
        module = Conv1dModule(
            in_channels=weight.shape[1],
            channels=weight.shape[0],
            kernel=kernel,
            stride=stride,
            padding=padding,
        ).double()
        module.conv.weight.data.copy_(weight)
        module.conv.bias.data.copy_(g[f"conv{number}/bias"])
        modules.append(module)
    return modules


def gru(g: Golden, *, bptt: bool) -> GRUModule:
    channels, in_channels = g["gru/weight_hh_l0"].shape[1], g["gru/weight_ih_l0"].shape[1]
    module = GRUModule(in_channels=in_channels, channels=channels, bptt=bptt).double()
    module.gru.load_state_dict({f"{name}_l0": g[f"gru/{name}_l0"] for name in WEIGHTS})
    return module


def test_golden_convolutions(g: Golden, convs: list[Conv1dModule]) -> None:
    x = g["wav"].transpose(1, 2)
    for number, module in enumerate(convs, start=1):
        length = module.length(x.shape[1])
        x = module(x)
        assert x.shape[1] == length == int(g[f"conv{number}/length"])
        assert_close(x[0, :16], g[f"conv{number}/out_first16"], **F32)
        assert_close(x[0, -16:], g[f"conv{number}/out_last16"], **F32)
        assert_close(x[0].sum(0), g[f"conv{number}/sum_per_channel"], **F64)
    assert_close(x[0], g["conv5/out"], **F64)


@pytest.mark.parametrize("bptt", [True, False])
def test_golden_gru_contexts(g: Golden, bptt: bool) -> None:
    assert_close(gru(g, bptt=bptt)(g["conv5/out"][None])[0], g["gru/out"], **F64)


@pytest.mark.parametrize("bptt", [True, False])
def test_golden_gru_gradients(g: Golden, bptt: bool) -> None:
    module, kind = gru(g, bptt=bptt), "bptt" if bptt else "nobptt"
    codes = g["conv5/out"][None].clone().requires_grad_()
    scalar = (module(codes)[0] * g["gru/probe"]).sum()
    scalar.backward()
    assert_close(scalar.detach(), g[f"{kind}/scalar"], **F64)
    assert_close(codes.grad[0], g[f"{kind}/grad_in"], **F64)
    for name in WEIGHTS:
        assert_close(getattr(module.gru, f"{name}_l0").grad, g[f"{kind}/grad_{name}"], **F64)
