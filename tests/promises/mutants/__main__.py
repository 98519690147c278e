"""`make mutants`: every guard of every promise taken out, one at a time. Exit code 1 if a test does not notice.

`python -m promises.mutants WORD` does those alone whose names have the word.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from xml.etree import ElementTree

from places import ROOT
from promises.mutants.mutant import Mutant
from promises.mutants.table import MUTANTS

COPIED = ("degrade", "hydra_plugins", "conf", "tests", "benchmarks", "docs", "results")
FILES = ("pyproject.toml", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "uv.lock", "LICENSE")
TABLE = ROOT / "tests" / "promises" / "mutants" / "table.md"
MARK = "DEGRADE_MUTANT"  # in the environment of every process of a copy
KILLED, SURVIVED = "killed", "SURVIVED"
AT_ONCE = 2
PATIENCE = 300.0  # seconds for the tests of one mutant: a sweep without its guard may wait for ever


def copy_tree(target: Path) -> Path:
    for name in COPIED:
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, target / name)
    return target


def run_tests(tree: Path, tests: Sequence[str]) -> dict[str, str]:
    """test -> passed, failed, skipped or broken, of a copy. Empty where they did not end in time."""
    report = tree / "report.xml"
    report.unlink(missing_ok=True)
    there = {
        **os.environ,
        MARK: str(tree),
        "PYTHONPATH": os.pathsep.join(map(str, (tree, tree / "tests"))),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    words = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", f"--junitxml={report}", *tests]
    try:
        subprocess.run(words, cwd=tree / "tests", env=there, capture_output=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return {}
    finally:
        end_all(tree)
    found = dict[str, str]()
    for case in ElementTree.parse(report).iter("testcase") if report.exists() else ():
        kinds = {each.tag for each in case}
        how = (
            "broken"
            if "error" in kinds
            else "failed"
            if "failure" in kinds
            else "skipped"
            if "skipped" in kinds
            else "passed"
        )
        found[f"{case.get('classname')}.{case.get('name')}"] = how
    return found


def end_all(tree: Path) -> None:
    """Ends every process that tests of a copy have left: without its guard, a sweep may outlive all."""
    mark = f"{MARK}={tree}".encode()
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another user's
            if mark in (place / "environ").read_bytes().split(b"\0"):
                os.kill(int(place.name), signal.SIGKILL)


def judge(mutant: Mutant, tree: Path) -> str:
    """Whether each test of a mutant passes with the guard and fails without it; else what is wrong."""
    ended = list[str]()
    for test in mutant.tests:
        before = run_tests(tree, [test])
        if not before or {*before.values()} - {"passed", "skipped"}:
            return f"{test} does not pass with the guard"
        if "passed" not in before.values():
            return f"{test} is skipped here"
        text = mutant.apply(tree)
        try:
            after = run_tests(tree, [test])
        finally:
            (tree / mutant.file).write_text(text)
        if not after:
            ended.append("hangs")
        elif "failed" in after.values() or ("broken" in after.values() and len(after) == len(before)):
            ended.append("fails")
        else:
            return SURVIVED if {*after.values()} <= {"passed", "skipped"} else f"{test} cannot be run without the guard"
    return KILLED


def judge_all(mutants: Sequence[Mutant]) -> dict[Mutant, str]:
    """What came of each, several at a time, each in one of as many copies."""
    with tempfile.TemporaryDirectory() as folder:
        trees = SimpleQueue[Path]()
        for number in range(AT_ONCE):
            trees.put(copy_tree(Path(folder) / str(number)))

        def one(mutant: Mutant) -> str:
            tree = trees.get()
            try:
                said = judge(mutant, tree)
            finally:
                trees.put(tree)
            print(f"{said}: {mutant.name}", flush=True)
            return said

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return dict(zip(mutants, pool.map(one, mutants), strict=True))


def write_table(found: dict[Mutant, str]) -> str:
    rows = [
        f"| {mutant.promise} | `{mutant.file}` | {', '.join(f'`{test}`' for test in mutant.tests)} | {said} |"
        for mutant, said in found.items()
    ]
    head = ["| promise | guard taken out in | test that must fail | |", "| --- | --- | --- | --- |"]
    return "\n".join(["# Guards taken out, and what noticed (`make mutants`)", "", *head, *rows, ""])


def main(word: str = "") -> int:
    begun = time.monotonic()
    chosen = [mutant for mutant in MUTANTS if word in mutant.name]
    found = judge_all(chosen)
    if not word:
        TABLE.write_text(write_table(found))
    wrong = [said for said in found.values() if said != KILLED]
    print(f"{len(chosen)} guards taken out: {len(chosen) - len(wrong)} noticed, {time.monotonic() - begun:.0f} s")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
