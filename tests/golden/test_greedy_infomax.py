"""Losses, encoders and an optimiser against numbers that the original code produced.

The fixtures (tests/golden, or `pytest --golden DIR`) number negatives in the original's ways and
name weights in its words; the functions here translate both.
"""

import re

import pytest
import torch
from helpers.golden import DTYPES, F64, loss_tolerance, vision_draws, vision_objective
from torch import Tensor
from torch.testing import assert_close

from gimstage.modules import ResNetModule
from gimstage.objectives import Draws, InfoNCE

VISION = ["small", "n16", "saturated", "context", "skip0"]
AUDIO = ["m1", "m1_context", "m1_subsample", "m0", "m2", "m2_subsample"]
SOURCES = {0: "targets", 1: "batch", 2: "sequence"}


def assert_gradient(found, expected):
    """Each gradient tensor may err by this share of its own largest entry."""
    share = 1e-8 if found.dtype == torch.float64 else 1e-4
    assert_close(found.double(), expected, rtol=0, atol=share * expected.abs().max().item())


def vision(g, dtype):
    """Objective, codes, contexts and draws of a vision fixture."""
    gap = int(g["skip_step"])
    objective = vision_objective(g["W"].to(dtype), gap, int(g["n_neg"]))
    z = g["z"].to(dtype).permute(0, 2, 3, 1).requires_grad_()
    c = g["c"].to(dtype).permute(0, 2, 3, 1).requires_grad_() if "c" in g else z
    return objective, z, c, vision_draws(g, "neg_idx_k", gap)


def audio_rows(g, k: int, window: int) -> Tensor:
    """Negatives of step k as row numbers, (L − k, 1, B, num_negatives)."""
    batch, length, _ = g["z"].shape
    count, method = window - k, int(g["sampling_method"])
    anchors = batch * count
    if method == 1:
        rows = g["perm"][:, batch * length - anchors :]
    elif method == 0:
        target = (torch.arange(anchors) + g[f"offset_k{k}"]) % anchors
        rows = target // count * length + target % count + k
    else:
        begin = int(g["seq_begin"][1]) if "seq_begin" in g else 0
        times = g["perm"][:, begin + k : begin + window]
        rows = (torch.arange(batch)[:, None] * length + times[:, None, :]).flatten(1)
    return rows.view(-1, batch, count).permute(2, 1, 0)[:, None]


def audio(g, dtype):
    """Objective, codes, contexts and draws of an audio fixture."""
    z = g["z"].to(dtype).requires_grad_()
    c = g["c"].to(dtype).requires_grad_() if "c" in g else z
    steps = int(g["k_steps"])
    objective = InfoNCE(
        code_channels=z.shape[-1],
        context_channels=c.shape[-1],
        prediction_steps=steps,
        prediction_gap=0,
        num_negatives=int(g["n_neg"]),
        projection="context",
        negative_source=SOURCES[int(g["sampling_method"])],
        exclude_positive=int(g["sampling_method"]) == 0,
        probability_floor=0.0,
        window=128 if g["subsample"] else None,
    ).to(dtype)
    objective.projections.data.copy_(g["predictor_weight"].view(objective.projections.shape))
    start = int(g["seq_begin"][0]) if "seq_begin" in g else 0
    window = 128 if g["subsample"] else z.shape[1]
    negatives = tuple(audio_rows(g, k, window) for k in range(1, steps + 1))
    return objective, z, c, Draws(start, negatives)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", VISION)
def test_golden_vision_loss(golden, name, dtype):
    g = golden(f"vision_infonce_{name}")
    objective, z, c, draws = vision(g, dtype)
    result = objective(z, c, draws)
    assert_close(result.loss.double(), g["loss_f64"], **loss_tolerance(dtype))
    assert_close(result.loss_per_step.double(), g["loss_per_k_f64"], **loss_tolerance(dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", VISION)
def test_golden_vision_gradients(golden, name, dtype):
    g = golden(f"vision_infonce_{name}")
    objective, z, c, draws = vision(g, dtype)
    objective(z, c, draws).loss.backward()
    assert_gradient(objective.projections.grad, g["grad_W_f64"])
    assert_gradient(z.grad, g["grad_z_f64"].permute(0, 2, 3, 1))
    if c is not z:
        assert_gradient(c.grad, g["grad_c_f64"].permute(0, 2, 3, 1))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", AUDIO)
def test_golden_audio_loss_and_accuracy(golden, name, dtype):
    g = golden(f"audio_infonce_{name}")
    objective, z, c, draws = audio(g, dtype)
    result = objective(z, c, draws)
    assert_close(result.loss.double(), g["loss_f64"], **loss_tolerance(dtype))
    assert_close(result.loss_per_step.double(), g["loss_per_k"], **loss_tolerance(dtype))
    assert_close(result.accuracy.double(), g["accuracy"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", AUDIO)
def test_golden_audio_gradients(golden, name, dtype):
    g = golden(f"audio_infonce_{name}")
    objective, z, c, draws = audio(g, dtype)
    objective(z, c, draws).loss.backward()
    weight = g["grad_predictor_f64"].view(objective.projections.shape)
    assert_gradient(objective.projections.grad, weight)
    assert_gradient(z.grad, g["grad_z_f64"])
    if c is not z:
        assert_gradient(c.grad, g["grad_c_f64"])


def patches(images: Tensor) -> Tensor:
    """The 16-pixel windows at stride 8, (B, rows, columns, C, 16, 16), of images (B, C, y, x)."""
    windows = images.unfold(2, 16, 8).unfold(3, 16, 8)
    return windows.permute(0, 2, 3, 1, 4, 5).contiguous()


def our_name(name: str) -> str:
    """What we call a weight of the original."""
    return re.sub(r"^block_", "blocks.", name.replace("Conv1.", "stem."))


def module_of(weights, stride: int) -> ResNetModule:
    """The float64 module that the original's weights, by their names, belong to."""
    first = weights["block_0.conv1.weight"]
    stem = weights.get("Conv1.weight")
    module = ResNetModule(
        in_channels=first.shape[1] if stem is None else stem.shape[1],
        width=first.shape[0],
        blocks=len({name.split(".")[0] for name in weights if name.startswith("block_")}),
        stride=stride,
        block="bottleneck" if "block_0.conv3.weight" in weights else "basic",
        stem_channels=None if stem is None else stem.shape[0],
    ).double()
    module.load_state_dict({our_name(name): weight for name, weight in weights.items()})
    return module


def weights_under(g, prefix: str):
    """Encoder weights by the original's names, and the W_k in one tensor (K, C, C)."""
    under = {key.removeprefix(prefix): g[key] for key in g if key.startswith(prefix)}
    encoder = {key: under[key] for key in under if re.match(r"(Conv1|block_\d+\.\w+)\.\w+$", key)}
    steps = [under[f"loss.W_k.{k}.weight"][..., 0, 0] for k in range(5)]
    return encoder, torch.stack(steps)


@pytest.fixture(scope="module", params=["bottleneck", "basic"])
def encoder(request, golden):
    """A fixture and what our three modules make of it, each reading the detached map below."""
    g = golden(f"vision_encoder_{request.param}")
    below, runs = patches(g["image"]), []
    for number in range(3):
        weights, projections = weights_under(g, f"m{number}/")
        module = module_of(weights, stride=1 if number == 0 else 2)
        objective = vision_objective(projections, gap=1, num_negatives=4)
        features = module(below)
        codes = module.pool(features)
        result = objective(codes, codes, vision_draws(g, f"m{number}/neg_idx_k", gap=1))
        result.loss.backward()
        runs.append((f"m{number}/", module, objective, features.detach(), codes.detach(), result))
        below = features.detach()
    return g, runs


def test_golden_patches(golden):
    g = golden("vision_encoder_bottleneck")
    found = patches(g["image"]).flatten(0, 2)
    assert_close(found[:8], g["patches_first8"], rtol=0, atol=0)
    assert_close(found.sum((1, 2, 3)), g["patches_sum_per_patch"], **F64)


def test_golden_encoder_features(encoder):
    g, runs = encoder
    for prefix, _, _, features, _, _ in runs:
        flat = features.flatten(0, 2)
        some = flat[[0, 8, 48, 49, 97]]
        # The fixture keeps these maps in float32.
        assert_close(some, g[f"{prefix}out_map_patches_0_8_48_49_97"], rtol=1e-6, atol=1e-6)
        assert_close(flat.sum((1, 2, 3)), g[f"{prefix}out_map_sum_per_patch"], **F64)


def test_golden_encoder_codes(encoder):
    g, runs = encoder
    for prefix, _, _, _, codes, _ in runs:
        assert_close(codes.permute(0, 3, 1, 2), g[f"{prefix}pooled"], rtol=1e-6, atol=1e-6)


def test_golden_encoder_losses(encoder):
    g, runs = encoder
    for prefix, _, _, _, _, result in runs:
        assert_close(result.loss, g[f"{prefix}loss"], **F64)
        assert_close(result.loss_per_step, g[f"{prefix}loss_per_k"], **F64)


def test_golden_encoder_gradient_norms(encoder):
    g, runs = encoder
    for prefix, module, objective, _, _, _ in runs:
        ours = {name: weight.grad.norm() for name, weight in module.named_parameters()}
        for k, gradient in enumerate(objective.projections.grad):
            ours[f"loss.W_k.{k}.weight"] = gradient.norm()
        start = f"{prefix}gradnorm/"
        theirs = {our_name(key.removeprefix(start)): g[key] for key in g if key.startswith(start)}
        assert_close(ours, theirs, **F64)


def test_golden_encoder_first_gradient(encoder):
    g, runs = encoder
    for prefix, module, _, _, _, _ in runs:
        first = (module.blocks[0].conv1 if module.stem is None else module.stem).weight
        assert_gradient(first.grad, g[f"{prefix}grad_first_param"])


def test_golden_three_adam_steps(golden):
    g = golden("vision_stage0_adam3")
    weights, projections = weights_under(g, "init/")
    module, objective = module_of(weights, stride=1), vision_objective(projections, 1, 4)
    learned = [*module.parameters(), *objective.parameters()]
    adam = torch.optim.Adam(learned, lr=g["lr"].item())
    for step in range(3):
        codes = module.pool(module(patches(g[f"image_step{step}"])))
        result = objective(codes, codes, vision_draws(g, f"neg_idx_step{step}_k", gap=1))
        assert_close(result.loss, g["losses"][step], **F64)
        adam.zero_grad()
        result.loss.backward()
        adam.step()
    final, final_projections = weights_under(g, "final/")
    expected = {our_name(name): weight for name, weight in final.items()}
    assert_close(dict(module.state_dict()), expected, **F64)
    assert_close(objective.projections.data, final_projections, **F64)
