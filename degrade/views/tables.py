"""Sheets about runs: before and after a sweep, their states, and how they differ from the paper."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from degrade.analysis.deviations import Deviation, deviations
from degrade.spec import RunSpec
from degrade.spec.differences import name_protocols, tell_differences
from degrade.store.folder import RunDir
from degrade.store.state import BROKEN, FINISHED, MIXED, ONE, UNKNOWN, Board, State
from degrade.views.board import order
from degrade.views.sheets import Sheet, mean_and_std, name_data, records_of
from degrade.views.steps import count_hidden, most_rows
from degrade.views.terminal import percent

if TYPE_CHECKING:
    import pandas as pd

    from degrade.store.results import Tables

_LINES_SHOWN = 12  # of what follows for lines of nets; `degrade compare` shows all
_ERROR_SPLITS = ("train", "train_clean", "test")  # splits whose errors are shown after a sweep
_RATE_SPLITS = ("val", "train_clean", "test")  # splits whose errors stand beside a chosen rate
# table -> column -> what it means, with its unit
COLUMNS = {
    "runs": {
        "run": "name of the run",
        "data": "name of the dataset",
        "differs": "values in which the runs differ, beside what their names say",
        "iterations": "SGD steps of the whole schedule",
        "state": "new | running | interrupted | failed | damaged | finished | diverged | constructed",
    },
    "errors": {
        "protocol": "groups that may be compared",
        "group": "runs that differ in nothing but the seed",
        "net": "plain | residual | highway",
        "shortcut": "A | B | C | none",
        "depth": "weighted layers",
        "width": "channels of the first stage",
        **{f"{split}": f"error on the split {split} at the last point, mean over seeds, %" for split in _ERROR_SPLITS},
        **{f"{split}_std": f"standard deviation of {split} over seeds (n - 1), points" for split in _ERROR_SPLITS},
        "seeds": "runs that this is of",
        "outcome": "how the runs ended",
    },
    "rates": {
        "net": "plain | residual | highway",
        "shortcut": "A | B | C | none",
        "depth": "weighted layers",
        "lr": "the learning rate with the least validation error",
        "val": "validation error at the last point, mean over seeds, %",
        "train_clean": "clean training error, likewise, %",
        "test": "test error, likewise, %",
    },
    "failures": {
        "run": "name of the run",
        "state": "failed | damaged",
        "reason": "why",
        "log": "what the training printed; null where there is no log",
    },
    "recipe-diff": {
        "key": "in which the run is not the paper's",
        "paper": "what the paper has",
        "run": "what the run has",
        "source": "where the paper says so, or how that is known",
    },
}


def runs(asked: int, specs: Sequence[RunSpec], board: Board, root: Path, *, brief: bool = False) -> Sheet:
    """The runs of a sweep and their count, before a run starts. `brief`: the count alone, for a table follows."""
    done = sum(state.over for state in board.values())
    differs = tell_differences(specs)
    records = [
        {
            "run": _name_planned(s),
            "data": s.data.name,
            "differs": differs[s.run],
            "iterations": s.recipe.iterations,
            "state": board[s.run].name,
        }
        for s in specs
    ]
    shown = specs[: most_rows()]
    rows = [(_name_planned(s), s.data.shown, f"{s.recipe.iterations:,}", board[s.run].name) for s in shown]
    columns, rows = _add_differs(("run", "data", ">iterations", "state"), rows, [differs[s.run] for s in specs])
    count = f"{asked} combinations, {len(specs)} distinct runs, {done} finished, {len(specs) - done} to do in {root}"
    return Sheet(
        columns=() if brief else columns,
        rows=() if brief else rows,
        lines=(*(() if brief else count_hidden(len(specs))), count, *_tell_unseen(specs)),
        name="runs",
        records=records,
    )


def _name_planned(spec: RunSpec) -> str:
    """The name of a run. A ? stands for the hash in it where that waits for the pictures."""
    return spec.run if spec.data.content else f"{spec.name}-s{spec.seed}-?"


def _tell_unseen(specs: Sequence[RunSpec]) -> list[str]:
    """That pictures are not here yet, and what of the list waits for them."""
    names = sorted({spec.data.name for spec in specs if not spec.data.content})
    said = "not looked at yet, so names lack their hashes, and runs that are trained already count as new"
    return [f"the pictures of data={', '.join(names)} are {said}"] if names else []


def _add_differs(
    columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], differs: Sequence[str]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Puts what runs differ in behind their names, the first column; nothing where names say all."""
    if not any(differs):
        return columns, [*rows]
    return (columns[0], "differs", *columns[1:]), [
        (row[0], said, *row[1:]) for row, said in zip(rows, differs, strict=False)
    ]


def ends(specs: Sequence[RunSpec], board: Board, root: Path, seeded: str = "") -> list[Sheet]:
    """What follows for each line of nets; the errors of the runs that are over; how many runs are in each state, and
    which runs failed.

    A run that was interrupted stands at no end: its error would be averaged with those of whole trainings. `seeded` is
    a command that trains several seeds, for sweeps of single ones.
    """
    from degrade.analysis import curves  # loads pandas
    from degrade.store.results import list_labels, read_tables

    tables = read_tables({run: (RunDir(root, run), state) for run, state in sorted(board.items()) if state.over})
    sheets: list[Sheet] = []
    if len(tables.curves):
        sheets += _answer_sheets(specs, board, tables, seeded)
        outcomes = tables.runs.outcome.groupby(tables.runs.group).agg(lambda each: ", ".join(sorted({*each} - {""})))
        sheets += _error_sheets(
            curves.final_errors(tables.curves).assign(outcome=lambda finals: finals.group.map(outcomes))
        )
        rate = {spec.run: spec.recipe.lr for spec in specs if spec.data.validation}
        if len({*rate.values()}) > 1:
            same = {spec.run: replace(spec, recipe=replace(spec.recipe, lr=0.0)).group for spec in specs}
            measured = tables.curves[tables.curves.run.isin(rate)]
            sheets.append(_rate_sheet(curves.chosen_rates(measured, same, rate)))
    return [
        *name_data(sheets, name_protocols(specs, list_labels(specs))),
        Sheet(lines=(_count_ends(board, root),)),
        failures(board, root),
    ]


def _answer_sheets(specs: Sequence[RunSpec], board: Board, tables: "Tables", seeded: str) -> list[Sheet]:
    """What follows for each line of several depths. Says how many runs of it are not over."""
    import pandas as pd

    from degrade.analysis.compare import answer
    from degrade.views.answers import answers, only_single

    waits = [spec for spec in specs if not board[spec.run].over]
    rows = [{**spec.labels(), "state": board[spec.run].name, "outcome": "", "reason": ""} for spec in waits]
    known = tables._replace(
        runs=pd.concat([tables.runs, pd.DataFrame(rows)]) if rows else tables.runs,
        specs=tables.specs | {spec.run: spec for spec in waits},
    )
    found = answer(known)
    lines = found.lines[found.lines.verdict != ""]
    sheets = answers(lines.head(_LINES_SHOWN), found.verdicts)
    said = (
        [f"{len(lines) - _LINES_SHOWN} more lines: `degrade compare` tells them"] if len(lines) > _LINES_SHOWN else []
    )
    if seeded and only_single(lines):
        said.append(f"Several seeds, for a verdict: {seeded}")
    return [*sheets, *([Sheet(lines=tuple(said))] if said else [])]


def _count_states(states: Iterable[str]) -> str:
    """2 finished, 1 running."""
    return ", ".join(f"{n} {state}" for state, n in sorted(Counter(states).items()))


def _count_ends(board: Board, root: Path) -> str:
    """8 of 8 runs finished in results/. Other states, where there are any, stand behind."""
    names = [state.name for state in board.values()]
    done = names.count(FINISHED)
    others = _count_states(name for name in names if name != FINISHED)
    return f"{done} of {len(names)} runs finished in {root}/" + (f"; {others}" if others else "")


def failures(board: Board, root: Path) -> Sheet:
    """The failed and damaged runs, and why."""
    records: list[dict[str, str | None]] = []
    lines: list[str] = []
    for run, state in ((run, state) for run, state in board.items() if state.name in BROKEN):
        log = RunDir(root, run).log
        there = str(log) if log.exists() else None
        records.append({"run": run, "state": state.name, "reason": state.reason, "log": there})
        lines.append(f"{state.name}: {run}: {state.reason}" + (f" (see {there})" if there else ""))
    return Sheet(lines=tuple(lines), name="failures", records=records)


def unfinished_states(board: Board) -> list[str]:
    """The states of the runs that have neither a result nor a failure."""
    return sorted(state.name for state in board.values() if not (state.over or state.broken))


def remainder(board: Board) -> Sheet:
    """How many runs have neither a result nor a failure, and which command goes on with them."""
    names = unfinished_states(board)
    said = f"not done: {len(names)} ({', '.join(sorted({*names}))}); the same command goes on with them"
    return Sheet(lines=(said,) if names else ())


def _error_sheets(finals: "pd.DataFrame") -> list[Sheet]:
    """The errors (%) of each group at the last point: mean over seeds, ± standard deviation if there are several."""
    sheets: list[Sheet] = []
    for protocol, rows in finals.groupby("protocol", sort=False):
        seeds = int(rows.seeds.max())
        title = f"error at the last point, % ({protocol}{f', mean ± std of {seeds} seeds' if seeds > 1 else ''})"
        records = records_of(rows.reindex(columns=list(COLUMNS["errors"])), COLUMNS["errors"])
        cells: list[tuple[str, ...]] = []
        for row in records:
            known = [(row[split], row[f"{split}_std"]) for split in _ERROR_SPLITS]
            said = ["" if mean != mean else mean_and_std(mean, std) for mean, std in known]
            cells.append((row["net"], row["shortcut"], str(row["depth"]), *said, row["outcome"]))
        columns = ("net", "shortcut", ">depth", ">train", ">train, clean", ">test", "")
        sheets.append(Sheet(title, columns, cells, name="errors", records=records))
    return sheets


def _rate_sheet(chosen: "pd.DataFrame") -> Sheet:
    """The learning rate that validation chose for each net, and its errors."""
    found = records_of(chosen.rename(columns={"rate": "lr"}), COLUMNS["rates"])
    rows = [
        (
            *(row["net"], row["shortcut"], str(row["depth"]), f"{row['lr']:g}"),
            *(percent(row[key]) for key in _RATE_SPLITS),
        )
        for row in found
    ]
    columns = ("net", "shortcut", ">depth", ">lr", ">validation", ">train, clean", ">test")
    return Sheet("rate chosen on validation, errors in %", columns, rows, name="rates", records=found)


def status(
    places: Mapping[str, tuple[RunDir, State]], specs: Iterable[RunSpec] = (), sparks: Mapping[str, str] | None = None
) -> Sheet:
    """The state of every run, by depth. Records hold state.json, the run and its folder; `sparks` are small curves."""
    specs, sparks = list(specs), sparks or {}
    known = order({spec.run: spec for spec in specs if spec.run in places})
    places = {run: places[run] for run in (*known, *(run for run in places if run not in {*known}))}
    rows: list[tuple[str, ...]] = []
    for run, (_, state) in places.items():
        whole = state.iteration is not None and state.iterations is not None
        done = f"{state.iteration:,}/{state.iterations:,}" if whole else ""
        errors = map(percent, (state.train_error, state.train_clean_error, state.test_error))
        marks = (state.outcome, MIXED if state.machine == MIXED else "")
        spark = (sparks.get(run, ""),) if sparks else ()
        rows.append((run, state.name, done, *errors, *spark, ", ".join(filter(None, marks))))
    states = [state for _, state in places.values()]
    why = [f"{s.name}: {run}: {s.reason}" for run, (_, s) in places.items() if s.reason]
    differs = tell_differences(specs)
    heads = ("run", "state", ">iteration", ">train", ">clean", ">test", *(("clean over time",) if sparks else ()), "")
    columns, rows = _add_differs(heads, rows, [differs.get(run, "") for run in places])
    return Sheet(
        columns=columns,
        rows=rows,
        lines=(*why, _count_states(state.name for state in states) or "no runs"),
        name="status",
        records=[
            {"run": run, "differs": differs.get(run, ""), **state.tree(), "path": str(folder.path)}
            for run, (folder, state) in places.items()
        ],
    )


def differences(spec: RunSpec, state: State) -> Sheet:
    """How a run differs from the paper, and what computed it."""
    found, machine = deviations(spec), state.machine or UNKNOWN
    computed = f"computed by ({machine}): {state.computed_by or 'state.json does not say, as of an older degrade'}"
    if machine != ONE:
        found.append(Deviation("machine", "not mentioned", machine, "other machines have other last bits"))
    records = [each._asdict() for each in found]
    if not found:
        nothing = f"{spec.run}: nothing differs from what the paper says"
        return Sheet(lines=(nothing, computed), name="recipe-diff")
    columns = ("key", "paper", "this run", "source")
    return Sheet(columns=columns, rows=found, lines=(computed,), name="recipe-diff", records=records)


def size(count: float) -> str:
    """A number of bytes in words, in powers of 1,000: 1.5 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
