"""What this machine and this folder offer to a training, and for each known failure its cause and the next command."""

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from degrade import data
from degrade.errors import DegradeError, UnavailableError, one_line
from degrade.spec import DataSpec
from degrade.store.folder import RunDir
from degrade.store.locks import has_locks
from degrade.store.results import run_dirs

FINE, NOTE, WRONG = "fine", "note", "wrong"
_ROOM = 2e9  # bytes free below which a sweep of the paper's nets may not fit


class Found(NamedTuple):
    """One thing that was looked at."""

    what: str
    state: str  # fine | note: works, but not all of it | wrong: something will fail
    found: str
    next: str = ""  # what to do about it


DOCTOR_COLUMNS = {
    "what": "what was looked at",
    "state": "fine | note: not all of it works | wrong: something will fail",
    "found": "what there is",
    "next": "what to do about it; empty where it is fine",
}


def examine(root: Path) -> Iterator[Found]:
    """Looks at everything, one thing after another. An error of a look is what was found."""
    for what, look in _LOOKS.items():
        try:
            yield from look(what, root)
        except (DegradeError, OSError, ImportError, RuntimeError) as error:
            yield Found(what, WRONG, one_line(error), _NEXT.get(what, ""))


def _python(what: str, root: Path) -> Iterator[Found]:
    yield Found(what, FINE, f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield Found("degrade", FINE, version("degrade"))


def _torch(what: str, root: Path) -> Iterator[Found]:
    import torch

    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    yield Found(what, FINE, f"{torch.__version__}, {built}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = torch.get_num_threads()
    yield Found("threads", FINE, f"{cores} cores for this process, torch uses {threads}; a sweep trains a run a core")


def _device(what: str, root: Path) -> Iterator[Found]:
    import torch

    from degrade.train.devices import gpus

    count = gpus()
    if count and not torch.cuda.is_available():
        why = "this torch is a CPU build" if not torch.version.cuda else "torch cannot use the driver"
        yield Found(what, WRONG, f"{count} GPUs, and {why}", "install a torch built for CUDA: pytorch.org says which")
    elif count:
        names = ", ".join(torch.cuda.get_device_name(index) for index in range(count))
        yield Found(what, FINE, f"{count} GPUs: {names}")
    else:
        yield Found(what, FINE, "CPU alone")
    able = ["fp32", "bf16", *(["tf32"] if count and torch.cuda.is_available() else [])]
    yield Found("precisions", FINE, f"{', '.join(able)}; fp32 is the paper's")


def _kernels(what: str, root: Path) -> Iterator[Found]:
    from degrade.train.backends.native.build import kernels

    for precision in ("fp32", "bf16"):
        try:
            kernels(precision)
        except UnavailableError as error:
            way_out = "install a C compiler (apt install gcc), or train slower with engine.backend=eager"
            yield Found(f"{what}, {precision}", NOTE, str(error), way_out if precision == "fp32" else "train in fp32")
        else:
            yield Found(f"{what}, {precision}", FINE, "compiled, and loaded")


def _disk(what: str, root: Path) -> Iterator[Found]:
    there = next(folder for folder in (root.absolute(), *root.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if not os.access(there, os.W_OK):
        yield Found(what, WRONG, f"{root}: cannot be written", "name another folder: results=FOLDER")
    elif free < _ROOM:
        yield Found(what, NOTE, f"{free / 1e9:.1f} GB free", "make room, or name another folder: results=FOLDER")
    else:
        yield Found(what, FINE, f"{free / 1e9:.0f} GB free")


def _results(what: str, root: Path) -> Iterator[Found]:
    if not root.is_dir():
        yield Found(what, FINE, "no results here yet", "degrade sweep study=quickstart")
        return
    states = [(folder, folder.standing()) for folder in run_dirs(root)]
    names = [state.name for _, state in states]
    yield Found(what, FINE, f"{len(names)} runs in {root}/, {names.count('finished')} finished")
    yield Found("locks", *_look_at_locks(root))
    for name, next_step in _BAD.items():
        if count := names.count(name):
            state = NOTE if name == "interrupted" else WRONG
            shown = ["degrade", "verify", str(root)] if name == "damaged" else []
            yield Found(f"runs, {name}", state, f"{count}: {_name_first(states, name)}", " ".join(shown) or next_step)


_BAD = {  # state -> what to do about it
    "interrupted": "the same sweep goes on with them",
    "failed": "degrade status says why; then the same sweep with --retry-failed",
    "damaged": "degrade verify",
}


def _name_first(states: Sequence[tuple[RunDir, object]], name: str) -> str:
    return next(folder.run for folder, state in states if getattr(state, "name", "") == name)


def _look_at_locks(root: Path) -> tuple[str, str, str]:
    """Whether the file system of a results folder has locks: a second hold of one file must be refused."""
    if has_locks(root):
        return FINE, "held by one process at a time", ""
    return WRONG, "this file system has no locks", "put the results on a local disk: results=FOLDER"


def _data(what: str, root: Path) -> Iterator[Found]:
    for name, dataset in data.DATASETS.items():
        if dataset.fetched:
            known = data.recall(DataSpec(name=name)).content
            yield Found(f"data={name}", FINE, "here" if known else "not here yet: the first sweep downloads it")
    yield Found("data=digits", FINE, "part of the package")


def _launchers(what: str, root: Path) -> Iterator[Found]:
    known = {"submitit": "submitit", "ray": "ray", "joblib": "joblib"}
    found = [name for name in known if find_spec(f"hydra_plugins.hydra_{name}_launcher")]
    slurm = "Slurm is here" if shutil.which("sbatch") else "no Slurm"
    yield Found(what, FINE, f"{', '.join(['workers', 'basic', *found])}; {slurm}")


def _terminal(what: str, root: Path) -> Iterator[Found]:
    kind, encoding = os.environ.get("TERM", ""), sys.stdout.encoding or "?"
    size = shutil.get_terminal_size()
    where = f"{size.columns} columns" if sys.stdout.isatty() else "a pipe"
    if "utf" not in encoding.lower():
        yield Found(what, NOTE, f"{where}, {encoding}", "PYTHONIOENCODING=utf-8 shows ± and bars as they are")
    elif sys.stdout.isatty() and kind in ("", "dumb"):
        yield Found(what, NOTE, f"{where}, TERM={kind or 'nothing'}", "export TERM=xterm-256color for the live table")
    else:
        yield Found(what, FINE, f"{where}, {encoding}")


def _figures(what: str, root: Path) -> Iterator[Found]:
    try:
        yield Found(what, FINE, f"matplotlib {version('matplotlib')}")
    except PackageNotFoundError:
        yield Found(what, WRONG, "no matplotlib", "install degrade anew: pip install --force-reinstall .")


_LOOKS: dict[str, Callable[[str, Path], Iterator[Found]]] = {
    "python": _python,
    "torch": _torch,
    "device": _device,
    "kernels": _kernels,
    "disk": _disk,
    "results": _results,
    "data": _data,
    "launchers": _launchers,
    "terminal": _terminal,
    "figures": _figures,
}
_NEXT = {
    "torch": "install degrade anew: pip install --force-reinstall .",
    "results": "name another folder, or remove what is not a results folder",
    "data": "set XDG_CACHE_HOME to an absolute folder of yours",
}
