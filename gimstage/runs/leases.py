"""A lease in a lock file: who works on a folder, signed again and again for as long as he lives.

What signatures are for, and when a lease is taken over, is told in locks.py.
"""

import os
import secrets
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from gimstage.errors import BusyError, CacheError
from gimstage.files import naming

RENEWED_S = 5.0  # between two signatures of a holder
SILENT_S = 60.0  # without one, after which a holder is taken to be dead
WAIT = "wait for it, or stop it"
_MOST_BYTES = 4096  # of a lease, far more than any has


class Lease(NamedTuple):
    """Who holds a folder.

    Args:
        pid: the process.
        host: the name of its machine, for people.
        kernel: tells the machine, between two starts of it, from any other; empty in a lease of
            an older release, which never renews it.
        space: where on that machine `pid` is a process: containers count their own.
        token: tells this lease from any other.
        seen: when it was last renewed, ns by the holder's clock; only compared with itself.
    """

    pid: int
    host: str
    kernel: str = ""
    space: str = ""
    token: str = ""
    seen: int = 0

    @classmethod
    def new(cls) -> "Lease":
        """A lease that this process holds, from now on."""
        kernel, space = _place()
        token = secrets.token_hex(8)
        return cls(os.getpid(), socket.gethostname(), kernel, space, token, time.time_ns())

    @classmethod
    def parse(cls, text: bytes) -> "Lease | None":
        """The lease in the bytes of a lock file; None where there is none in them."""
        words = text.decode("utf-8", errors="replace").split()
        try:
            pid, host, *rest = words
            kernel, space, token, seen = rest or ["", "", "", "0"]
            return cls(int(pid), host, kernel, space, token, int(seen))
        except ValueError:
            return None

    def __bytes__(self) -> bytes:
        """The bytes that `parse` takes."""
        return (" ".join(map(str, self)) + "\n").encode()

    def is_dead(self, *, locked: bool) -> bool:
        """Whether its holder is known not to live; if not, it may do so.

        Args:
            locked: whether the kernel's lock on the file was had, which it lets go of the dead.
        """
        kernel, space = _place()
        if not self.kernel:
            return locked and self.host == socket.gethostname()
        if self.kernel != kernel:
            return False
        return locked or (self.space == space and not _is_running(self.pid))


@cache
def _place() -> tuple[str, str]:
    """This machine since it was started, and where on it processes are counted."""
    kernel = space = ""
    with suppress(OSError):
        kernel = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid")
    return kernel or socket.gethostname(), space or "-"


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # somebody else's, or no number of a process
        return True
    return True


class Hold:
    """A folder held by this process alone.

    Args:
        path: the lock file.
        fd: the file, open for writing.
        lease: what was signed.
    """

    def __init__(self, path: Path, fd: int, lease: Lease) -> None:
        self.path, self.lease, self._fd = path, lease, fd
        with naming(path):
            _overwrite(fd, bytes(lease))

    def renew(self) -> bool:
        """Sign the lease again; False, and nothing is signed, where another one stands by now.

        Raises:
            OSError: the file cannot be read or written just now.
            CacheError: something else lies in its place.
        """
        if self._taken_over() is not None:
            return False
        self.lease = self.lease._replace(seen=time.time_ns())
        _overwrite(self._fd, bytes(self.lease))
        return True

    def require(self) -> None:
        """Refuse to go on where another process has taken the folder over.

        Raises:
            BusyError: this process did not renew its lease for so long that it was taken for dead.
        """
        other = self._taken_over()
        if other is not None:
            found = f"process {other.pid} on {other.host} took this stage over, as this one was "
            found += f"not heard of for {SILENT_S:.0f} s"
            raise BusyError(str(self.path.parent), found, "one writer", WAIT)

    def release(self) -> None:
        """Leave the file empty, unless it is another's by now."""
        with suppress(OSError, CacheError):  # a lease that nobody renews ends by itself
            if self._taken_over() is None:
                _overwrite(self._fd, b"")

    def _taken_over(self) -> Lease | None:
        lease = Lease.parse(read_lock(self.path))
        return lease if lease is not None and lease.token != self.lease.token else None


@contextmanager
def renewed(hold: Hold, lost: Callable[[], None]) -> Iterator[None]:
    """Inside, a thread renews the lease, until another one stands there: `lost` is called then."""
    over = threading.Event()

    def renew() -> None:
        while not over.wait(RENEWED_S):
            with suppress(OSError, CacheError):  # a full disk, for one; it is tried again
                if not hold.renew():
                    lost()
                    return

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    """A lock file, open; no pipe is waited for and no link followed.

    Raises:
        CacheError: it is no regular file.
        OSError: it cannot be opened.
    """
    try:
        fd = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if os.path.lexists(path) and not stat.S_ISREG(os.lstat(path).st_mode):
            raise _no_lock_file(path) from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise _no_lock_file(path)
        yield fd
    finally:
        os.close(fd)


def _no_lock_file(path: Path) -> CacheError:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe"}
    kind = kinds.get(stat.S_IFMT(os.lstat(path).st_mode), "no regular file")
    return CacheError(str(path), kind, "the file that says who works here", "remove it")


def read_lock(path: Path) -> bytes:
    """What a lock file holds now, on whichever machine it was written; nothing where it is gone."""
    try:
        with opened(path, os.O_RDONLY) as fd:
            return os.pread(fd, _MOST_BYTES, 0)
    except FileNotFoundError:
        return b""


def _overwrite(fd: int, text: bytes) -> None:
    """Replace what a file holds; one that is read meanwhile is never empty."""
    os.pwrite(fd, text, 0)
    os.ftruncate(fd, len(text))
    with suppress(OSError):  # some file systems cannot; other machines then see it later
        os.fsync(fd)
