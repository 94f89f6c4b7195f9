"""Commands of gimstage as children of a process that has imported it, and run nothing.

Importing takes seconds, a fork milliseconds. A child is as good as a new process as long as its
parent has one thread and has not yet computed anything; `warm_up` sees to that. A child's exit
skips the interpreter's own end, of which no command makes use.
"""

import os
import resource
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

# What any command imports, however late.
ROOMS = (
    "gimstage.cli",
    "gimstage.session.session",
    "gimstage.work.campaign",
    "gimstage.data.check_speech",
    "gimstage.data.demo_speech",
    "gimstage.data.download",
    "gimstage.inspection",
    "gimstage.report",
    "matplotlib.pyplot",
    "matplotlib.backends.backend_agg",
    "sklearn.linear_model",
    "soundfile",
    "torch._dynamo",
    "torch.utils.flop_counter",
    "torchaudio.functional",
    "zarr.codecs",
)
MOST_BYTES = 1 << 30  # that a command may take, with what it imports
_LOOK_EVERY_S = 0.002


@dataclass(frozen=True)
class Patience:
    """How long a child may take before that is a finding; infinite where nothing is timed.

    Args:
        wall_s: seconds by the clock, after which it hangs.
        cpu_s: seconds of computing.
    """

    wall_s: float = 120.0
    cpu_s: float = 60.0


@dataclass(frozen=True)
class Strike:
    """A signal to a child.

    Args:
        signal: its number.
        after_s: seconds from the start, or from the moment `once` is true.
        once: what is waited for first.
    """

    signal: int
    after_s: float = 0.0
    once: Callable[[], bool] = lambda: True


@dataclass(frozen=True)
class Outcome:
    """How a child ended.

    Args:
        code: what it exited with; the number of a signal, negative, that ended it.
        out: all it wrote to stdout.
        err: all it wrote to stderr.
        cpu_s: seconds it computed.
        peak_bytes: the most memory it held.
        stopped: why it was killed for taking too much, else empty.
    """

    code: int
    out: str
    err: str
    cpu_s: float
    peak_bytes: int
    stopped: str = ""

    @property
    def text(self) -> str:
        """All that it wrote."""
        return self.out + self.err


def warm_up() -> None:
    """Import everything, start nothing."""
    # SciPy looks for pandas, pandas for pyarrow, and pyarrow starts a thread when it is imported.
    sys.modules["pyarrow"] = None  # type: ignore[assignment]
    for room in ROOMS:
        import_module(room)
    del sys.modules["pyarrow"]
    assert len(os.listdir("/proc/self/task")) == 1, "a thread runs; a fork would lose it"


def command(*arguments: object, **settings: object) -> Outcome:
    """A command of gimstage in a child; settings as of `call`."""
    return call(partial(main, [str(argument) for argument in arguments]), **settings)


def main(arguments: Sequence[str]) -> None:
    """The command line, in this process."""
    from gimstage import cli

    cli.main(arguments, prog_name="gimstage")


def call(
    function: Callable[[], object],
    *,
    folder: Path,
    strikes: Sequence[Strike] = (),
    patience: Patience | None = None,
    before: Callable[[], None] = lambda: None,
) -> Outcome:
    """What becomes of a function in a child.

    Args:
        function: to call there.
        folder: where the child stands.
        strikes: signals it is sent, in this order.
        patience: how long it may take; for ever where there is none.
        before: called in the child first.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        pid = os.fork()
        if pid == 0:
            _live(function, folder, (out.fileno(), err.fileno()), before)
        status, usage, stopped = _watched(pid, list(strikes), patience)
        texts = [_text(file.fileno()) for file in (out, err)]
    return Outcome(
        os.waitstatus_to_exitcode(status),
        *texts,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_bytes=usage.ru_maxrss * 1024,
        stopped=stopped,
    )


def _live(
    function: Callable[[], object],
    folder: Path,
    streams: tuple[int, int],
    before: Callable[[], None],
) -> None:
    """Be the child, to the end."""
    code = 70
    try:
        os.setsid()  # so that those it starts can be ended with it
        for number, stream in enumerate((os.open(os.devnull, os.O_RDONLY), *streams)):
            os.dup2(stream, number)
        os.chdir(folder)
        before()
        code = _exit_code(function)
        threading._shutdown()  # waits for its threads, as the interpreter does
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def _exit_code(function: Callable[[], object]) -> int:
    try:
        function()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _watched(
    pid: int, strikes: list[Strike], patience: Patience | None
) -> tuple[int, resource.struct_rusage, str]:
    """Wait for a child: its status, what it used, and why it was killed, if it was."""
    began, struck, stopped = time.monotonic(), time.monotonic(), ""
    seen = False
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            _end_group(pid)
            return status, usage, stopped
        now = time.monotonic()
        if strikes and (seen or strikes[0].once()):
            struck, seen = (struck, True) if seen else (now, True)
            if now - struck >= strikes[0].after_s:
                os.kill(pid, strikes.pop(0).signal)
                seen = False
        if patience and not stopped:
            stopped = _too_much(pid, patience, now - began)
            if stopped:
                os.kill(pid, signal.SIGKILL)
        time.sleep(_LOOK_EVERY_S)


def _too_much(pid: int, patience: Patience, wall_s: float) -> str:
    """Why a child must be killed now; empty where it need not."""
    if resident_bytes(pid) > MOST_BYTES:
        return f"took more than {MOST_BYTES >> 20} MB"
    if wall_s > patience.wall_s:
        return f"did not end in {patience.wall_s:.0f} s"
    return ""


def _end_group(pid: int) -> None:
    """End what a child has started and left."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def resident_bytes(pid: int) -> int:
    """Memory that a process holds now; 0 where it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * resource.getpagesize()


def _text(descriptor: int) -> str:
    os.lseek(descriptor, 0, os.SEEK_SET)
    with open(descriptor, "rb", closefd=False) as file:
        return file.read().decode("utf-8", "replace")
