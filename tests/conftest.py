"""What tests share: specs of a training that takes a moment."""

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from degrade import data
from degrade.errors import UnavailableError
from degrade.spec import RunSpec, parse
from degrade.train.backends.native.build import kernels


def pytest_configure() -> None:
    """Commands that tests start hear signals, also where the tests run behind `nohup` or in a script's background."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)


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


@pytest.fixture
def degrade(tmp_path: Path) -> Degrade:
    """The command line in a process of its own, in an empty folder, 100 columns wide."""

    def call(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "degrade", *arguments]
        environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, **options)

    return call


@pytest.fixture
def frozen() -> Generator[None]:
    """statsmodels' multipletests collects garbage at every call: where all there is counts as kept, that is quick."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Degrade:
    """The command line in this process, which has loaded its libraries: for the many commands that end at once."""
    from degrade import cli

    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["degrade", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, int(ended.value.code or 0), said.out, said.err)

    return call
