"""Tensors with a header in one file, written whole or not at all."""

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gimstage.errors import CheckpointError, DamagedCacheError
from gimstage.runs.tensors import read_header, read_tensors, save_tensors

WIDE = [torch.float64, torch.float32, torch.int64, torch.uint64, torch.complex64]
NARROW = [torch.bfloat16, torch.float16, torch.uint16, torch.bool, torch.float8_e5m2]


@pytest.mark.parametrize("dtype", WIDE + NARROW)
def test_every_bit_comes_back_in_its_dtype_and_shape(tmp_path: Path, dtype: torch.dtype) -> None:
    values = {"a": torch.randn(3, 4, 5).mul(3).to(dtype), "b.c": torch.ones((), dtype=dtype)}
    save_tensors(tmp_path / "x", values, {"step": 7})
    found = read_tensors(tmp_path / "x").tensors
    assert found.keys() == values.keys()
    for name, tensor in values.items():
        assert found[name].dtype == dtype
        assert torch.equal(found[name], tensor)


def test_views_and_parameters_are_written_as_what_they_show(tmp_path: Path) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    weights = {"turned": base.t(), "row": base[1], "weight": torch.nn.Parameter(base)}
    save_tensors(tmp_path / "x", weights, {})
    for name, tensor in read_tensors(tmp_path / "x").tensors.items():
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
    assert str(caught.value) == (
        f"{tmp_path / 'x'}: missing; expected a file of tensors; run the stage again"
    )


def framed(header: bytes, size: int | None = None) -> bytes:
    """A file that says it has a header of so many bytes, and has this one."""
    return (len(header) if size is None else size).to_bytes(8, "little") + header


def described(tensor: object, facts: str = "{}") -> bytes:
    """A file of a tensor of no bytes, described like that."""
    return framed(json.dumps({"__metadata__": {"gimstage": facts}, "a": tensor}).encode())


NOTHING = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
BROKEN = {
    "empty": b"",
    "cut before the header": b"\x00" * 7,
    "text": b"not safetensors at all",
    "header cut": described(NOTHING)[:-5],
    "header of any size": framed(b"{}", (1 << 64) - 1),
    "header of a gigabyte": framed(b"{}", 1 << 30),
    "no UTF-8": framed(b'{"__metadata__": {"gimstage": "\xff"}}'),
    "nested": framed(b'{"__metadata__": ' + b"[" * 100_000),
    "a list": framed(b"[]"),
    "no table of facts": framed(b'{"__metadata__": 7}'),
    "facts that are no text": framed(b'{"__metadata__": {"gimstage": {}}}'),
    "facts that are no JSON": described(NOTHING, "{"),
    "facts that are a list": described(NOTHING, "[]"),
    "nested facts": described(NOTHING, "[" * 100_000),
    "unknown type": described(NOTHING | {"dtype": "F33"}),
    "negative shape": described(NOTHING | {"shape": [-1]}),
    "other bytes than its shape takes": described(NOTHING | {"shape": [2]}),
    "a tensor beyond the end": described(NOTHING | {"shape": [1], "data_offsets": [0, 4]}),
    "no tensor": described(7),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=list(BROKEN))
@pytest.mark.parametrize("vouched", [False, True])
def test_what_is_no_file_of_tensors_is_damage(
    tmp_path: Path, content: bytes, vouched: bool
) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DamagedCacheError, match="not readable: ") as caught:
        read_tensors(tmp_path / "x", sha256=sha256(content) if vouched else None)
    assert "\n" not in str(caught.value)
    with suppress(DamagedCacheError):
        assert read_header(tmp_path / "x") == {}


def test_a_folder_or_a_pipe_in_its_place_is_damage(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("folder", "pipe", "link"):
        for read in (read_header, read_tensors):
            with pytest.raises(DamagedCacheError, match="not readable: "):
                read(tmp_path / name)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_every_flipped_bit_is_found_or_changes_nothing(tmp_path: Path) -> None:
    path, values = tmp_path / "x", {"a": torch.arange(5.0), "b": torch.tensor([True])}
    header = {"step": 7, "sums": [0.1], "stage": "größe/1"}
    save_tensors(path, values, header)
    content = path.read_bytes()
    for place in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        with suppress(DamagedCacheError):
            stored = read_tensors(path)
            assert stored.header == header
            assert stored.tensors.keys() == values.keys()
            assert all(torch.equal(stored.tensors[name], values[name]) for name in values)
        with pytest.raises(DamagedCacheError):
            read_tensors(path, sha256=sha256(content))


def test_other_bytes_than_were_written_are_told_from_a_file_without_checksum(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x"
    save_tensors(path, {"a": torch.ones(64)}, {})
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(DamagedCacheError) as caught:
        read_tensors(path)
    assert str(caught.value) == (f"{path}: other bytes than were written; run the stage again")
    save_file({"a": torch.ones(64)}, path, metadata={"gimstage": "{}"})
    with pytest.raises(DamagedCacheError) as caught:
        read_tensors(path)
    assert str(caught.value) == (f"{path}: no checksum inside; run the stage again")


def test_a_file_of_an_earlier_release_is_read_where_a_manifest_vouches_for_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x"
    save_file({"a": torch.ones(64)}, path, metadata={"gimstage": '{"steps": 3}'})
    stored = read_tensors(path, sha256=sha256(path.read_bytes()))
    assert torch.equal(stored.tensors["a"], torch.ones(64))
    assert stored.header == {"steps": 3}
    with pytest.raises(DamagedCacheError) as caught:
        read_tensors(path, sha256="0" * 64)
    assert str(caught.value) == (
        f"{path}: other bytes than its manifest names; run the stage again"
    )


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
        f"{tmp_path / 'x'}: not readable: no header of gimstage inside; run the stage again"
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
    assert torch.equal(read_tensors(tmp_path / "x").tensors["a"], torch.ones(2))
