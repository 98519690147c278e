"""What tests share: specs of a training that takes a moment."""

import functools
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import processes
import pytest
import torch
import typer.main

from degrade import data
from degrade.errors import UnavailableError
from degrade.spec import RunSpec, parse
from degrade.train import processes as life
from degrade.train.backends.native.build import kernels

# Tests run side by side: threads of one that wait for a core only take it from another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

# Workers of sweeps in this process come from one that has torch loaded, which saves each 2 s. That they are spawned, as
# a user's are, is for the tests of the command line.
life.SPAWN = processes.Warm()


def pytest_configure(config: pytest.Config) -> None:
    """Hides the GPUs unless their tests are asked for, since all others are about the CPU.

    Commands that tests start hear signals, also where the tests run behind `nohup` or in a script's background.
    """
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)


# Files that take longest, the longest first. Begun at the end, one of them would leave the other processes idle.
_LONG = (
    *("test_faults", "test_workers", "test_hosts", "test_bad_input", "test_mutants", "test_contributing", "test_disks"),
    *("test_signals", "test_deaths", "test_power", "test_simulation", "test_estimate", "test_exact", "test_cli"),
    *("test_fused", "test_bench", "test_report", "test_browser", "test_export", "test_gates", "test_docs"),
    *("test_attacks", "test_many", "test_compare", "test_gifts", "test_layers"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts long files first. A file stays together, in its order."""
    rank = {name: place for place, name in enumerate(_LONG)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(_LONG)))


def pytest_collection_finish() -> None:
    """What there is by now stays: looking for garbage in it takes a tenth of the time of what composes and draws."""
    gc.freeze()


def pytest_unconfigure() -> None:
    gc.unfreeze()


def on_gpu(test: Any) -> Any:
    """Marks a test that needs a CUDA device, whatever that computes."""
    here = os.environ.get("CUDA_VISIBLE_DEVICES") != "-1" and torch.cuda.is_available()
    return pytest.mark.gpu(pytest.mark.skipif(not here, reason="needs a CUDA device: pytest -m gpu")(test))


def gpu(test: Any) -> Any:
    """Marks a test that needs a CUDA device and its arithmetic: there are devices that only pretend."""
    return on_gpu(pytest.mark.skipif(_computes_nothing(), reason="this CUDA device computes nothing")(test))


@functools.cache
def _computes_nothing() -> bool:
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "-1" or not torch.cuda.is_available():
        return False
    return (torch.full((3,), 7.0, device="cuda") * 6).tolist() != [42.0] * 3


def missing(precision: str) -> str:
    """Why there are no kernels for a precision here; empty where there are."""
    try:
        kernels(precision)
    except UnavailableError as error:
        return str(error)
    return ""


def with_kernels(precision: str = "fp32") -> pytest.MarkDecorator:
    return pytest.mark.skipif(bool(missing(precision)), reason=f"no kernels for {precision}: {missing(precision)}")


ON_CPU = ("eager", pytest.param("native", marks=with_kernels()))  # backends

TINY: dict[str, Any] = {
    "depth": 8,
    "width": 4,
    "data": {"name": "digits", "train_limit": 100, "test_limit": 50},
    "recipe": {"name": "tiny", "iterations": 12, "batch": 16, "lr": 0.05, "eval_every": 5, "augment": "crop"},
}


def tiny(**changes: Any) -> RunSpec:
    """The tiny run with some keys changed; nested ones as recipe={"lr": 1}."""
    tree = dict(TINY)
    for key, value in changes.items():
        tree[key] = {**tree.get(key, {}), **value} if isinstance(value, dict) else value
    spec = parse(tree)
    return parse({**spec.tree(), "data": {**spec.tree()["data"], "content": data.prepare(spec.data).content}})


Degrade = Callable[..., subprocess.CompletedProcess[str]]


PLAIN = {"COLUMNS": "100", "NO_COLOR": "1"}  # of the environment: where there is no terminal


@pytest.fixture
def fresh(tmp_path: Path) -> Degrade:
    """The command line as a user starts it, in an empty folder, 100 columns wide."""

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*processes.DEGRADE, *arguments]
        return subprocess.run(command, cwd=tmp_path, env={**os.environ, **PLAIN}, capture_output=True, text=True)

    return call


@pytest.fixture
def degrade(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Degrade:
    """As `fresh`, but forked from a process that has loaded all: a second or two less for each command."""
    place = tmp_path_factory.mktemp("streams")

    def call(*arguments: str, input: str = "", program: Path | None = None) -> subprocess.CompletedProcess[str]:
        streams = said, out, err = place / "in", place / "out", place / "err"
        said.write_text(input)
        for path in (out, err):
            path.write_text("")
        there = {**os.environ, **PLAIN}
        code = processes.forked(arguments, there, tmp_path, streams, program).wait(4 * processes.PATIENCE)
        return subprocess.CompletedProcess(arguments, code, out.read_text(), err.read_text())

    return call


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own cache, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    return tmp_path / "user" / "degrade"


built = functools.cache(typer.main.get_command)  # of all our commands: 10 ms each time


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Degrade:
    """The command line in this process, which has loaded its libraries: for the many commands that end at once."""
    from degrade import cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(typer.main, "get_command", built)

    def call(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["degrade", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, int(ended.value.code or 0), said.out, said.err)

    return call
