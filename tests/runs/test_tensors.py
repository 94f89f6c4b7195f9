"""Tensors with a header in one file, written whole or not at all."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gimstage.errors import CheckpointError, DamagedCacheError
from gimstage.runs.tensors import read_header, read_tensors, save_tensors

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.bool]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_bit_comes_back_in_its_dtype_and_shape(tmp_path: Path, dtype: torch.dtype) -> None:
    values = {"a": torch.randn(3, 4, 5).mul(3).to(dtype), "b.c": torch.ones((), dtype=dtype)}
    save_tensors(tmp_path / "x", values, {"step": 7})
    found = read_tensors(tmp_path / "x")
    assert found.keys() == values.keys()
    for name, tensor in values.items():
        assert found[name].dtype == dtype
        assert torch.equal(found[name], tensor)


def test_views_and_parameters_are_written_as_what_they_show(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    weights = {"turned": base.t(), "row": base[1], "weight": torch.nn.Parameter(base)}
    save_tensors(tmp_path / "x", weights, {})
    for name, tensor in read_tensors(tmp_path / "x").items():
        assert torch.equal(tensor, weights[name])
        assert not tensor.requires_grad


def test_the_header_is_read_without_the_tensors(tmp_path: Path) -> None:
    header = {"step": 7, "stage": "größe/1", "sums": [0.1, 2.5], "none": None}
    save_tensors(tmp_path / "x", {"a": torch.ones(2)}, header)
    assert read_header(tmp_path / "x") == header


def test_the_same_tensors_make_the_same_bytes(tmp_path: Path) -> None:
    weights = {name: torch.arange(4.0) for name in "cab"}
    save_tensors(tmp_path / "x", weights, {"step": 1})
    save_tensors(tmp_path / "y", dict(sorted(weights.items())), {"step": 1})
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


def test_a_missing_file_has_no_header_and_its_tensors_are_refused(tmp_path: Path) -> None:
    assert read_header(tmp_path / "x") is None
    with pytest.raises(DamagedCacheError) as caught:
        read_tensors(tmp_path / "x")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'x'}: not readable: ")
    assert message.endswith("; delete it; the stage is then trained again")


@pytest.mark.parametrize("content", [b"", b"\x00" * 7, b"not safetensors at all"])
def test_other_bytes_are_damage(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    for read in (read_header, read_tensors):
        with pytest.raises(DamagedCacheError, match="not readable: "):
            read(tmp_path / "x")


def test_a_truncated_file_is_damage(tmp_path: Path) -> None:
    save_tensors(tmp_path / "x", {"a": torch.ones(64)}, {})
    os.truncate(tmp_path / "x", (tmp_path / "x").stat().st_size - 1)
    with pytest.raises(DamagedCacheError, match="not readable: "):
        read_tensors(tmp_path / "x")


def test_a_file_of_another_program_has_no_header_of_ours(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "x")
    with pytest.raises(DamagedCacheError) as caught:
        read_header(tmp_path / "x")
    assert str(caught.value) == (
        f"{tmp_path / 'x'}: not readable: 'gimstage'; delete it; the stage is then trained again"
    )


def test_where_it_cannot_be_written_the_old_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors import SafetensorError

    from gimstage.runs import tensors

    def full(*args: object, **kwargs: object) -> None:
        raise SafetensorError("No space left on device")

    save_tensors(tmp_path / "x", {"a": torch.ones(2)}, {})
    monkeypatch.setattr(tensors, "save_file", full)
    with pytest.raises(CheckpointError) as caught:
        save_tensors(tmp_path / "x", {"a": torch.zeros(2)}, {})
    assert str(caught.value) == (
        f"{tmp_path / 'x'}: cannot be written: No space left on device; see that the disk is not "
        "full; what was there before is still there"
    )
    assert torch.equal(read_tensors(tmp_path / "x")["a"], torch.ones(2))
