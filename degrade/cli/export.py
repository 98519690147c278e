"""The command that writes results for other programs."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from degrade.cli.app import app, tell, tell_apart
from degrade.errors import SpecError

_KINDS = ("csv", "tensorboard", "safetensors")


@app.command()
def export(
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[RESULTS|NET]... [data.KEY=VALUE]...", show_default="results")
    ] = None,
    to: Annotated[str, typer.Option("--to", metavar="csv|tensorboard|safetensors", help="What to write.")] = "",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="csv: a file. tensorboard, safetensors: a folder.")
    ] = None,
) -> None:
    """Write results for other programs: all curves as one CSV file, curves for TensorBoard, or nets as safetensors.

    safetensors writes the nets of all runs that have a checkpoint, or the nets that are named, each in a folder with
    its tensors, a program for plain PyTorch, config.json and a model card. KEY=VALUE says which pictures a net is for,
    where it cannot say it itself. docs/export.md shows how each is read. Nothing written names a place or user here.
    """
    if to not in _KINDS:
        raise SpecError(f"--to={to}: must be csv, tensorboard or safetensors, as in --to csv -o curves.csv")
    if out is None:
        raise SpecError(f"export: say where to, as in -o {'curves.csv' if to == 'csv' else to}")
    named, keys = tell_apart(overrides or [])
    if to == "safetensors":
        _write_nets(named, keys, out)
        return
    if keys:
        raise SpecError(f"{keys[0]}: --to {to} takes results folders alone; leave it out")
    from degrade.store.results import load
    from degrade.views.steps import tell_next

    tables = load(*(named or ["results"]), measured=())
    if to == "csv":
        from degrade.experiments.export.tidy import write_csv

        tell(f"{out}: {write_csv(tables, out):,} rows of {tables.curves.run.nunique()} runs")
        tell_next("table", f"read {out} with any program; docs/export.md names the columns")
        return
    from degrade.experiments.export.events import write_events

    folders = write_events(tables, out)
    tell(f"{out}: {len(folders)} runs")
    tell_next("table", f"tensorboard --logdir {shlex.quote(str(out))}")


def _write_nets(named: list[str], keys: list[str], out: Path) -> None:
    """Writes a folder for each net."""
    from degrade.experiments import trained
    from degrade.experiments.export.bundle import write_net
    from degrade.sweep import expand
    from degrade.views.steps import tell_next
    from degrade.views.terminal import bar

    nets, roots = trained.sort_words(named)
    with bar() as note:
        with expand.hydra():
            asked, given = expand.compose_data(keys)
        opened = trained.Sources(nets=tuple(nets), roots=tuple(roots)).open(
            trained.choose_measuring(asked, given, note)
        )
        made = [write_net(net, trained.pictures(net, asked, given_scale=given, note=note), out) for net in opened]
    for each in made:
        tell(f"{each.folder}: {each.size / 1e6:.1f} MB")
    tell_next("table", "README.md in each folder says how to load the net")
