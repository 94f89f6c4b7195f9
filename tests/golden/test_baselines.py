"""What the paper compares with: context module, Deep InfoMax and Predsim against stored numbers."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from helpers.golden import DTYPES, loss_tolerance, vision_draws, vision_objective
from torch import Tensor
from torch.testing import assert_close

from gimstage.modules.pixelcnn import PixelCNN
from gimstage.objectives import InfoNCE
from gimstage.objectives.deep_infomax import dim_infonce, dim_jsd
from gimstage.objectives.predsim import Predsim, similarity_loss, similarity_matrix

Golden = dict[str, Tensor]
# Our names of the original's convolutions.
CONVS = {
    "vertical": "vertical_conv",
    "across": "v_to_h_conv",
    "horizontal": "horizontal_conv",
    "residual": "residual_vertical",
    "output": "horizontal_output",
}


def assert_near(found: Tensor, expected: Tensor) -> None:
    """Each entry may err by this share of the largest."""
    share = 1e-8 if found.dtype == torch.float64 else 1e-5
    assert_close(found.double(), expected, rtol=0, atol=share * expected.abs().max().item())


def their_weight(g: Golden, name: str) -> Tensor:
    """The original's weight for one of ours: without the row that its mask sets to zero."""
    if name.startswith("out."):
        return g[f"raw/stack_{name}"]
    _, layer, conv, kind = name.split(".")
    weight = g[f"raw/stack.layers.{layer}.{CONVS[conv]}.{kind}"]
    return weight[:, :, :2] if (conv, kind) == ("vertical", "weight") else weight


def cpc(g: Golden, dtype: torch.dtype) -> tuple[InfoNCE, Tensor]:
    """The fixture's objective with its context module, and its codes."""
    steps = torch.stack([g[f"raw/loss.W_k.{k}.weight"][..., 0, 0] for k in range(5)])
    objective = vision_objective(steps.to(dtype), gap=1, num_negatives=4)
    objective.context = PixelCNN(g["z"].shape[1], 4).to(dtype)
    for name, weight in objective.context.named_parameters():
        weight.data.copy_(their_weight(g, name))
    return objective, g["z"].to(dtype).permute(0, 2, 3, 1).requires_grad_()


@pytest.fixture(scope="module")
def pixelcnn(golden: Callable[[str], Golden]) -> Golden:
    return golden("pixelcnn")


@pytest.fixture(scope="module")
def dim(golden: Callable[[str], Golden]) -> Golden:
    return golden("dim_losses")


@pytest.fixture(scope="module")
def predsim(golden: Callable[[str], Golden]) -> Golden:
    return golden("predsim_loss")


def test_golden_vertical_masks_leave_out_the_bottom_row_alone(pixelcnn: Golden) -> None:
    masks = [pixelcnn[f"raw/stack.layers.{n}.vertical_conv.mask"] for n in range(4)]
    for mask in masks:
        assert mask[:, :, :2].all()
        assert not mask[:, :, 2].any()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_golden_contexts(pixelcnn: Golden, dtype: torch.dtype) -> None:
    objective, z = cpc(pixelcnn, dtype)
    contexts = objective.context(z).permute(0, 3, 1, 2)
    assert_near(contexts.detach(), pixelcnn["c"])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_golden_cpc_loss_and_gradient(pixelcnn: Golden, dtype: torch.dtype) -> None:
    objective, z = cpc(pixelcnn, dtype)
    result = objective(z, z, vision_draws(pixelcnn, "neg_idx_k", gap=1))
    assert_close(result.loss.double(), pixelcnn["loss"], **loss_tolerance(dtype))
    per_step = result.loss_per_step.double()
    assert_close(per_step, pixelcnn["loss_per_k"], **loss_tolerance(dtype))
    result.loss.backward()
    assert_near(z.grad, pixelcnn["grad_z"].permute(0, 2, 3, 1))


def test_golden_context_at_3_3_depends_on_the_stored_positions(pixelcnn: Golden) -> None:
    objective, z = cpc(pixelcnn, torch.float64)
    objective.context(z)[0, 3, 3].sum().backward()
    assert torch.equal((z.grad[0] != 0).any(-1).long(), pixelcnn["dependency_of_c33"])


def pairs(dim: Golden, kind: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Local and global codes of the fixture, position before channel."""
    local_codes, global_codes = (dim[key].to(dtype).mT for key in ("local", kind))
    return local_codes.requires_grad_(), global_codes.requires_grad_()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("loss", "kind", "key"),
    [
        (dim_infonce, "global", "infonce_loss"),
        (dim_infonce, "multi_global", "infonce_multi_loss"),
        (dim_jsd, "global", "jsd_loss"),
    ],
)
def test_golden_deep_infomax_losses(dim: Golden, loss, kind: str, key: str, dtype) -> None:
    found = loss(*pairs(dim, kind, dtype)).loss
    assert_close(found.double(), dim[key], **loss_tolerance(dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("loss", "name"), [(dim_infonce, "infonce"), (dim_jsd, "jsd")])
def test_golden_deep_infomax_gradients(dim: Golden, loss, name: str, dtype) -> None:
    local_codes, global_codes = pairs(dim, "global", dtype)
    loss(local_codes, global_codes).loss.backward()
    assert_near(local_codes.grad, dim[f"{name}_grad_local"].mT)
    assert_near(global_codes.grad, dim[f"{name}_grad_global"].mT)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_golden_similarity_matrices(predsim: Golden, dtype: torch.dtype) -> None:
    classes = F.one_hot(predsim["y"], 10).to(dtype)
    assert_near(similarity_matrix(classes), predsim["R_y"])
    assert_near(similarity_matrix(predsim["h_map"].to(dtype)), predsim["R_map"])
    assert_near(similarity_matrix(predsim["h_vec"].to(dtype)), predsim["R_vec"])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", ["map", "vec"])
def test_golden_similarity_loss(predsim: Golden, kind: str, dtype: torch.dtype) -> None:
    found = similarity_loss(predsim[f"h_{kind}"].to(dtype), predsim["y"], 10)
    assert_close(found.double(), predsim[f"sim_loss_{kind}"], **loss_tolerance(dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_golden_similarity_gradient(predsim: Golden, dtype: torch.dtype) -> None:
    h = predsim["h_map"].to(dtype, copy=True).requires_grad_()
    similarity_loss(h, predsim["y"], 10).backward()
    assert_near(h.grad, predsim["grad_h_map"])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_golden_predsim_total(predsim: Golden, dtype: torch.dtype) -> None:
    h = predsim["h_map"].permute(0, 2, 3, 1)
    objective = Predsim(
        code_shape=(4, 4, 5), num_classes=10, similarity_share=0.99, head_inputs=2048
    ).double()
    # A mixing that changes nothing, and a classifier that gives the stored logits.
    torch.nn.init.dirac_(objective.mix.weight)
    torch.nn.init.zeros_(objective.head.bias)
    flat = predsim["h_map"].flatten(1)
    objective.head.weight.data = torch.linalg.lstsq(flat, predsim["logits"]).solution.T
    h = h.to(dtype)
    found = objective.to(dtype).forward(h, h, None, labels=predsim["y"]).loss
    assert_close(found.double(), predsim["predsim_total_map"], **loss_tolerance(dtype))
