"""Data sets in others' containers, written out as plain files that the own sources read.

base         what a container gives, and its writing: files by split, and a table of labels
torchvision  the data sets that torchvision reads from disk, such as CIFAR-10 and MNIST
huggingface  parquet and arrow files with a column of images or of sound
webdataset   tar archives, a sample being the files of one name

Nothing is decoded where a container holds files: they come out as they went in.
"""

from pathlib import Path

from gimstage.data.files import reading
from gimstage.data.foreign.base import Foreign, Written, write_foreign
from gimstage.data.foreign.huggingface import HuggingFace
from gimstage.data.foreign.torchvision import Torchvision
from gimstage.data.foreign.webdataset import WebDataset
from gimstage.data.kinds import OTHER_SOUND, PICTURES, described, ending
from gimstage.errors import DataError
from gimstage.errors.commands import pasted

__all__ = ["Foreign", "Written", "open_foreign", "write_foreign"]

CONTAINERS: tuple[type[Foreign], ...] = (Torchvision, HuggingFace, WebDataset)


def open_foreign(source: Path, *, name: str | None = None, column: str | None = None) -> Foreign:
    """The data set in a place, told by the names of its files.

    Args:
        source: a folder, or one file of a container.
        name: of the class of `torchvision.datasets`, where the files do not tell.
        column: which column or ending holds the samples, where there are several.

    Raises:
        DataError: there is no such place, nothing in it is known, or it cannot be read.
    """
    with reading(source):
        source.stat()
    if name is not None:
        return Torchvision(source, name=name)
    for container in CONTAINERS:
        if container.lies_in(source):
            return container(source, column=column)
    lies_there = described(source) if source.is_dir() else f"a {source.suffix or 'nameless'} file"
    if source.is_dir() and any(ending(p.name) in PICTURES + OTHER_SOUND for p in source.rglob("*")):
        looking = pasted(["gimstage", "init", "NAME", "--data", str(source)])
        cure = f"such files need no import: {looking}"
        raise DataError(str(source), lies_there, "a data set in a container", cure)
    raise DataError(
        str(source),
        lies_there,
        "a data set of torchvision, parquet or arrow files, or tar archives",
        "name a data set of torchvision with --torchvision, such as --torchvision Food101",
    )
