"""Fetching the archive from a server on this machine: resuming, checksums, refusals."""

import errno
import hashlib
import io
import shutil
import tarfile
import threading
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gimstage.data.download import ALSO, FILES, download_stl10
from gimstage.errors import DataError

AGAIN = "run the same command again: it goes on where it stopped"


def archive(names=FILES):
    """An archive like STL-10's: the files inside one folder, beside others."""
    stored = io.BytesIO()
    with tarfile.open(fileobj=stored, mode="w:gz") as tar:
        for name in [*names, ALSO, "README"]:
            member = tarfile.TarInfo(f"stl10_binary/{name}")
            member.size = 1000
            tar.addfile(member, io.BytesIO(hashlib.shake_128(name.encode()).digest(1000)))
    return stored.getvalue()


class Server(ThreadingHTTPServer):
    """Serves `content`; counts what was asked; can ignore Range, break off, or answer `code`."""

    content, ranges, break_after, code = archive(), True, None, 200

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []
        self.url = f"http://127.0.0.1:{self.server_port}/path/set.tar.gz"

    @property
    def md5(self):
        return hashlib.md5(self.content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        asked = self.headers["Range"]
        self.server.asked.append(asked)
        start = int(asked[6:-1]) if asked and self.server.ranges else 0
        body = self.server.content[start:]
        code = self.server.code if body else 416
        self.send_response(206 if start and body else code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.break_after])

    def log_message(self, *_args):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fetch(server, root, md5=None, progress=None):
    download_stl10(root, url=server.url, md5=md5 or server.md5, progress=progress)


def refusal(*args, **kwargs):
    with pytest.raises(DataError) as info:
        fetch(*args, **kwargs)
    return str(info.value)


def break_off(server, root, after):
    """Fetch the first `after` bytes; the server works again afterwards."""
    server.break_after = after
    message = refusal(server, root)
    server.break_after = None
    return message


def contents(root):
    return {path.name: path.read_bytes() for path in root.iterdir()}


WHOLE = {name: hashlib.shake_128(name.encode()).digest(1000) for name in (*FILES, ALSO)}


def test_a_download_leaves_the_files_of_the_set_and_nothing_else(server, tmp_path):
    fetch(server, tmp_path / "new" / "set")
    assert contents(tmp_path / "new" / "set") == WHOLE


def test_progress_ends_at_the_size_of_the_archive(server, tmp_path):
    seen = []
    fetch(server, tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(server.content), len(server.content))


def test_a_complete_folder_is_not_fetched_again(server, tmp_path):
    fetch(server, tmp_path)
    fetch(server, tmp_path)
    assert server.asked == [None]


def test_a_broken_connection_says_how_far_it_came(server, tmp_path):
    size = f"{len(server.content):,}"
    message = f"{server.url}: the connection ended after 2,500 of {size} bytes; {AGAIN}"
    assert break_off(server, tmp_path, 2500) == message


def test_a_broken_download_goes_on_where_it_stopped(server, tmp_path):
    break_off(server, tmp_path, 2500)
    fetch(server, tmp_path)
    assert server.asked == [None, "bytes=2500-"]
    assert contents(tmp_path) == WHOLE


def test_a_server_that_cannot_resume_sends_everything_anew(server, tmp_path):
    break_off(server, tmp_path, 2500)
    server.ranges = False
    fetch(server, tmp_path)
    assert contents(tmp_path) == WHOLE


def test_a_download_killed_before_its_check_is_checked_not_fetched(server, tmp_path):
    (tmp_path / "set.tar.gz.part").write_bytes(server.content)
    fetch(server, tmp_path)
    assert contents(tmp_path) == WHOLE


def test_an_extraction_killed_half_way_is_done_again_without_the_network(server, tmp_path):
    (tmp_path / "set.tar.gz").write_bytes(server.content)
    (tmp_path / "train_X.bin").write_bytes(b"half")
    fetch(server, tmp_path)
    assert (contents(tmp_path), server.asked) == (WHOLE, [])


def test_without_a_checksum_what_was_fetched_is_kept_and_its_own_is_said(server, tmp_path, caplog):
    download_stl10(tmp_path, url=server.url)
    assert contents(tmp_path) == WHOLE
    assert caplog.messages == [
        f"set.tar.gz has the MD5 checksum {server.md5}, which was compared with nothing: "
        "there was no --md5"
    ]


def test_without_a_checksum_what_is_no_archive_is_not_fetched_again(server, tmp_path):
    server.content = b"<html>"
    for _ in range(2):
        with pytest.raises(DataError, match="it cannot be unpacked"):
            download_stl10(tmp_path, url=server.url)
    assert (tmp_path / "set.tar.gz").read_bytes() == b"<html>"
    assert server.asked == [None]


def test_a_wrong_checksum_is_refused_and_the_file_removed(server, tmp_path):
    assert refusal(server, tmp_path, md5="0" * 32) == (
        f"{tmp_path / 'set.tar.gz.part'}: its MD5 checksum is {server.md5}; "
        f"expected {'0' * 32}; the file was removed; run the same command again to fetch it anew"
    )
    assert contents(tmp_path) == {}


def test_a_damaged_partial_file_is_found_out_then_fetched_anew(server, tmp_path):
    (tmp_path / "set.tar.gz.part").write_bytes(b"x" * 100)
    refusal(server, tmp_path)
    fetch(server, tmp_path)
    assert contents(tmp_path) == WHOLE


def test_a_full_disk_is_refused_before_the_first_byte(server, tmp_path, monkeypatch):
    usage = namedtuple("usage", "free")(1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    needed = len(server.content) + int(1.2 * len(server.content))
    assert refusal(server, tmp_path) == (
        f"{tmp_path}: 1,000 bytes are free on this disk; expected {needed:,} for the archive and "
        "its files; make room, or choose another folder"
    )
    assert contents(tmp_path) == {}


def test_a_disk_that_fills_up_is_a_refusal(server, tmp_path, monkeypatch):
    def full(*_args):
        raise OSError(28, "No space left on device")

    usage = namedtuple("usage", "free")(10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    monkeypatch.setattr("gimstage.data.download._extract", full)
    assert refusal(server, tmp_path) == (
        f"{tmp_path}: it cannot be written (No space left on device); "
        "nothing written is lost: make room (1,000,000,000 bytes are free), "
        "then run the same command again"
    )


def test_an_address_the_server_does_not_know_is_refused(server, tmp_path):
    server.code = 404
    assert refusal(server, tmp_path) == (
        f"{server.url}: the server answered 404 Not Found; check the address, or try again later"
    )


def test_a_server_that_cannot_be_reached_is_refused(server, tmp_path):
    server.shutdown()
    server.server_close()
    reason = f"<urlopen error [Errno {errno.ECONNREFUSED}] Connection refused>"
    assert refusal(server, tmp_path) == (
        f"{server.url}: it cannot be reached ({reason}); check the network; {AGAIN}"
    )


def test_an_archive_without_all_files_is_refused(server, tmp_path):
    server.content = archive(FILES[:-2])
    assert refusal(server, tmp_path) == (
        f"{tmp_path / 'set.tar.gz'}: it lacks test_y.bin, unlabeled_X.bin; "
        "check the address, and remove it"
    )


def test_what_is_no_archive_is_refused(server, tmp_path):
    server.content = b"<html>moved</html>"
    assert refusal(server, tmp_path).startswith(
        f"{tmp_path / 'set.tar.gz'}: it cannot be unpacked (file could not be opened"
    )


def test_a_folder_with_part_of_another_set_is_left_alone(server, tmp_path):
    (tmp_path / "train_X.bin").write_bytes(b"mine")
    assert refusal(server, tmp_path) == (
        f"{tmp_path}: it holds train_X.bin of another set; expected an empty folder; "
        "choose another folder"
    )
    assert contents(tmp_path) == {"train_X.bin": b"mine"}


def test_address_and_checksum_are_torchvisions_unless_given(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("gimstage.data.download._fetch", lambda *args: asked.append(args))
    monkeypatch.setattr("gimstage.data.download._verify", lambda *args: asked.append(args))
    with pytest.raises(DataError):
        download_stl10(tmp_path)
    part = tmp_path / "stl10_binary.tar.gz.part"
    url = "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz"
    assert asked == [(url, part, None), (part, "91f7769df0f17e558f3565bffb0c7dfb")]
