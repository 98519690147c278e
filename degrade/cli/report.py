"""The command that writes one page about results."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from degrade.cli.app import Private, Roots, app, tell

_EVERY = 20.0  # seconds between two pages while runs train


@app.command()
def report(
    results: Roots = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The page; default: report.html in the first of RESULTS.")
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Write it anew while runs train; an open page reads itself anew.")
    ] = False,
    private: Private = False,
) -> None:
    """Write one HTML page about the runs under RESULTS: what follows, figures, tables, configurations, commands.

    The page needs no network and no other file, and works without script. It says nothing of this machine's paths, host
    and user.
    """
    from degrade.views.report import write
    from degrade.views.steps import tell_next

    roots = results or [Path("results")]
    page = out or roots[0] / "report.html"
    while watch:
        write(roots, page, private=private, watch=True)
        if not trains(roots):
            break
        time.sleep(_EVERY)
    size = write(roots, page, private=private)
    tell(f"{page}: {size / 1000:,.0f} kB")
    tell_next("table", f"open {page} in a browser")


def trains(roots: Sequence[Path]) -> bool:
    """Whether a run under these folders is at work."""
    from degrade.store.results import run_dirs

    return any(folder.read_standing().name == "running" for root in roots for folder in run_dirs(root))
