"""Ctrl-Z while something moves on the terminal: the cursor comes back, and `fg` goes on with the drawing."""

import os
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def suspendable(stop: Callable[[], None], start: Callable[[], None]) -> Generator[None]:
    """Calls `stop` before this process is stopped by Ctrl-Z, and `start` when it goes on.

    Does nothing where there is no such signal, where the process ignores it, or outside of the main thread.
    """
    kind = getattr(signal, "SIGTSTP", None)
    if kind is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def pause(number: int, frame: FrameType | None) -> None:
        stop()
        signal.signal(kind, signal.SIG_DFL)
        os.kill(os.getpid(), kind)  # returns when the process goes on
        signal.signal(kind, pause)
        start()

    before = signal.getsignal(kind)
    if before != signal.SIG_DFL:
        yield
        return
    signal.signal(kind, pause)
    try:
        yield
    finally:
        signal.signal(kind, before)
