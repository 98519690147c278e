"""Opens trained nets by their names: a run, a checkpoint of ours, or anybody's state dict.

Others import nets, pictures and hints from here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from degrade.errors import RunError
from degrade.experiments.checkpoints import (
    CHECKPOINT_KEYS,
    Told,
    Trained,
    fingerprint_weights,
    open_file,
    open_folder,
)
from degrade.experiments.hints import NO_HINTS, Hints, Named, parse_net
from degrade.experiments.labels import name_file, tell_apart
from degrade.experiments.measured import Measuring, choose_measuring
from degrade.experiments.pictures import Pictures, pictures
from degrade.spec import DataSpec
from degrade.store.files import at_home
from degrade.store.results import find, pick_furthest, run_dirs
from degrade.views.terminal import console

__all__ = [
    "CHECKPOINT_KEYS",
    "Hints",
    "Measuring",
    "Pictures",
    "Sources",
    "Trained",
    "as_trained",
    "choose_measuring",
    "fingerprint_weights",
    "name_file",
    "open_net",
    "pictures",
    "sort_words",
    "tell_apart",
]
# of files that programs save nets in; no name of a run ends so
_SUFFIXES = (*(".pt", ".pth", ".th", ".safetensors", ".tar", ".ckpt", ".bin", ".t7"), *(".h5", ".npz", ".pkl", ".onnx"))


def open_net(
    path: Path | str,
    *,
    results: Path | str = "results",
    net: str | None = None,
    pad: str | None = None,
    eps: float | None = None,
    key: str | None = None,
    normalize: str | tuple[float, ...] | None = None,
    classes: str | None = None,
    known: str | None = None,
    on: DataSpec | None = None,
) -> Trained:
    """Opens the net in a run folder, a checkpoint of ours, anybody's state dict (torch.save or safetensors), or the run
    under `results` whose name begins with `path`. Runs no code from a file.

    A state dict fits if its tensors have the order and shapes of a 6n+2 net of Sec. 4.2, whatever their names
    (degrade.nets.foreign.match). The other arguments say what tensors cannot say: they are the fields of Hints, and
    `path` may say them too, as in "weights.pth:net=residual,pad=split". What nobody says is measured `on`
    pictures: by the statistics of batch norm (degrade.nets.settle). Raises RunError where there is no such file or
    run, where its content does not fit, or where it is open which net it is; SpecError for a hint that cannot be.
    """
    hints = Hints(net=net, pad=pad, eps=eps, key=key, normalize=normalize, classes=classes, known=known)
    named = parse_net(path)
    measuring = None if on is None else Measuring(asked=on)
    return _open(Named(named.path, named.hints.over(hints)), Path(results), NO_HINTS, measuring)


def sort_words(words: Sequence[str]) -> tuple[list[str], list[Path]]:
    """Sorts words into (nets, results folders); without a folder, `results`. A net is a file, a run's folder, anything
    with hints, or how the name of a run in `results` begins; every other word is a results folder.
    """
    nets = [word for word in words if _is_net(word)]
    return nets, [Path(word) for word in words if word not in nets] or [Path("results")]


def _is_net(word: str) -> bool:
    place = at_home(word)
    if place.is_dir():
        return (place / "spec.json").exists()
    if place.exists() or place.suffix in _SUFFIXES or parse_net(word).path != word:
        return True
    return Path("results").is_dir() and any(each.run.startswith(word) for each in run_dirs(Path("results")))


def as_trained(net: Trained | Path | str, measuring: Measuring | None = None) -> Trained:
    """The net itself, or the net that `open_net` opens by that path or name, settled on the pictures to show it."""
    if isinstance(net, Trained):
        return net
    return _open(parse_net(net), Path("results"), NO_HINTS, measuring)


def _open(named: Named, results: Path, default: Hints, measuring: Measuring | None = None) -> Trained:
    where, told = at_home(named.path), Told(named.hints, default, measuring)
    if not where.exists():
        if where.suffix in _SUFFIXES:
            raise RunError(f"{named.path}: no such file")
        if "/" in named.path:
            raise RunError(f"{named.path}: no such file or folder")
        where = find(named.path, results)[0].path
    return open_folder(where, told) if where.is_dir() else open_file(where, told)


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The nets a command is about: those named, or all runs with a checkpoint in some results folders."""

    nets: tuple[str, ...] = ()  # FILE:key=value,... or the name of a run
    roots: tuple[Path, ...] = ()  # results folders; names of runs are looked up in the first
    default: Hints = NO_HINTS  # for files of others whose tensors and names do not say it

    def open(self, measuring: Measuring | None = None) -> list[Trained]:
        """Opens the nets, with labels that tell them apart. What files of others leave open is measured. Raises
        RunError where there is nothing to open, or where a named net cannot be opened.
        """
        if self.nets:
            results = self.roots[0] if self.roots else Path("results")
            return tell_apart([_open(parse_net(word), results, self.default, measuring) for word in self.nets])
        there = pick_furthest((folder, folder.read_standing()) for root in self.roots for folder in run_dirs(root))
        kept = [folder for folder, _ in there.values() if any(file.exists() for file in folder.checkpoints)]
        if missing := len(there) - len(kept):
            console.print(f"{missing} of {len(there)} runs have no checkpoint: left out")
        opened: list[Trained] = []
        for folder in kept:
            try:
                opened.append(open_net(folder.path))
            except RunError as error:  # a damaged run hides no other
                console.print(f"left out: {error}", style="red", soft_wrap=True)
        if not opened:
            where = ", ".join(map(str, self.roots))
            raise RunError(
                f"{where}: no run there has a checkpoint that opens; train with `degrade sweep`, or name one by --ckpt"
            )
        return opened
