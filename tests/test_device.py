"""The device to compute on, the layout that suits it, and where its memory ends."""

import pytest
import torch
from torch import nn

from gimstage.device import (
    device_name,
    find_device,
    module_to_device,
    naming_out_of_memory,
    to_fastest_layout,
)
from gimstage.errors import BudgetError, GimstageError

KNOWN = "expected auto, cpu, cuda, cuda:N or mps"
FULL = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0"


@pytest.mark.parametrize("name", ["", "CPU", "cuda:", "cuda:x", "cpu:0", "meta", "cuda:0 "])
def test_a_name_of_no_device_is_refused(name: str) -> None:
    with pytest.raises(GimstageError) as caught:
        find_device(name)
    assert str(caught.value) == f"--device {name}: no such kind of device; {KNOWN}"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
@pytest.mark.parametrize("name", ["cuda", "cuda:3"])
def test_a_device_that_is_not_there_is_refused_with_torchs_reason(name: str) -> None:
    with pytest.raises(GimstageError) as caught:
        find_device(name)
    message = str(caught.value)
    assert message.startswith(f"--device {name}: not usable: ")
    assert message.endswith(f"; {KNOWN}")
    assert "\n" not in message


@pytest.mark.skipif(
    torch.cuda.is_available() or torch.backends.mps.is_available(), reason="there is a GPU here"
)
def test_without_a_gpu_auto_is_the_cpu() -> None:
    assert find_device("auto") == torch.device("cpu")


def test_the_record_names_the_cpus_threads() -> None:
    assert device_name(torch.device("cpu")) == f"cpu, {torch.get_num_threads()} threads"


@pytest.mark.parametrize("shape", [(2, 3, 3, 4, 6, 5), (7, 4, 6, 5), (2, 30, 4), (2, 1, 4)])
def test_another_layout_has_the_same_values_in_the_same_places(shape: tuple[int, ...]) -> None:
    batch = torch.rand(shape).transpose(0, 1)
    assert torch.equal(to_fastest_layout(batch), batch)


def test_on_a_cpu_the_channels_of_a_pixel_lie_side_by_side() -> None:
    patches = to_fastest_layout(torch.rand(2, 3, 3, 4, 6, 5))
    assert patches.stride()[-3:] == (1, 5 * 4, 4)


def test_rows_of_a_sequence_lie_one_after_another() -> None:
    rows = to_fastest_layout(torch.rand(2, 4, 30).transpose(1, 2))
    assert rows.is_contiguous()


def test_a_module_is_laid_out_as_its_input_is() -> None:
    conv = module_to_device(nn.Conv2d(4, 8, 3), torch.device("cpu"))
    assert conv.weight.is_contiguous(memory_format=torch.channels_last)


def test_running_out_of_memory_becomes_a_message() -> None:
    with pytest.raises(BudgetError) as caught, naming_out_of_memory("probe tiny/class"):
        raise torch.OutOfMemoryError(FULL)
    assert str(caught.value) == (
        "probe tiny/class: out of GPU memory: CUDA out of memory; expected what is free, or "
        "allowed, to be enough; what is written is kept: allow more, or free the GPU, and run the "
        "same command again"
    )


def test_running_out_of_the_systems_memory_becomes_a_message_too() -> None:
    with pytest.raises(BudgetError) as caught, naming_out_of_memory("stage x/1"):
        torch.empty(2**46)
    assert str(caught.value) == (
        "stage x/1: out of memory: 281,474,976,710,656 bytes more were asked for; expected what is "
        "free, or allowed, to be enough; what is written is kept: allow more, or free the GPU, and "
        "run the same command again"
    )


def test_who_knows_better_says_what_would_fit_and_what_to_do() -> None:
    naming = naming_out_of_memory("m", expected="less", cure="take less")
    with pytest.raises(BudgetError) as caught, naming:
        raise torch.OutOfMemoryError(FULL)
    assert str(caught.value) == (
        "m: out of GPU memory: CUDA out of memory; expected less; take less"
    )


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="^another$"), naming_out_of_memory("m"):
        raise RuntimeError("another")
