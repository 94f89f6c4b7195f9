"""Tar archives of WebDataset, written out byte for byte, and safely."""

import io
import tarfile
from pathlib import Path

import pytest
from helpers.commands import gimstage
from PIL import Image

from gimstage.data.foreign import open_foreign, write_foreign
from gimstage.errors import DataError
from gimstage.progress import Watch


def png(level: int) -> bytes:
    content = io.BytesIO()
    Image.new("L", (8, 8), level).save(content, "PNG")
    return content.getvalue()


def archive(path: Path, members: dict[str, bytes]) -> None:
    """A tar archive, compressed where its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def test_the_files_of_one_name_are_a_sample_and_its_labels(tmp_path: Path) -> None:
    first = {"000.png": png(0), "000.cls": b"3\n", "000.json": b'{"who": "ann", "at": [1]}'}
    archive(tmp_path / "tars/set-train-000.tar", first)
    archive(tmp_path / "tars/set-train-001.tar.gz", {"000.cls": b"4", "000.PNG": png(1)})
    archive(tmp_path / "tars/set-test-000.tar", {"a/000.png": png(2), "a/000.pth": b""})
    result = gimstage("data", "import", tmp_path / "tars", tmp_path / "out")
    assert result.stdout == (
        f"tars, tar archives is in {tmp_path}/out: test 1, train 2; labels: class, who\n"
        "left in the archives: 1 .pth files, no labels\n"
        f"`gimstage init NAME --data {tmp_path}/out` writes a recipe for it\n"
    )
    assert (tmp_path / "out/labels.csv").read_text() == (
        "path,split,class,who\n"
        "test/00000000-000.png,test,,\n"
        "train/00000001-000.png,train,3,ann\n"
        "train/00000002-000.png,train,4,\n"
    )
    assert (tmp_path / "out/train/00000002-000.png").read_bytes() == png(1)


def test_no_name_in_an_archive_leads_out_of_the_folder(tmp_path: Path) -> None:
    names = ["../../escaped.png", "/escaped.png", "..%2fescaped.png", "a b\n\\c.png"]
    archive(tmp_path / "x.tar", {name: png(n) for n, name in enumerate(names)})
    write_foreign(open_foreign(tmp_path / "x.tar"), tmp_path / "in/out", Watch())
    assert sorted(path.name for path in (tmp_path / "in/out").iterdir()) == [
        "00000000-escaped.png",
        "00000001-escaped.png",
        "00000002-a_b_c.png",
        "labels.csv",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "x.tar"]


def test_an_archive_that_was_cut_is_named_and_nothing_stays(tmp_path: Path) -> None:
    archive(tmp_path / "x.tar", {f"{n}.png": png(n) for n in range(4)})
    (tmp_path / "x.tar").write_bytes((tmp_path / "x.tar").read_bytes()[:2100])
    result = gimstage("data", "import", tmp_path / "x.tar", tmp_path / "out")
    assert result.stderr == (
        f"error {tmp_path}/x.tar: it is no whole tar archive (unexpected end of data); "
        "fetch the archive again\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar"]


def test_of_two_files_a_sample_one_has_to_be_named(tmp_path: Path) -> None:
    archive(tmp_path / "x.tar", {"0.left.png": png(1), "0.right.png": png(2)})
    with pytest.raises(DataError) as caught:
        list(open_foreign(tmp_path / "x.tar").samples())
    assert str(caught.value) == (
        f"{tmp_path}/x.tar: files left.png, right.png of 0; expected one a sample; "
        "name one: --column left.png"
    )
    foreign = open_foreign(tmp_path / "x.tar", column="right.png")
    assert [sample.content for sample in foreign.samples()] == [png(2)]


def test_plain_files_are_said_to_need_no_import(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/1.png").write_bytes(png(1))
    with pytest.raises(DataError) as caught:
        open_foreign(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: 1 .png file; expected a data set in a container; "
        f"such files need no import: `gimstage init NAME --data {tmp_path}`"
    )
