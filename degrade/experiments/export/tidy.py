"""All curves in one tidy CSV file: a row a measurement, with the labels of its run and where the run stands."""

import io
from pathlib import Path

from degrade.errors import RunError
from degrade.spec.escape import formula
from degrade.store import files
from degrade.store.results import Tables

_STANDING = ["state", "outcome"]  # of the run, from its state.json


def write_csv(tables: Tables, out: Path) -> int:
    """Writes the curves to `out` and returns the number of rows. Columns are those of degrade.spec.rows.CURVE, then
    `state` and `outcome` of the run. Text that a spreadsheet would compute is made harmless.

    Raises RunError where nothing was measured yet or `out` is a folder, OSError where it cannot be written.
    """
    if tables.curves.empty:
        raise RunError("export: no run has a measured point; train one, or wait for its first evaluation")
    if out.is_dir():
        raise RunError(f"--out={out}: is a folder; name a file, as in --out {out / 'curves.csv'}")
    rows = tables.curves.merge(tables.runs[["run", *_STANDING]], on="run", validate="many_to_one")
    rows = rows.sort_values(["run", "split", "iteration"], kind="stable")
    for name in rows.select_dtypes(["object", "string"]).columns:
        rows[name] = rows[name].map(formula)
    sink = io.StringIO()
    rows.to_csv(sink, index=False, lineterminator="\n")
    files.make_folder(out.parent)
    files.write(out, sink.getvalue().encode())
    return len(rows)
