"""Commands that open nets which are trained: runs of ours, or anybody's state dict."""

import sys
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from degrade.cli.app import Overrides, Root, app, command, figures_in, say, told_apart
from degrade.cli.app import out as tell
from degrade.errors import RunError

Ckpt = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATH",
        help="A run (its folder, or how its name begins), a checkpoint, or a state dict: .pt, .pth, .th, .safetensors. "
        "Repeatable.",
    ),
]
Net = Annotated[
    str | None, typer.Option(metavar="plain|residual", help="What a state dict of others is, where no tensor tells.")
]
Pad = Annotated[str, typer.Option(metavar="after|split", help="Where option A's zeros go in nets of others.")]
Split = Annotated[str, typer.Option(metavar="train|test|val", help="The pictures to measure on, without augmentation.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


@app.command()
def evaluate(
    overrides: Overrides = None,
    ckpt: Ckpt = None,
    net: Net = None,
    pad: Pad = "after",
    split: Split = "test",
    results: Root = Path("results"),
    json: Json = False,
) -> None:
    """Measure the error of trained nets on any pictures. As in `degrade evaluate --ckpt weights.pth data=cifar10`.

    A run of ours is measured on its own data unless data=... names other; pictures are scaled as its training set was
    unless data.normalize= is given. For a state dict of others data=... is needed. Loading never runs code from a file.
    """
    from degrade.experiments import evaluate, trained
    from degrade.sweep import expand
    from degrade.views import tables, terminal

    if not ckpt:
        raise RunError("evaluate: which net? say --ckpt PATH")
    opened = [trained.open_net(path, results=results, net=net, pad=pad) for path in ckpt]
    with aside(json), terminal.bar() as note:
        with expand.hydra():
            asked, given = expand.data_of(overrides or [])
        rows = [evaluate.evaluate(each, asked, split=split, given_scale=given, note=note) for each in opened]
    tables.evaluations(rows, as_json=json)


@app.command()
def ensemble(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN RUN... [KEY=VALUE]...", help="Nets, as --ckpt of evaluate.")
    ],
    net: Net = None,
    pad: Pad = "after",
    split: Split = "test",
    results: Root = Path("results"),
    json: Json = False,
) -> None:
    """Average the outputs of several nets, as one. Their error is shown beside that of each."""
    from degrade.experiments import evaluate, trained
    from degrade.sweep import expand
    from degrade.views import tables, terminal

    paths, overrides = told_apart(runs)
    opened = [trained.open_net(path, results=results, net=net, pad=pad) for path in paths]
    with aside(json), terminal.bar() as note:
        with expand.hydra():
            asked, given = expand.data_of(overrides)
        found = evaluate.ensemble(opened, asked, split=split, given_scale=given, note=note)
    tables.evaluations([*found.members, found.together], as_json=json)


def aside(json: bool) -> AbstractContextManager[object]:
    """Where JSON is asked for, what is said on the way goes to stderr."""
    return redirect_stdout(sys.stderr) if json else nullcontext()


@app.command()
def responses(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[RESULTS|data.KEY=VALUE]...", show_default="results")
    ] = None,
    ckpt: Ckpt = None,
    over: Annotated[
        str, typer.Option(help="pooled: std over images, channels, positions; channel: of each channel, then the mean")
    ] = "pooled",
    split: Annotated[str, typer.Option(metavar="train|test", help="The pictures, without augmentation.")] = "test",
    bn: Annotated[str, typer.Option(help="Statistics of batch norm: running (evaluation mode) or batch")] = "running",
    batch: Annotated[int | None, typer.Option(help="Images at once; default with --bn batch: the run's batch")] = None,
    net: Net = None,
    pad: Pad = "after",
    out: Annotated[Path | None, typer.Option(help="Folder for the figures; default: figures/ in RESULTS")] = None,
) -> None:
    """Measure and draw the responses of all layers, as in Figure 7.

    Of the runs under RESULTS that have a checkpoint, or of the nets named by --ckpt, which are drawn together. The
    numbers stay in the folder of each run, as responses.parquet and blocks.parquet; those of other nets, or on other
    data, beside the figures.
    """
    from degrade import figures
    from degrade.experiments import analyses, responses

    view, (words, overrides) = figures.View(over=over), told_apart(arguments or [])
    roots, under = [Path(word) for word in words or ["results"]], responses.Under(split=split, bn=bn, batch=batch)
    sources = analyses.Sources(ckpts=tuple(ckpt or ()), roots=tuple(roots), net=net, pad=pad)
    measured, root = analyses.responses(sources, under, overrides)
    shown, folder = {"responses": measured.layers, "blocks": measured.blocks}, figures_in(out, root)
    for path in responses.keep(measured, folder):
        tell(path)
    raise typer.Exit(say(figures.save(shown, None, folder, view, mix=bool(ckpt), command=command())))


@app.command()
def construct(
    overrides: Overrides = None,
    ckpt: Ckpt = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Identities to the bit under running statistics, not made for training")
    ] = False,
    train: Annotated[bool, typer.Option("--train", help="Train it on, by the recipe of the run")] = False,
    results: Root = Path("results"),
) -> None:
    """Make a deeper net that computes what a trained one does. As in `degrade construct --ckpt RUN depth=56`.

    Its layers are copies and identities (Sec. 1). That predictions agree is shown on every image, and the net is stored
    as a run of its own. KEY=VALUE changes how it is trained on, as in recipe.iterations=900.
    """
    from degrade.experiments import analyses

    if not ckpt:
        raise RunError("construct: a copy of which run? say --ckpt RUN")
    sources = analyses.Sources(ckpts=tuple(ckpt), roots=(results,))
    raise typer.Exit(analyses.construct(sources, overrides or [], exact=exact, then_train=train, command=command()))
