"""How to compute, as a person says it."""

import subprocess
import sys

import pytest

from gimstage.errors import BudgetError, GimstageError
from gimstage.session.options import Options


def refusal(**options: object) -> str:
    with pytest.raises(GimstageError) as error:
        Options(**options).settings()  # type: ignore[arg-type]
    return str(error.value)


def test_without_a_word_nothing_is_limited() -> None:
    settings = Options(device="cpu").settings()
    assert (settings.max_disk, settings.budget, settings.device.type) == (None, None, "cpu")


def test_words_become_numbers() -> None:
    settings = Options(
        device="cpu", max_disk="1.5 GB", checkpoint_every=7, gpu_mem="2GB", gpu_margin=0.25
    ).settings()
    assert (settings.max_disk, settings.checkpoint_every_s) == (1_500_000_000, 7)
    assert settings.budget is not None
    assert settings.budget.for_tensors == (2_000_000_000 - 500_000_000 - 128_000_000) * 3 // 4


@pytest.mark.parametrize("nothing", ["0", " 0 "])
def test_nothing_may_be_set_aside(nothing: str) -> None:
    budget = Options(gpu_mem="1GB", gpu_context=nothing, gpu_workspace=nothing).budget()
    assert budget is not None
    assert (budget.context_bytes, budget.workspace_bytes) == (0, 0)


def test_what_is_set_aside_counts_only_within_a_limit() -> None:
    assert Options(gpu_context="nonsense").budget() is None


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("max_disk", "--max-disk"),
        ("gpu_mem", "--gpu-mem"),
        ("gpu_context", "--gpu-context"),
        ("gpu_workspace", "--gpu-workspace"),
    ],
)
@pytest.mark.parametrize("text", ["2", "0GB", "-1GB", "much", "nanGB", "1e9TB", ""])
def test_a_text_that_is_no_number_of_bytes_is_refused(option: str, name: str, text: str) -> None:
    given = {"device": "cpu", "gpu_mem": "1GB"} | {option: text}
    assert refusal(**given) == (
        f"{name}: '{text}'; expected a positive number and one of TB, GB, MB, kB, B"
    )


@pytest.mark.parametrize("workers", [0, -1, 65])
def test_a_number_of_threads_out_of_range_is_refused(workers: int) -> None:
    assert refusal(workers=workers) == (
        f"workers: {workers}; expected a number of threads from 1 to 64"
    )


@pytest.mark.parametrize("margin", [-0.1, 1.0, float("nan")])
def test_a_margin_that_leaves_nothing_or_less_is_refused(margin: float) -> None:
    assert refusal(gpu_margin=margin) == (
        f"gpu_margin: {margin}; expected a share from 0 and below 1"
    )


@pytest.mark.parametrize("seconds", [-1.0, 0, float("nan"), float("inf")])
def test_a_time_between_checkpoints_that_nobody_can_mean_is_refused(seconds: float) -> None:
    assert refusal(checkpoint_every=seconds) == (
        f"checkpoint_every: {seconds}; expected seconds from 0.001 to 2,592,000"
    )


def test_a_budget_of_which_nothing_is_left_is_refused_when_it_is_used() -> None:
    budget = Options(gpu_mem="600MB").budget()
    assert budget is not None
    with pytest.raises(BudgetError) as error:
        _ = budget.for_tensors
    assert str(error.value) == (
        "GPU memory of 600 MB: nothing left for tensors: 628 MB set aside for CUDA's context and "
        "workspaces, 10% of the rest as margin; expected more than 628 MB; "
        "allow more memory, or set less aside"
    )


def test_options_are_read_without_torch() -> None:
    code = "import sys, gimstage.session.options; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
