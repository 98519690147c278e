"""What commands print: runs before and after, their prices, sizes and deviations from the paper."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from degrade.analysis.deviations import deviations
from degrade.spec import RunSpec
from degrade.store.folder import RunDir, furthest, run_dirs
from degrade.store.state import OVER
from degrade.views.sheets import spread
from degrade.views.terminal import Cell, coloured, console, duration, fill, grid, percent

if TYPE_CHECKING:
    import pandas as pd

    from degrade.experiments.evaluate import Evaluation
    from degrade.sweep.cost import Price

SHOWN = 40  # rows of a long list
SPLITS = ("train", "train_clean", "test")  # whose errors are listed
DONE = ("iteration", "iterations")  # of a state: how far, and of how much
NONE = float("nan")  # a constructed net has no running training error before its first step


def announce(asked: int, specs: Sequence[RunSpec], root: Path) -> None:
    """The expanded list and its count, before anything starts."""
    states = {spec.run: RunDir(root, spec.run).standing() for spec in specs}
    counts = Counter(state["state"] for state in states.values())
    done = sum(counts[state] for state in OVER)
    table = grid("run", "data", ">iterations", "state")
    for spec in specs[:SHOWN]:
        table.add_row(spec.run, spec.data.name, f"{spec.recipe.iterations:,}", coloured(states[spec.run]["state"]))
    console.print(table)
    more(len(specs))
    console.print(
        f"{asked} combinations, {len(specs)} distinct runs, {done} finished, {len(specs) - done} to do in {root}"
    )


def more(rows: int) -> None:
    if rows > SHOWN:
        console.print(f"  ... and {rows - SHOWN} more")


def summary(specs: Sequence[RunSpec], root: Path) -> int:
    """The final errors of the given runs, and the list of those that failed; returns how many."""
    from degrade.analysis import curves
    from degrade.store import folder  # loads pandas

    states = {spec.run: RunDir(root, spec.run).standing() for spec in specs}
    whole = [run for run, state in states.items() if state["state"] != "damaged"]
    tables = folder.load(root, runs=whole, measured=()) if root.is_dir() else None
    if tables is not None and len(tables.curves):
        said = tables.runs.outcome.where(tables.runs.state.isin(OVER), tables.runs.state)
        outcomes = said.groupby(tables.runs.group).agg(lambda each: ", ".join(sorted({*each} - {""})))
        errors(curves.final_errors(tables.curves).assign(outcome=lambda finals: finals.group.map(outcomes)))
        rate = {spec.run: spec.recipe.lr for spec in specs if spec.data.validation}
        if len({*rate.values()}) > 1:
            same = {spec.run: replace(spec, recipe=replace(spec.recipe, lr=0.0)).group for spec in specs}
            measured = tables.curves[tables.curves.run.isin(rate)]
            rates(curves.chosen_rates(measured, same, rate))
    counts = Counter(state["state"] for state in states.values())
    console.print(", ".join(f"{n} {state}" for state, n in sorted(counts.items())) + f"; in {root}")
    return failures(specs, root)


def failures(specs: Sequence[RunSpec], root: Path) -> int:
    """The list of those that failed or cannot be mended, and why; returns how many."""
    states = {spec.run: RunDir(root, spec.run).standing() for spec in specs}
    failed = {run: state for run, state in states.items() if state["state"] in ("failed", "damaged")}
    for run, state in failed.items():
        log = RunDir(root, run).log
        see = f" (see {log})" if log.exists() else ""
        console.print(f"{state['state']}: {run}: {state['reason']}{see}", style="red", soft_wrap=True)
    return len(failed)


def undone(specs: Sequence[RunSpec], root: Path) -> int:
    """Says how many of the runs have neither a result nor a failure, and what goes on with them; returns how many."""
    states = [RunDir(root, spec.run).standing()["state"] for spec in specs]
    left = [state for state in states if state not in (*OVER, "failed", "damaged")]
    if left:
        console.print(f"not done: {len(left)} ({', '.join(sorted({*left}))}); `degrade sweep` goes on with them")
    return len(left)


def errors(finals: "pd.DataFrame") -> None:
    """Errors at the last point of each group, in %: mean over seeds, ± standard deviation where there are several."""
    for protocol, rows in finals.groupby("protocol", sort=False):
        seeds = int(rows.seeds.max())
        title = f"error at the last point, % ({protocol}{f', mean ± std of {seeds} seeds' if seeds > 1 else ''})"
        table = grid("net", "shortcut", ">depth", ">train", ">train, clean", ">test", "")
        table.title, table.title_justify, table.title_style = title, "left", "bold"
        for row in rows.to_dict("records"):
            known = [(row.get(split, NONE), row.get(f"{split}_std", NONE)) for split in SPLITS]
            cells = ["" if mean != mean else spread(mean, std) for mean, std in known]
            table.add_row(row["net"], row["shortcut"], str(row["depth"]), *cells, coloured(row["outcome"]))
        console.print(table)


def rates(chosen: "pd.DataFrame") -> None:
    """The learning rate that validation chose for each net, and its errors."""
    table = grid("net", "shortcut", ">depth", ">lr", ">validation", ">train, clean", ">test")
    table.title, table.title_justify, table.title_style = "rate chosen on validation, errors in %", "left", "bold"
    for row in chosen.to_dict("records"):
        measured = (percent(row[split]) for split in ("val", "train_clean", "test"))
        table.add_row(row["net"], row["shortcut"], str(row["depth"]), f"{row['rate']:g}", *measured)
    console.print(table)


def costs(specs: Sequence[RunSpec]) -> None:
    """Size and work of each distinct net, on pictures of the dataset it is asked for."""
    from degrade import data, nets  # loads torch

    table = grid("net", ">parameters", ">multiply-adds", "of one picture")
    distinct = {spec.net: spec for spec in specs}
    for net in sorted(distinct, key=lambda net: (net.net, net.shortcut, net.depth, net.width)):
        channels, size, classes = data.shape(distinct[net].data)
        cost = nets.cost(net, channels=channels, classes=classes, size=size)
        picture = f"{channels}x{size}x{size}, {classes} classes"
        table.add_row(distinct[net].name, f"{cost.parameters:,}", f"{cost.multiply_adds / 1e6:,.2f} M", picture)
    console.print(table)


def evaluations(rows: Sequence["Evaluation"], *, as_json: bool) -> None:
    """Loss and error of nets, and of nets together."""
    if as_json:
        finite = [{k: v if v == v else None for k, v in asdict(row).items()} for row in rows]  # JSON has no NaN
        print(json.dumps(finite, indent=1))
        return
    named = any(row.net and not row.label.startswith(row.net) for row in rows)  # what nets of others turned out to be
    for data, split, n in dict.fromkeys((row.data, row.split, row.n) for row in rows):
        table = grid("net", *(["found to be"] if named else []), ">iteration", ">loss", ">error, %")
        table.title, table.title_justify, table.title_style = f"{data}, {split}: {n:,} images", "left", "bold"
        for row in (row for row in rows if (row.data, row.split, row.n) == (data, split, n)):
            what = [row.net] if named else []
            done = f"{row.iteration:,}" if row.iteration else ""
            table.add_row(row.label, *what, done, f"{row.loss:.4f}", percent(row.error))
        console.print(table)


def prices(specs: Sequence[RunSpec], root: Path, cost: Mapping[str, "Price"], seconds: float, workers: int) -> None:
    """What each missing run costs, and all of them together."""
    table = grid("run", ">iterations", ">epochs", ">time", ">memory")
    for spec in specs[:SHOWN]:
        price = cost[spec.run]
        row = (spec.run, f"{spec.recipe.iterations:,}", f"{price.epochs:.1f}", duration(price.seconds))
        table.add_row(*row, size(price.memory))
    console.print(table)
    more(len(specs))
    disk = size(sum(price.disk for price in cost.values()))
    console.print(f"{len(specs)} runs to do: about {duration(seconds)} on {workers} workers, {disk} in {root}")


def status(roots: Sequence[Path], *, as_json: bool) -> None:
    """Every run under the roots and how it stands."""
    places = ((folder, folder.standing()) for root in roots for folder in run_dirs(root))
    states: dict[str, dict[str, Any]] = {
        run: {**state, "path": str(folder.path)} for run, (folder, state) in furthest(places).items()
    }
    if as_json:
        print(json.dumps(states, indent=1))
        return
    table = grid("run", "state", ">iteration", ">train", ">clean", ">test", "")
    rows: list[Sequence[Cell]] = []
    for run, state in states.items():
        done = f"{state['iteration']:,}/{state['iterations']:,}" if {*DONE} <= {*state} else ""
        errors = (percent(state.get(f"{split}_error")) for split in ("train", "train_clean", "test"))
        rows.append([run, coloured(state["state"]), done, *errors, state.get("outcome") or ""])
    fill(table, rows)
    console.print(table)
    for run, state in states.items():  # below it: beside numbers there is no room for a sentence
        if state.get("reason") and state["state"] not in OVER:
            console.print(f"{state['state']}: {run}: {state['reason']}", highlight=False, soft_wrap=True)
    counts = Counter(state["state"] for state in states.values())
    console.print(", ".join(f"{n} {state}" for state, n in sorted(counts.items())) or "no runs")


def differences(spec: RunSpec) -> None:
    """In what a run is not the paper's."""
    found = deviations(spec)
    if not found:
        console.print(f"{spec.run}: nothing differs from what the paper says")
        return
    table = grid("key", "paper", "this run", "source")
    table.columns[-1].no_wrap = False
    for deviation in found:
        table.add_row(*deviation)
    console.print(table)


def size(count: float) -> str:
    """1.5 MB: powers of 1,000."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
