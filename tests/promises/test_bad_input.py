"""What nobody should type or hand over: a result, or one line and exit 2; no traceback, and nothing written.

CASES says how many of each kind are drawn: 200 unless the environment has another number.
"""

import io
import json
import os
import shutil
from pathlib import Path
from random import Random

import numpy as np
import odd
import pandas as pd
import pytest
from generated import ended, lay

from degrade import bench, figures
from degrade.data import cifar
from degrade.errors import DataError, DegradeError, SpecError
from degrade.experiments.identity import grid
from degrade.spec import NetSpec, RunSpec, parse
from degrade.store import seal
from degrade.sweep import compose, expand, limit, price, rerun
from degrade.sweep.launchers import Words, Workers

CASES = int(os.environ.get("CASES", "200"))


RUNS = [ended(RunSpec(net=NetSpec(net=net, depth=d)), 5.0 + d, 9.0) for net in ("plain", "residual") for d in (8, 14)]


SWEEP = ("data=digits", "net=plain,residual", "shortcut=A", "depth=8,14")
STATES = ("running", "interrupted", "failed", "damaged", "diverged", "constructed", "new")


def none_of_that(*_: object, **__: object) -> None:
    raise SpecError("was about to train")


@pytest.fixture
def tame(tmp_path, here, monkeypatch):
    """The command line, in an empty folder of its own, with what trains, measures for long or downloads cut off."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    places = (
        (Workers, "launch"),
        (Words, "launch"),
        (price, "measure_prices"),
        (limit, "measure_prices"),
        (rerun, "train"),
    )
    measures = ((price, "measure_prices"), (limit, "measure_prices"), (grid, "measure_trials"), (bench, "measure"))
    for place, name in (*places, *measures):
        monkeypatch.setattr(place, name, none_of_that)
    monkeypatch.setattr(figures, "FORMATS", ("svg",))  # a third of the time
    monkeypatch.setattr("sys.stdin", io.StringIO())  # nobody answers

    def offline(*_: object) -> None:
        raise DataError("no network")

    monkeypatch.setattr(cifar, "fetch", offline)
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    lay(RUNS, Path("results"))
    return here


def tree(root: Path) -> dict[str, bytes | None]:
    """What is under a folder, but for the cache and the figures that somebody asked for."""
    found = (path for path in root.rglob("*") if not {"cache", "figures"} & {*path.parts})
    return {str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in found}


def faults(done, usage: bool = True) -> list[str]:
    """What is wrong with how a command ended; `usage`: typer's own words about a command line are several lines."""
    line = done.stderr.removesuffix("\n")
    if "Traceback" in done.stdout + done.stderr:
        return ["a traceback"]
    if done.returncode == 0:
        return []
    if done.returncode != 2:
        return [f"exit {done.returncode}: {line}"]
    if usage and line.startswith(("Usage: ", "Error: ")):
        return []
    fine = line.startswith("degrade: ") and line.isprintable() and len(line) < 2100
    return [] if fine else [f"not one line: {line!r}"]


@pytest.mark.parametrize("half", [0, 1])
def test_no_command_line_ends_in_a_traceback_or_leaves_anything(tame, tmp_path, half):
    with compose.start_hydra():
        keys = compose.list_keys(compose.configure(()))
    found, ends = list[str](), list[int]()
    for case in range(half, CASES, 2):
        words, before = odd.line(Random(case), keys), tree(tmp_path)
        try:
            done = tame(*words)
        except BaseException as error:
            found.append(f"{case} {words}: {error!r}")
            continue
        ends.append(done.returncode)
        wrong = [*faults(done), *(["wrote"] if tree(tmp_path) != before else [])]
        found += [f"{case} {words}: {each}" for each in wrong]
    assert not found, "\n".join(found)
    assert {0, 2} == {*ends}  # some are right


def test_no_configuration_does_worse_than_an_error_of_one_line():
    """Trees of plain values, as spec.json and checkpoints hold them, with something in them exchanged."""
    parsed = 0
    for case in range(CASES):
        draws, spec = Random(case), RunSpec().tree()
        for _ in range(draws.randint(1, 2)):
            part = draws.choice([spec, spec["data"], spec["recipe"], spec["engine"]])
            if not isinstance(part, dict):
                continue
            part[draws.choice([*part, "_target_", "depht", ""])] = odd.junk(draws)
        try:
            run = parse(spec)
        except DegradeError:
            continue
        parsed += 1
        assert parse(run.tree()) == run
        assert run.run.replace("-", "").isalnum()
    assert parsed


@pytest.fixture
def results(tmp_path) -> Path:
    """Four finished runs, those of SWEEP."""
    with expand.hydra():
        specs = expand.expand(SWEEP).specs
    lay([ended(spec, 5.0 + spec.net.depth, 9.0) for spec in specs], tmp_path / "whole")
    return tmp_path / "whole"


def spoil(draws: Random, root: Path) -> None:
    """One file of a results folder is not what it was."""
    folder = draws.choice(sorted((root / "runs").iterdir()))
    kind = draws.choice(["spec.json", "state.json", "curve.parquet", "curve.parquet", "bytes"])
    if kind == "bytes":
        path = draws.choice(sorted(folder.glob("*.*")))
        content = bytearray(path.read_bytes())
        for _ in range(draws.randint(1, 5)):
            content[draws.randrange(len(content))] = draws.randrange(256)
        path.write_bytes(content[: draws.choice([len(content), draws.randrange(len(content))])])
    elif kind == "curve.parquet":
        frame = pd.read_parquet(folder / kind)
        column = draws.choice(list(frame.columns))
        ways = [
            lambda: frame.drop(columns=column),
            lambda: frame.iloc[:0],
            lambda: frame.assign(**{column: draws.choice(odd.ODD).encode(errors="replace").decode()}),
            lambda: frame.assign(**{column: draws.choice([np.nan, np.inf, -np.inf, -1, 0, 2**62, 1e308])}),
            lambda: pd.concat([frame, frame]),
        ]
        draws.choice(ways)().to_parquet(folder / kind)
    else:
        values = seal.of_json((folder / kind).read_bytes())
        inner = draws.choice([values, values.get("spec", values)])
        if kind == "state.json" and draws.random() < 0.5:  # no more than a part of it, of a run that stands otherwise
            left = draws.sample([*values], draws.randint(0, len(values)))
            values = inner = {key: values[key] for key in left} | {"state": draws.choice(STATES)}
        else:
            inner[draws.choice([*inner, "iteration", "heartbeat", "train_error", "reason"])] = odd.junk(draws)
        junk = json.dumps(odd.junk(draws)).encode()
        (folder / kind).write_bytes(draws.choice([seal.to_json(values)] * 3 + [junk]))  # who can write can seal


@pytest.mark.parametrize("half", [0, 1])
def test_no_results_folder_ends_in_a_traceback(tame, results, tmp_path, half):
    """`plan` and `compare` take a third of a second or more, so every tenth; `plot`, every twentieth."""
    found = list[str]()
    for case in range(half, CASES, 2):
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(results, tmp_path / "copy")
        spoil(Random(case), tmp_path / "copy")
        copy = str(tmp_path / "copy")
        commands = [["status", copy], ["clean", "--failed", "--orphaned", copy]]
        commands += [["plan", *SWEEP, f"results={copy}"]] if case % 20 in (4, 15) else []
        commands += [["compare", copy]] if case % 20 in (0, 11) else []
        commands += [["plot", "--figure", "fig6", copy]] if case % 40 in (0, 21) else []
        for command in commands:
            before = tree(tmp_path)
            try:
                done = tame(*command)
            except BaseException as error:
                found.append(f"{case} {command}: {error!r}")
                continue
            plotted = command[0] == "plot" and done.returncode == 1  # some figures, and of others why not
            wrong = [] if plotted and "Traceback" not in done.stderr else faults(done)
            wrote = ["wrote"] if tree(tmp_path) != before else []
            found += [f"{case} {command}: {each}" for each in [*wrong, *wrote]]
            if "\x1b" in done.stdout:
                found.append(f"{case} {command}: an escape sequence on the terminal")
    assert not found, "\n".join(found)
