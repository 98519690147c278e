"""Completion in the shells themselves: what stands on the line after a tab."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import PATIENCE

from degrade.cli.offer import offer_folders, offer_values

RC = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source {script}"),
    "zsh": (["zsh", "-f", "-i"], "autoload -Uz compinit; compinit -u -D; source {script}"),
    "fish": (["fish", "--no-config", "-i"], "source {script}"),
}


ASKED = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}  # typer takes the shell that is named


class Shell:
    """An interactive shell at a terminal of its own."""

    def __init__(self, name: str, place: Path) -> None:
        (place / "degrade").write_text(f"#!{sys.executable}\nfrom degrade.cli import main\nmain()\n")
        (place / "degrade").chmod(0o755)
        self.environment = {**os.environ, "PATH": f"{place}:{os.environ['PATH']}", "HOME": str(place), "TERM": "xterm"}
        script = place / f"script.{name}"
        shown = [str(place / "degrade"), "--show-completion", name]
        script.write_text(
            subprocess.run(shown, env=self.environment | ASKED, capture_output=True, text=True, check=True).stdout
        )
        words, begin = RC[name]
        self.ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            words, stdin=theirs, stdout=theirs, stderr=theirs, env=self.environment, cwd=place, start_new_session=True
        )
        os.close(theirs)
        self.read(2.0, 20.0)
        self.type(begin.format(script=script) + "\r", 2.0)

    def read(self, quiet: float, first: float | None = None) -> str:
        """What is shown until nothing has come for `quiet` seconds; `first`: seconds until anything comes at all."""
        said, wait = b"", quiet if first is None else first
        while select.select([self.ours], [], [], wait)[0]:
            try:
                said += os.read(self.ours, 65536)
            except OSError:
                break
            wait = quiet
        return said.decode(errors="replace")

    def type(self, text: str, quiet: float = 1.0, first: float = 5.0) -> str:
        os.write(self.ours, text.encode())
        return self.read(quiet, first)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.ours)


@pytest.fixture(params=[*RC])
def shell(request: pytest.FixtureRequest, tmp_path: Path):
    if not shutil.which(request.param):
        pytest.skip(f"no {request.param} here")
    (tmp_path / "results" / "runs" / "plain-8-s0-12345678").mkdir(parents=True)
    found = Shell(request.param, tmp_path)
    yield found
    found.close()


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("degrade sweep widt", "degrade sweep width=X"),  # X comes after: no space before it
        ("degrade recipe-diff pla", "degrade recipe-diff plain-8-s0-12345678 X"),
        ("degrade status resu", "degrade status results/X"),
        ("degrade status --format mark", "degrade status --format markdown X"),
    ],
)
def test_a_tab_completes_keys_without_a_space_runs_folders_and_values(shell: Shell, tmp_path, typed, line):
    """`echo` shows the line as the shell has it after the tab."""
    shell.type(typed)
    shell.type("\t", 2.0, PATIENCE)
    shell.type("X\x01echo \x05 > line\r")
    end = time.monotonic() + PATIENCE
    while not (tmp_path / "line").exists() and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(0.2)
    assert re.sub(r"\s+", " ", (tmp_path / "line").read_text()).strip() == line


def test_folders_and_values_that_begin_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results" / "runs").mkdir(parents=True)
    (tmp_path / "readme").touch()
    assert offer_folders("re") == ["results/"]
    assert offer_folders("results/") == ["results/runs/"]
    assert offer_folders("nowhere/x") == []
    assert offer_values("points", "odds")("o") == ["odds"]
