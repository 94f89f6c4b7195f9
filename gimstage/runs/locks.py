"""Who works on a folder of runs, and that nobody else does: kernel locks, and leases beside them.

    runs/<recipe>/<stage>/lock    PID HOST KERNEL SPACE TOKEN SEEN while somebody writes, else empty

The kernel's lock (flock) decides among the processes of one machine, and lets go of it when one is
killed. Machines that share a folder may not hear of each other's locks, and a few file systems have
none. So a writer also signs a lease in the file, and renews it every few seconds while it lives.

A lease of another machine is watched before anything is done. If it changes, its holder is alive
and the folder is busy; if nothing changes for `SILENT_S`, the holder is dead and the lease is taken
over, which is said aloud before and after. Watching asks no clock but the watcher's own: those of
two machines may differ by hours, and a file server's times of change may be those of its clients.
It costs a wait, of a minute where the holder is dead, of seconds where it lives. Whoever was
suspended for longer finds another's lease in place of its own, stops, and commits nothing.

Where there are no kernel locks the lease stands alone, and writers do not see readers.
"""

import errno
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gimstage.errors import BusyError, CacheError
from gimstage.errors.commands import pasted, removing
from gimstage.runs.leases import SILENT_S, WAIT, Hold, Lease, opened, read_lock, renewed

LOCK = "lock"  # name of the file by which a folder is held
CLAIM = "lock.claim"  # there for the moment in which a lease that stands alone is signed

LOOKED_S = 1.0  # between two looks at another's lease
DOUBTED_S = 10.0  # without a signature, after which it is said that somebody is watched
CLAIMED_S = 5.0  # after which whoever holds the claim is taken to have been killed

HELD = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}
NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF, errno.EINVAL}
NOT_WRITABLE = {errno.EROFS, errno.EACCES, errno.EPERM}

Pause = Callable[[float], None]

_log = logging.getLogger(__name__)
_said: set[int | None] = set()  # the error numbers by which file systems refused locks


@contextmanager
def exclusive(
    folder: Path, pause: Pause = time.sleep, *, lost: Callable[[], None] = lambda: None
) -> Iterator[Hold]:
    """Hold a folder alone, which is made if need be; the kernel lets go when the process ends.

    Args:
        folder: the folder of a stage or probe.
        pause: waits some seconds; whatever it raises ends the waiting.
        lost: called in another thread when another machine has taken the folder over.

    Raises:
        BusyError: another process holds it or reads it.
        CacheError: what lies in the place of the lock file is none.
        OSError: the lock file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    with opened(path, os.O_RDWR | os.O_CREAT) as fd:
        locked = _lock(path, fd, fcntl.LOCK_EX)
        found = _settled(path, locked=locked, pause=pause)
        if locked:
            hold = Hold(path, fd, Lease.new())
        else:
            with _claimed(path.with_name(CLAIM), pause):
                if read_lock(path) != found:
                    raise _busy(path)
                hold = Hold(path, fd, Lease.new())
        try:
            with renewed(hold, lost):
                yield hold
        finally:
            hold.release()


@contextmanager
def shared(folder: Path, pause: Pause = time.sleep, *, leave: bool = True) -> Iterator[None]:
    """Hold a folder as it is, together with others that read it, and as far as that can be done.

    Where nothing may be written, and there is no lock file, nobody is kept from writing.

    Args:
        folder: the folder of a stage or probe.
        pause: waits some seconds; whatever it raises ends the waiting.
        leave: whether a lock file may be made, and left there.

    Raises:
        BusyError: another process writes to it.
        CacheError: what lies in the place of the lock file is none.
    """
    path = folder / LOCK
    if leave and not os.path.lexists(path):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with opened(path, os.O_RDWR | os.O_CREAT):
                pass
        except OSError as error:
            if error.errno not in NOT_WRITABLE:
                raise
    if not os.path.lexists(path):
        yield
        return
    with opened(path, os.O_RDONLY) as fd:
        locked = _lock(path, fd, fcntl.LOCK_SH)
        _settled(path, locked=locked, pause=pause)
        yield


def is_held(folder: Path) -> bool:
    """Whether a process writes to a folder as far as can be told at once; nothing is written."""
    path = folder / LOCK
    try:
        with opened(path, os.O_RDONLY) as fd:
            locked = _lock(path, fd, fcntl.LOCK_SH)
            lease = Lease.parse(read_lock(path))
            return lease is not None and not lease.is_dead(locked=locked)
    except BusyError:
        return True
    except (OSError, CacheError):
        return False


def _lock(path: Path, fd: int, kind: int) -> bool:
    """Take the kernel's lock; False where the file system has none.

    Raises:
        BusyError: it is held.
    """
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in HELD:
            raise _busy(path) from error
        if error.errno not in NO_LOCKS:
            raise
        _say_once(path, error)
        return False
    return True


def _settled(path: Path, *, locked: bool, pause: Pause) -> bytes:
    """What a lock file holds once nobody alive holds the folder.

    Raises:
        BusyError: somebody does.
    """
    while True:
        text = read_lock(path)
        lease = Lease.parse(text)
        if lease is None or lease.is_dead(locked=locked):
            return text
        if not lease.kernel:
            raise _busy(path, f"if it no longer runs there, run {pasted(*removing(path))}")
        if _is_silent(path, lease, pause):
            _log.warning(
                "%s: process %d on %s worked on this stage and was not heard of for %.0f s; "
                "it is taken to have ended",
                *(path.parent, lease.pid, lease.host, SILENT_S),
            )
            return text
        now = Lease.parse(read_lock(path))
        if now is not None and now.token == lease.token:
            raise _busy(path)


def _is_silent(path: Path, lease: Lease, pause: Pause) -> bool:
    """Whether a lease stays as it is for as long as no holder that lives would leave it."""
    for look in range(1, 1 + round(SILENT_S / LOOKED_S)):
        pause(LOOKED_S)
        if Lease.parse(read_lock(path)) != lease:
            return False
        if look * LOOKED_S == DOUBTED_S:
            _log.warning(
                "%s: process %d on %s works on this stage, or did; it is watched for another "
                "%.0f s, as it was not heard of for %.0f s",
                *(path.parent, lease.pid, lease.host, SILENT_S - DOUBTED_S, DOUBTED_S),
            )
    return True


@contextmanager
def _claimed(path: Path, pause: Pause) -> Iterator[None]:
    """Inside, no other process signs a lease here."""
    for _ in range(round(CLAIMED_S / LOOKED_S)):
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))
            break
        pause(LOOKED_S)
    try:  # without a claim after all that, whoever has it was killed in that very moment
        yield
    finally:
        path.unlink(missing_ok=True)


def _busy(path: Path, cure: str = WAIT) -> BusyError:
    lease = Lease.parse(read_lock(path))
    found = "another process reads this stage"
    if lease is not None and not lease.is_dead(locked=False):
        found = f"process {lease.pid} on {lease.host} works on this stage"
    return BusyError(str(path.parent), found, "one writer", cure)


def _say_once(path: Path, error: OSError) -> None:
    """Say that a file system has no locks, unless this process has said so."""
    if error.errno not in _said:
        _said.add(error.errno)
        _log.warning(
            "the file system of %s has no locks (%s): a lease in %s takes their place; do not "
            "train a stage again while another process reads it",
            *(path.parent, error.strerror, path.name),
        )
