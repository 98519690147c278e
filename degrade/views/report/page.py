"""Puts a page together and writes it. The same results give the same bytes."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files as resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from degrade.analysis import curves
from degrade.analysis.compare import Comparison, compare
from degrade.errors import RunError
from degrade.figures.frames import collect
from degrade.spec.differences import name_protocols, tell_differences
from degrade.spec.escape import controls
from degrade.store import files
from degrade.store.parquet import TABLES
from degrade.store.results import Tables, pick_furthest, read_tables, run_dirs
from degrade.views import compare as writing
from degrade.views.report.origins import configurations, origins
from degrade.views.report.plates import Plate, make_plates, shades
from degrade.views.sheets import Sheet, hide_places

if TYPE_CHECKING:
    import pandas as pd

_FILES = resources("degrade.views.report")
_RELOAD = 30  # seconds after which a watched page is read anew


class _Part(NamedTuple):
    """What one protocol has."""

    ident: str
    title: str
    plates: list[Plate]
    sheets: list[Sheet]


def write(roots: Sequence[Path], out: Path, *, private: bool = False, watch: bool = False) -> int:
    """Writes the page about all runs under `roots`, and returns its size in bytes.

    With `private` it keeps places of this machine. With `watch` it says that it is read anew from time to time. Raises
    RunError where no run has been measured yet or `out` is a folder, OSError where it cannot be written.
    """
    if out.is_dir():
        raise RunError(f"--out={out}: is a folder; name a file, as in --out {out / 'report.html'}")
    page = render(roots, private=private, watch=watch).encode()
    files.make_folder(out.parent)
    files.write(out, page)
    return len(page)


def report(*results: Path | str, out: Path | str = "report.html", private: bool = False) -> Path:
    """Writes one HTML page about results folders (default: `results`) and returns its path. Raises as `write` does."""
    page = files.at_home(out)
    write([files.at_home(root) for root in results] or [Path("results")], page, private=private)
    return page


def render(roots: Sequence[Path], *, private: bool = False, watch: bool = False) -> str:
    """The page as text. Raises RunError where no run has been measured yet."""
    places = pick_furthest((folder, folder.read_standing()) for root in roots for folder in run_dirs(root))
    tables = read_tables(places, tuple(TABLES))
    if tables.curves.empty:
        where = ", ".join(map(str, roots))
        raise RunError(f"{where}: no run has a measured point; train one, or wait for its first evaluation")
    found, called = compare(tables), name_protocols(tables.specs.values(), tables.labels())
    sheets = writing.sheets(found, (), called)
    verdicts = [sheet for sheet in sheets if sheet.name == "lines"]
    parts = _divide(tables, sheets, called)
    folders, specs = [folder for folder, _ in places.values()], list(tables.specs.values())
    made: dict[str, Any] = {
        "verdicts": verdicts,
        "parts": parts,
        "runs": _list_runs(tables, found),
        "configurations": configurations(specs, private=private),
        "origins": origins(folders, private=private),
        "data": ", ".join(dict.fromkeys(spec.data.shown for spec in specs)),
    }
    if not private:
        for key in ("verdicts", "runs", "configurations", "origins"):
            made[key] = hide_places(made[key])
        made["parts"] = [part._replace(sheets=hide_places(part.sheets)) for part in parts]
    return _fill(made, [plate for part in parts for plate in part.plates], watch=watch)


def _divide(tables: Tables, sheets: Sequence[Sheet], called: Mapping[str, str]) -> list[_Part]:
    """A part for each protocol: its figures, and the tables whose titles name it; what names none comes last."""
    shown = collect(tables)
    rest = [sheet for sheet in sheets if sheet.name != "lines"]
    parts: list[_Part] = []
    for number, protocol in enumerate(sorted(tables.curves.protocol.unique())):
        own = {name: rows[rows.protocol == protocol] for name, rows in shown.items() if len(rows)}
        title = f"{called[protocol]}, {protocol}" if protocol in called else str(protocol)
        mine = [sheet for sheet in rest if str(protocol) in sheet.title]
        parts.append(_Part(f"p{number}", title, make_plates(own, f"p{number}"), mine))
    known = [str(protocol) for protocol in tables.curves.protocol.unique()]
    others = [sheet for sheet in rest if not any(protocol in sheet.title for protocol in known)]
    return [*parts, *([_Part("rest", "besides", [], others)] if others else [])]


def _list_runs(tables: Tables, found: Comparison) -> list[Sheet]:
    """A row a run: what it is, where it stands, and its errors at the last point."""
    last = curves.last_points(tables.curves)
    errors = last.pivot_table(index="run", columns="split", values="error")
    differs = tell_differences(tables.specs.values())
    rows = [
        (
            *(row["run"], tables.specs[row["run"]].name, str(row["seed"]), differs.get(row["run"], "")),
            *(_say_state(row), f"{row['iteration']:,.0f}" if row.get("iteration") == row.get("iteration") else ""),
            *(_error(errors, row["run"], split) for split in ("train_clean", "train", "test")),
            f"{row['seconds']:,.0f}" if row.get("seconds", float("nan")) == row.get("seconds") else "",
        )
        for row in tables.runs.sort_values(["net", "shortcut", "depth", "seed"], kind="stable").to_dict("records")
    ]
    columns = ("run", "net", ">seed", "differs in", "state", ">iterations", ">clean training error, %")
    columns = (*columns, ">training error, %", ">test error, %", ">seconds")
    note = "Errors at the last point. Clean: training images as they are; training: augmented, while the net changes."
    return [Sheet("all runs", columns, rows, (note,))]


def _say_state(row: Any) -> str:
    outcome = row.get("outcome")
    return (
        f"{row['state']}, {outcome}" if isinstance(outcome, str) and outcome not in ("", row["state"]) else row["state"]
    )


def _error(errors: "pd.DataFrame", run: str, split: str) -> str:
    if run not in errors.index or split not in errors.columns:
        return ""
    value: Any = errors.at[run, split]
    return "" if value != value else f"{value:.2f}"


def _fill(made: Mapping[str, Any], plates: list[Plate], *, watch: bool) -> str:
    """Fills the template. Text is escaped; style and script are named by their checksums, so that no other is run."""
    template, look, script = ((_FILES / name).read_text() for name in ("page.html.j2", "page.css", "page.js"))
    script = "\n".join(line.lstrip() for line in script.splitlines())  # a sixth of it is indentation
    rules = "".join(f".{name}{{stroke:{shade};fill:{shade}}}" for name, shade in shades(plates).items())
    rules += ".hollow{fill:var(--paper)}"
    look += f"\n@media screen and (prefers-color-scheme:dark){{{rules}}}\n"
    house = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_show_controls
    )
    house.filters["plain"] = _plain_json
    words = {
        **made,
        "look": look,
        "script": script,
        "look_sum": _checksum(look),
        "script_sum": _checksum(script),
        "reload": _RELOAD if watch else 0,
        "version": version("degrade"),
    }
    return house.from_string(template).render(words)


def _show_controls(value: Any) -> Any:
    """Text with its control characters escaped; what is HTML already stays."""
    return controls(value, keep="\n") if type(value) is str else value


def _plain_json(value: Any) -> Markup:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _checksum(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
