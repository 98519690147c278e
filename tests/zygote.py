"""A process that has loaded what `degrade` needs, and forks a command in milliseconds where starting one takes seconds.

Workers of a sweep are forked too. It speaks lines of JSON: {"argv", "environment", "streams", "folder", "program"}
begins a command and is answered by its process number; the end of each is told by [number, exit code]. The streams are
the files of stdin, stdout and stderr.
"""

import contextlib
import importlib
import json
import multiprocessing
import os
import pkgutil
import runpy
import select
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

OFTEN = ((), ("data=digits",), ("data=digits", "recipe=smoke"), ("study=smoke",), ("data=image_folder",))
LAZY = ("hydra_plugins.degrade.workers", "hydra.core.plugins", "torchvision", "PIL.Image", "sklearn.datasets")


def load() -> None:
    """All of degrade that tests begin, and what it loads only when it is used."""
    import degrade

    for module in pkgutil.walk_packages(degrade.__path__, "degrade."):
        if not module.name.endswith("__main__") and ".bench" not in module.name:  # that loads torch's compiler
            importlib.import_module(module.name)
    for name in LAZY:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    compose_often()


def compose_often() -> None:
    """Composes what most commands of the tests ask for: their forks have it."""
    from degrade.sweep import compose

    with compose.start_hydra():
        for groups in OFTEN:
            compose.compose_body(groups)


def leave(act: Callable[[], object]) -> NoReturn:
    """Does it and ends this process, a fork, with the exit code that comes of it."""
    code = 1
    try:
        act()
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def become(order: dict[str, Any]) -> None:
    """The command itself, in a fork."""
    from degrade.cli import main
    from degrade.train import processes

    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the tests themselves were started with
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    for stream, path in enumerate(order["streams"]):
        how = os.O_WRONLY | os.O_CREAT | os.O_APPEND if stream else os.O_RDONLY
        os.dup2(os.open(path, how, 0o666), stream)
    os.closerange(3, 64)
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
    sys.argv = ["degrade", *order["argv"]]
    processes.SPAWN = multiprocessing.get_context("fork")
    if order["program"]:
        runpy.run_path(order["program"], run_name="__main__")
    else:
        main()


def serve() -> None:
    load()
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    signal.set_wakeup_fd(theirs)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([sys.stdin, ours], [], [])
        if ours in ready:
            os.read(ours, 4096)
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                print(json.dumps([ended[0], os.waitstatus_to_exitcode(ended[1])]), flush=True)
        if sys.stdin in ready:
            line = sys.stdin.readline()
            if not line:
                return
            number = os.fork()
            if number == 0:
                leave(partial(become, json.loads(line)))
            print(number, flush=True)


if __name__ == "__main__":
    serve()
