"""docs/tables.md and llms.txt, from what the code says. `python tests/tables.py` writes them anew."""

from places import ROOT

from degrade.analysis.compare import COLUMNS as COMPARED
from degrade.bench.writing import COLUMNS as TIMED
from degrade.cli.guide import write_guide
from degrade.cli.sheets import SHEET_COLUMNS as OPENED
from degrade.experiments.doctor import DOCTOR_COLUMNS as EXAMINED
from degrade.sweep.price import COST_COLUMNS as PRICED
from degrade.views.keys import KEY_COLUMNS as KEYS
from degrade.views.power import COLUMNS as SHOWN
from degrade.views.responses import COLUMNS as RESPONSES
from degrade.views.tables import COLUMNS as LISTED

PAGE, GUIDE = ROOT / "docs" / "tables.md", ROOT / "llms.txt"
HEAD = """# The tables that commands print

Every command that prints a table takes `--format`. `table` is for people at a terminal, `markdown` and `latex` are for
papers, `json` and `csv` for programs. `--json` is short for `--format json`.

In JSON and CSV a row holds numbers as they are, not as they are printed. A number that is not finite is `null` in JSON,
and `inf`, `-inf` or nothing in CSV. What a command says besides its tables goes to stderr in these two.

JSON is an object: the name of each table, and the list of its rows. A command with one table prints the list alone
(`evaluate`, `ensemble`, `nets`, `keys`, `doctor`, `recipe-diff`, `identity`, `verify`); `status` prints an object by
run, with the keys of `state.json` and `path`; `bench` prints its whole report. CSV is one table: the first that is
named below for a command.

| command | tables |
|---|---|
| `sweep`, `train` | `errors`, `lines`, `runs`, `rates`, `failures`; with `--dry-run` `runs` |
| `rerun` | `errors`, `failures` |
| `plan` | `costs`, `runs`; with `--power` `power` |
| `status` | `status` |
| `verify` | `verified` |
| `compare` | `verdicts`, or what `--table` names |
| `responses` | `responses` |
| `evaluate`, `ensemble` | `evaluations`; with `--by-class` also `by_class` |
| `construct` | `constructed`; with `--train` or `--control` also `errors`, `failures` |
| `identity` | `identity` |
| `nets` | `nets` |
| `keys` | `keys` |
| `doctor` | `doctor` |
| `recipe-diff` | `recipe-diff` |
| `bench` | `loops`, `sameness`, `exactness`; with `--check` `sameness`, `exactness` |
"""
STATUS = {
    "run": "name of the run",
    "differs": "values in which the runs differ, beside what their names say",
    "path": "its folder",
    "state": "new | running | interrupted | failed | damaged | finished | diverged | constructed",
    "reason": "why it failed or is damaged",
    "outcome": "diverged | not started | nothing",
    "iteration": "SGD steps done",
    "iterations": "of the whole schedule",
    "epoch": "passes over the training set",
    "lr": "learning rate of the last step",
    "seconds": "of training and evaluation so far",
    "images_per_second": "training images per second at the last point",
    "train_error": "running training error at the last point, %; so are the next three, of their splits",
    "train_clean_error": "clean training error, %",
    "test_error": "test error, %",
    "val_error": "validation error, %",
    "backend": "that trains it",
    "layout": "of tensors in training: contiguous | channels_last ([performance.md](performance.md))",
    "machine": "one | mixed | unknown: whether the same processor, torch and kernels computed all steps",
    "computed_by": "processor, torch and kernels, by iteration",
    "warmup": "on | none | why it ended",
    "warmup_until": "the iteration at which the warm-up ended; null while it is on",
    "host": "that wrote this last",
    "pid": "the process that wrote this last",
    "holder": "that process: boot and namespace, number, start, a random token",
    "heartbeat": "its last sign of life, in seconds since 1970",
    "format": "of state.json",
    "seals": "of a run that is over: name of a file -> the checksum that it holds",
}
TABLES = {
    **LISTED,
    "costs": PRICED,
    "power": SHOWN,
    "keys": KEYS,
    "doctor": EXAMINED,
    "status": STATUS,
    "responses": RESPONSES,
    **OPENED,
    **TIMED,
}


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    groups = {"## Tables": TABLES, "## Tables of `degrade compare`": COMPARED}
    for title, tables in groups.items():
        parts.append(title + "\n")
        for name, columns in tables.items():
            rows = "\n".join(
                f"| `{column}` | {meaning.replace('|', chr(92) + '|')} |" for column, meaning in columns.items()
            )
            parts.append(f"### `{name}`\n\n| column | meaning |\n|---|---|\n{rows}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
    GUIDE.write_text(write_guide() + "\n")
