"""What of the promises is held by tests of pytest: run here for their numbers, with more cases than in `make test`."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from places import TESTS

CASES = 2000  # of bad input


class Group(NamedTuple):
    """Tests that hold one promise."""

    said: str
    words: tuple[str, ...]  # to pytest
    each: int = 1  # faults a test does


GROUPS = (
    Group("disks that are full, read-only or gone", ("test_disks.py",)),
    Group("workers that crash or run out of memory", ("test_deaths.py", "test_workers.py")),
    Group("several sweeps and hosts at once", ("test_hosts.py",)),
    Group("signals at 110 layers", ("test_signals.py",)),
    Group("bad input: command lines, configurations", ("test_bad_input.py", "-k", "not results"), CASES),
    Group("bad input: results folders", ("test_bad_input.py", "-k", "results"), CASES),
    Group("bad input: pictures, extremes", ("test_extremes.py", "test_folder.py", "test_pictures.py")),
    Group("bad input: sealed files with values that no run has", ("test_sealed.py",)),
    Group("damaged or exchanged files of a run", ("test_mending.py", "test_restored.py")),
    Group("attacks", ("test_attacks.py", "test_configurations.py", "test_strangers.py", "test_gifts.py")),
)


def run(group: Group) -> tuple[int, list[str]]:
    """(faults, what was lost), skipped ones aside."""
    with tempfile.TemporaryDirectory() as place:
        report = Path(place) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-n", "2", f"--junitxml={report}", *group.words]
        there = {**os.environ, "CASES": str(group.each)}
        done = subprocess.run(command, cwd=TESTS, env=there, capture_output=True, text=True)
        if done.returncode not in (0, 1) or not report.exists():  # 5: no test was found; 2: one could not be read
            raise RuntimeError(done.stdout + done.stderr)
        cases = [case for case in ElementTree.parse(report).iter("testcase") if case.find("skipped") is None]
    lost = [f"{case.get('name')}: {fault_of(case)}" for case in cases if fault_of(case)]
    drawn = {str(case.get("name")).partition("[")[0] for case in cases} if group.each > 1 else cases  # in two halves
    return group.each * len(drawn), lost


def fault_of(case: ElementTree.Element) -> str:
    """The last line of how a test failed; nothing where it passed."""
    found = [each for each in case if each.tag in ("failure", "error")]
    return (found[0].get("message") or "failed").strip().splitlines()[-1] if found else ""
