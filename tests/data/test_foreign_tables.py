"""Parquet and arrow files with a column of files, written out byte for byte."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from helpers.commands import gimstage
from PIL import Image

from gimstage.data.foreign import open_foreign, write_foreign
from gimstage.errors import DataError
from gimstage.progress import Watch


def jpeg(level: int) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (20, 10), (level, 0, 0)).save(content, "JPEG")
    return content.getvalue()


def wav(level: int) -> bytes:
    content = io.BytesIO()
    soundfile.write(content, np.full(100, level / 100), 8000, format="WAV")
    return content.getvalue()


def table(files: list[bytes | None], kind: str, **columns: Any) -> pa.Table:
    """A table as the library writes it: files and their features in the metadata."""
    held = [None if f is None else {"bytes": f, "path": f"a/{n}.x"} for n, f in enumerate(files)]
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = {
        "it": {"_type": kind},
        "label": {"_type": "ClassLabel", "names": ["cat", "dog, big"]},
    }
    made = pa.table({"it": pa.array(held, struct), **columns})
    said = json.dumps({"info": {"features": features}})
    return made.replace_schema_metadata({"huggingface": said})


def lines(folder: Path) -> list[str]:
    return (folder / "labels.csv").read_text().splitlines()


def test_shards_of_a_repository_come_out_by_split_with_names_for_classes(tmp_path: Path) -> None:
    (tmp_path / "hub/data").mkdir(parents=True)
    images = [jpeg(level) for level in range(5)]
    for name, own, labels in (
        ("train-00000-of-00002", images[:2], [1, 0]),
        ("train-00001-of-00002", images[2:3], [-1]),
        ("validation-00000-of-00001", images[3:], [0, 1]),
    ):
        made = table(own, "Image", label=labels, boxes=[[1.0]] * len(own))
        pq.write_table(made, tmp_path / f"hub/data/{name}.parquet")
    written = write_foreign(open_foreign(tmp_path / "hub"), tmp_path / "out", Watch())
    assert str(written) == (
        f"hub of Hugging Face is in {tmp_path}/out: train 3, val 2; labels: label\n"
        "left in the table: 1 column boxes, no word or number a row"
    )
    assert lines(tmp_path / "out") == [
        "path,split,label",
        'train/00000000-0.jpg,train,"dog, big"',
        "train/00000001-1.jpg,train,cat",
        "train/00000002-0.jpg,train,",
        "val/00000003-0.jpg,val,cat",
        'val/00000004-1.jpg,val,"dog, big"',
    ]
    paths = [line.split(",")[0] for line in lines(tmp_path / "out")[1:]]
    assert [(tmp_path / "out" / path).read_bytes() for path in paths] == images


@pytest.mark.parametrize("form", ["stream", "file"])
def test_sound_of_arrow_files_is_read_in_both_of_their_forms(tmp_path: Path, form: str) -> None:
    sounds = [wav(1), None, wav(2)]
    made = table(sounds, "Audio", speaker=["ann", "bob", "bob"], split=["x", "y", "z"])
    (tmp_path / "saved/test").mkdir(parents=True)
    new = pa.ipc.new_stream if form == "stream" else pa.ipc.new_file
    with new(str(tmp_path / "saved/test/data-00000-of-00001.arrow"), made.schema) as writer:
        writer.write_table(made)
    result = gimstage("data", "import", tmp_path / "saved", tmp_path / "out")
    assert result.stdout == (
        f"saved of Hugging Face is in {tmp_path}/out: test 2; labels: speaker, split_\n"
        "left in test: 1 rows without the bytes of a file\n"
        f"`gimstage init NAME --data {tmp_path}/out` writes a recipe for it\n"
    )
    assert lines(tmp_path / "out")[2] == "test/00000001-2.wav,test,bob,z"
    assert (tmp_path / "out/test/00000001-2.wav").read_bytes() == wav(2)


def test_bytes_that_nobody_describes_are_known_by_their_beginning(tmp_path: Path) -> None:
    made = pa.table({"photo": [jpeg(1), b"no image", b""], "age": [1, 2, 3]})
    pq.write_table(made, tmp_path / "all.parquet")
    written = write_foreign(open_foreign(tmp_path / "all.parquet"), tmp_path / "out", Watch())
    assert str(written) == (
        f"all.parquet of Hugging Face is in {tmp_path}/out: samples 1; labels: age\n"
        "left in .: 1 samples that are empty; 1 samples that are neither an image nor sound"
    )
    assert lines(tmp_path / "out") == ["path,age", "00000000.jpg,1"]


def test_of_two_columns_of_files_one_has_to_be_named(tmp_path: Path) -> None:
    made = pa.table({"left": [jpeg(1)], "right": [jpeg(2)]})
    pq.write_table(made, tmp_path / "all.parquet")
    with pytest.raises(DataError) as caught:
        open_foreign(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/all.parquet: files in the columns left, right; expected one column of images "
        "or of sound; name one: --column left"
    )
    foreign = open_foreign(tmp_path, column="right")
    assert [sample.content for sample in foreign.samples()] == [jpeg(2)]


def test_a_parquet_file_that_was_cut_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"photo": [jpeg(1)]}), tmp_path / "all.parquet")
    content = (tmp_path / "all.parquet").read_bytes()
    (tmp_path / "all.parquet").write_bytes(content[:-20])
    with pytest.raises(DataError) as caught:
        open_foreign(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/all.parquet: it cannot be read (")
    assert str(caught.value).endswith("; fetch the file again")


def test_tables_of_other_columns_are_not_thrown_together(tmp_path: Path) -> None:
    pq.write_table(pa.table({"photo": [jpeg(1)]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"photo": [jpeg(1)], "age": [1]}), tmp_path / "b.parquet")
    with pytest.raises(DataError) as caught:
        open_foreign(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/b.parquet: columns photo, age; expected those of a.parquet: photo; "
        "import one folder after the other, each to a place of its own"
    )


def test_nothing_is_left_where_no_row_holds_a_file(tmp_path: Path) -> None:
    pq.write_table(pa.table({"photo": [b"?"]}), tmp_path / "a.parquet")
    result = gimstage("data", "import", tmp_path / "a.parquet", tmp_path / "out")
    assert result.stderr == (
        f"error {tmp_path}/a.parquet: left in .: 1 samples that are neither an image nor sound; "
        "expected images or sound; check what it holds\n"
    )
    assert not (tmp_path / "out").exists()
