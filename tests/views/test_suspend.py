"""Ctrl-Z gives the terminal back as it was, and `fg` goes on with the drawing."""

import os
import signal
import subprocess
import sys

import pytest

from degrade.views import terminal

DRAWS = """
import os, signal
from degrade.views.suspend import suspendable
with suspendable(lambda: print("stop", flush=True), lambda: print("start", flush=True)):
    print("draws", flush=True)
    os.kill(os.getpid(), signal.SIGTSTP)
    print("draws on", flush=True)
print(signal.getsignal(signal.SIGTSTP) == signal.SIG_DFL)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGTSTP"), reason="the system has no such signal")
def test_what_moves_is_taken_down_before_the_process_stops_and_put_up_when_it_goes_on():
    process = subprocess.Popen([sys.executable, "-c", DRAWS], stdout=subprocess.PIPE, text=True, process_group=0)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    os.kill(process.pid, signal.SIGCONT)
    said, _ = process.communicate()
    assert said.splitlines() == ["draws", "stop", "start", "draws on", "True"]


@pytest.mark.parametrize(("kind", "moves"), [("xterm", True), ("dumb", False)])
def test_a_dumb_terminal_gets_lines(monkeypatch, kind, moves):
    monkeypatch.setenv("TERM", kind)
    monkeypatch.setattr(terminal, "console", terminal.Plain(force_terminal=True))
    assert terminal.moves() is moves
