"""Fetching STL-10: download that can be interrupted, checksum, extraction.

Address, file name and checksum are torchvision's; the reading of the files is `stl10`'s. While it
lasts the folder holds `<archive>.part`, then `<archive>`; at the end neither, only the six files.
Imports `errors` and `data.files` only of gimstage; torchvision only where it is asked.
"""

import hashlib
import http.client
import logging
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from gimstage.data.files import draft, require_room
from gimstage.errors import DataError
from gimstage.errors.failures import remedy

FILES = (
    "class_names.txt",
    "train_X.bin",
    "train_y.bin",
    "test_X.bin",
    "test_y.bin",
    "unlabeled_X.bin",
)
ALSO = "fold_indices.txt"  # ten folds of train; the archive holds it, and nothing waits for it

Progress = Callable[[int, int | None], None]

_BLOCK_BYTES = 1 << 20
_TIMEOUT_S = 60.0
# STL-10's photographs hardly compress: 2.64 GB of archive hold 3.12 GB of files.
_UNPACKED_RATIO = 1.2
_log = logging.getLogger(__name__)

_AGAIN = "run the same command again: it goes on where it stopped"


def download_stl10(
    root: Path,
    *,
    url: str | None = None,
    md5: str | None = None,
    progress: Progress | None = None,
) -> None:
    """Bring the files of STL-10 into the folder, unless they are there already.

    An interrupted download goes on from the byte where it stopped. The archive is removed once
    its files are in place.

    Args:
        root: the folder; made where missing.
        url: address of the archive (.tar.gz); torchvision's for STL-10 where None.
        md5: checksum of the archive in hexadecimal; that of STL-10 where there is no url either.
            What comes from a url without one is not compared; its own is logged.
        progress: called with the bytes present and the bytes in all (None where unknown).

    Raises:
        DataError: the network, the disk or the checksum failed, or the folder holds part of
            another data set.
    """
    if url is None:
        from torchvision.datasets import STL10

        url, md5 = STL10.url, md5 or STL10.tgz_md5
    archive = root / PurePosixPath(urlsplit(url).path).name
    unfinished = archive.with_name(archive.name + ".part")
    present = [name for name in FILES if (root / name).exists()]
    if len(present) == len(FILES):
        return
    if present and not archive.exists():
        found = f"it holds {', '.join(present)} of another set"
        raise DataError(str(root), found, "an empty folder", "choose another folder")
    try:
        root.mkdir(parents=True, exist_ok=True)
        if not archive.exists():
            _fetch(url, unfinished, progress)
            _verify(unfinished, md5)
            unfinished.rename(archive)
        _extract(archive, root)
        archive.unlink()
    except OSError as error:
        found = f"it cannot be written ({error.strerror})"
        raise DataError(str(root), found, cure=remedy(error, root)) from error


def _fetch(url: str, unfinished: Path, progress: Progress | None) -> None:
    """Complete the partial file, or start it."""
    present = unfinished.stat().st_size if unfinished.exists() else 0
    response = _open(url, present)
    if response is None:
        return
    with response:
        if response.status != http.client.PARTIAL_CONTENT:
            present = 0  # this server sends everything, whatever is asked
        total = None if response.length is None else present + response.length
        _refuse_full_disk(unfinished.parent, present, total)
        with unfinished.open("ab" if present else "wb") as file:
            for block in _blocks(response, url):
                file.write(block)
                present += len(block)
                if progress:
                    progress(present, total)
    if total is not None and present < total:
        found = f"the connection ended after {present:,} of {total:,} bytes"
        raise DataError(url, found, cure=_AGAIN)


def _open(url: str, start: int) -> http.client.HTTPResponse | None:
    """The server's answer from byte `start` on; None where it has nothing beyond."""
    headers = {"Range": f"bytes={start}-"} if start else {}
    try:
        request = urllib.request.Request(url, headers=headers)
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
        return response
    except urllib.error.HTTPError as error:
        with error:  # it holds the connection
            if start and error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                return None  # whether what is here is right, the checksum says
            found = f"the server answered {error.code} {error.reason}"
        raise DataError(url, found, cure="check the address, or try again later") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        found = f"it cannot be reached ({error})"
        raise DataError(url, found, cure=f"check the network; {_AGAIN}") from error


def _blocks(response: http.client.HTTPResponse, url: str) -> Iterator[bytes]:
    try:
        while block := response.read(_BLOCK_BYTES):
            yield block
    except http.client.IncompleteRead:
        return  # newer Pythons say so, older ones just end; the caller counts the bytes
    except (OSError, http.client.HTTPException) as error:
        raise DataError(url, f"the connection failed ({error})", cure=_AGAIN) from error


def _refuse_full_disk(folder: Path, present: int, total: int | None) -> None:
    if total is None:
        return
    needed = total - present + int(_UNPACKED_RATIO * total)
    require_room(folder, needed, "the archive and its files")


def _verify(unfinished: Path, md5: str | None) -> None:
    with unfinished.open("rb") as file:
        digest = hashlib.file_digest(file, "md5").hexdigest()
    if md5 is None:
        what = "%s has the MD5 checksum %s, which was compared with nothing: there was no --md5"
        _log.warning(what, unfinished.name.removesuffix(".part"), digest)
    elif digest != md5:
        unfinished.unlink()
        cure = "the file was removed; run the same command again to fetch it anew"
        raise DataError(str(unfinished), f"its MD5 checksum is {digest}", md5, cure)


def _extract(archive: Path, root: Path) -> None:
    """Unpack the files beside the archive, then move each into place."""
    with draft(root / "unpacking") as temporary:
        try:
            with tarfile.open(archive) as tar:
                for member in tar:
                    name = PurePosixPath(member.name).name
                    if name in (*FILES, ALSO) and member.isfile():
                        tar.extract(member.replace(name=name), temporary, filter="data")
        except (tarfile.TarError, EOFError, zlib.error) as error:
            found = f"it cannot be unpacked ({error})"
            raise DataError(str(archive), found, cure="check the address, and remove it") from error
        missing = [name for name in FILES if not (temporary / name).exists()]
        if missing:
            found = f"it lacks {', '.join(missing)}"
            raise DataError(str(archive), found, cure="check the address, and remove it")
        for name in [*FILES, *([ALSO] if (temporary / ALSO).exists() else [])]:
            (temporary / name).replace(root / name)
