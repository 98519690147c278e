"""Behind `degrade responses` and `degrade construct`: open nets, measure or make, say what came out."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from degrade.errors import RunError, SpecError, Stopped
from degrade.spec import RunSpec
from degrade.store.folder import RunDir, furthest, run_dirs
from degrade.sweep import expand
from degrade.sweep.overrides import changed
from degrade.sweep.workers import train
from degrade.views import tables
from degrade.views.terminal import console, grid, percent

if TYPE_CHECKING:
    import pandas as pd

    from degrade.experiments.construct import Constructed
    from degrade.experiments.responses import Responses, Under
    from degrade.experiments.trained import Trained


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Which nets a command is about: checkpoints, or all runs of results folders that have one."""

    ckpts: tuple[str, ...] = ()
    roots: tuple[Path, ...] = ()  # results folders; names of runs are looked up in the first of them
    net: str | None = None  # of a foreign state_dict: plain or residual
    pad: str = "after"  # of a foreign state_dict with option A

    def open(self) -> "list[Trained]":
        """Raises RunError where there is nothing to open, or a net cannot be."""
        from degrade.experiments.trained import open_net  # loads torch

        if self.ckpts:
            known = {"results": self.roots[0]} if self.roots else {}
            return [open_net(path, net=self.net, pad=self.pad, **known) for path in self.ckpts]
        there = furthest((folder, folder.seen()) for root in self.roots for folder in run_dirs(root))
        kept = [folder for folder, _ in there.values() if any(file.exists() for file in folder.checkpoints)]
        if missing := len(there) - len(kept):
            console.print(f"{missing} of {len(there)} runs have no checkpoint: left out")
        opened: list[Trained] = []
        for folder in kept:
            try:
                opened.append(open_net(folder.path))
            except RunError as error:  # one that is damaged hides no other
                console.print(f"left out: {error}", style="red", soft_wrap=True)
        if not opened:
            where = ", ".join(map(str, self.roots))
            raise RunError(
                f"{where}: no run there has a checkpoint that opens; train with `degrade sweep`, or name one by --ckpt"
            )
        return opened


def responses(sources: Sources, under: "Under", overrides: Sequence[str]) -> "tuple[Responses, Path]":
    """Measures, and prints a row for each group; returns what was measured, and the results folder it belongs to."""
    from degrade.experiments import responses
    from degrade.figures import responses as figures

    with expand.hydra():
        asked, given_scale = expand.data_of(overrides)
    nets = sources.open()
    measured = responses.responses(nets, under, asked, given_scale=given_scale)
    finite = figures.finite(measured.layers), figures.finite(measured.blocks)
    if lost := measured.layers.run.nunique() - min(frame.run.nunique() for frame in finite):
        console.print(f"{lost} of {measured.layers.run.nunique()} nets have diverged: no finite responses, left out")
    for protocol, rows in finite[0].groupby("protocol"):
        anatomy_table(str(protocol), rows, finite[1][finite[1].protocol == protocol])
    first, data = measured.layers.iloc[0], ", ".join(sorted(measured.layers.data.unique()))
    counted = ", ".join(f"{n:,}" for n in sorted(measured.layers.n.unique()))
    console.print(
        f"std of responses: mean over layers, and the greatest; change: ‖F(x)‖/‖x‖, distance: ‖H(x) − x‖/‖x‖, "
        f"opening of the shortcut: means over blocks. {data}: {first.split} images ({counted}); "
        f"{first.bn} statistics of BN"
    )
    roots = [net.folder.path.parent.parent for net in nets if net.folder] or [*sources.roots]
    return measured, roots[0]


def anatomy_table(protocol: str, layers: "pd.DataFrame", blocks: "pd.DataFrame") -> None:
    """A row for each group of one protocol; a group has its hash where its name alone would not tell it from others."""
    table = grid("net", ">runs", ">layers", ">std", ">greatest", ">change", ">distance", ">opening")
    table.title, table.title_justify, table.title_style = f"responses: {protocol}", "left", "bold"
    keys = ["net", "shortcut", "depth", "width", "group"]
    by = layers.groupby(keys).agg(
        runs=("run", "nunique"), layers=("layer", "max"), std=("std", "mean"), greatest=("std", "max")
    )
    rows = by.join(blocks.groupby(keys)[["change", "distance", "opening"]].mean()).reset_index().to_dict("records")
    names = [row["group"].rpartition("-")[0] for row in rows]
    for row, name in zip(rows, names, strict=True):
        cells = (f"{row[column]:.3f}" for column in ("std", "greatest", "change", "distance", "opening"))
        shown = name if names.count(name) == 1 and "@" not in row["group"] else row["group"]
        table.add_row(shown, str(row["runs"]), str(row["layers"]), *cells)
    console.print(table)


def construct(sources: Sources, overrides: Sequence[str], *, exact: bool, then_train: bool, command: str) -> int:
    """Makes and stores a constructed net for each run, and with `then_train` trains them; returns the exit code."""
    from degrade.experiments import construct  # loads torch

    nets = sources.open()
    wanted = [wanted_of(net, overrides) for net in nets]  # every line is known to be right before anything is made
    if len({root for _, root, _ in wanted}) > 1:
        raise RunError("--ckpt: the runs lie in different results folders; call the command once for each")
    made: list[Constructed] = []
    for net, (depth, root, like) in zip(nets, wanted, strict=True):
        made.append(construct.construct(net, depth, root, exact=exact, like=like, command=command))
        proof(net.label, made[-1])
    if not then_train:
        return 0
    root = made[0].folder.path.parent.parent
    specs = [each.run for each in made]
    try:
        train([spec for spec in specs if not RunDir(root, spec.run).over], root)
    except Stopped as stopped:
        return 128 + stopped.signal
    return int(tables.summary(specs, root) > 0)


def wanted_of(net: "Trained", overrides: Sequence[str]) -> tuple[int, Path, RunSpec]:
    """(depth, results folder, the run to copy with what the overrides change)."""
    if net.run is None or net.folder is None:
        raise RunError(f"{net.label}: is no run folder of degrade, so its data and recipe are not known; give a run")
    begun = changed(net.run, overrides)
    same = replace(begun.net, depth=net.spec.depth)
    for part, old, new in (("", net.spec, same), ("recipe.", net.run.recipe, begun.recipe)):
        for key in (f.name for f in fields(old) if part == "" or f.name == "norm"):
            if getattr(old, key) != getattr(new, key):
                raise SpecError(
                    f"{part}{key}={getattr(new, key)}: a copy has that of {net.label}; only its depth can differ"
                )
    if begun.net.depth == net.spec.depth:
        raise SpecError(f"depth={net.spec.depth}: the net has it already; say a greater one, as in depth=56")
    return begun.net.depth, net.folder.path.parent.parent, begun


def proof(label: str, made: "Constructed") -> None:
    """What was compared, and that it is the same."""
    same = "all equal" if not made.differ else f"{made.differ} differ"
    gap = "outputs equal to the bit" if made.gap == 0 else f"largest output difference {made.gap:.1g}"
    errors = ", ".join(f"{split} {percent(error)} %" for split, error in made.errors.items())
    there = " (was there already)" if made.known else ""
    console.print(f"{made.run.run}{there}: copies {label}; {made.images:,} predictions, {same}; {gap}; {errors}")
