"""Forked children: a parent that has torch loaded gives birth to a process that is to be harmed in milliseconds."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

PATIENCE = 120  # seconds after which a child is taken to hang


def child(work: Callable[[], str]) -> tuple[int, str]:
    """Runs `work` in a fork. Returns its exit code, and what it returned; 1 and the error where it raised."""
    ours, theirs = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    number = os.fork()
    if number == 0:
        os.close(ours)
        quiet(theirs)
        try:
            said, code = work(), 0
        except BaseException:
            said, code = traceback.format_exc(), 1
        os.write(theirs, said.encode()[-60_000:])  # within what a pipe holds
        os._exit(code)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        said = pipe.read().decode(errors="replace")
    _, status = os.waitpid(number, 0)
    return os.waitstatus_to_exitcode(status), said


def quiet(kept: int) -> None:
    """Prints to nowhere, and dies where it hangs."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(PATIENCE)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.set_inheritable(kept, False)


def lanes(work: Callable[[int], None], count: int) -> None:
    """`work(0)` to `work(count - 1)` at once, each in a fork. Raises RuntimeError where one breaks."""
    numbers: list[int] = []
    for lane in range(count):
        number = os.fork()
        if number == 0:
            try:
                work(lane)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        numbers.append(number)
    if any(os.waitpid(number, 0)[1] for number in numbers):
        raise RuntimeError("a lane of the faults broke")


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
