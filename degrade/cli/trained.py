"""Commands that open trained nets: runs of ours, their checkpoints, and anybody's state_dict."""

from pathlib import Path
from typing import Annotated

import typer

from degrade.cli.app import Overrides, app, command, say

Ckpt = Annotated[
    list[Path] | None,
    typer.Option("--ckpt", help="A run folder, a checkpoint of ours, or anybody's state_dict; repeatable."),
]
Net = Annotated[str | None, typer.Option(help="What a foreign state_dict is: plain or residual.")]
Pad = Annotated[str, typer.Option(help="Option A's zeros in a foreign net: after or split.")]
Data = Annotated[list[str] | None, typer.Argument(metavar="[data.KEY=VALUE]...", show_default="the run's own data")]
Json = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


@app.command()
def responses(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[RESULTS|data.KEY=VALUE]...", show_default="results")
    ] = None,
    ckpt: Ckpt = None,
    over: Annotated[
        str, typer.Option(help="pooled: std over images, channels, positions; channel: of each channel, then the mean")
    ] = "pooled",
    split: Annotated[str, typer.Option(help="train or test images")] = "test",
    bn: Annotated[str, typer.Option(help="Statistics of batch norm: running (evaluation mode) or batch")] = "running",
    batch: Annotated[int | None, typer.Option(help="Images at once; default with --bn batch: the run's batch")] = None,
    net: Net = None,
    pad: Pad = "after",
    out: Annotated[Path | None, typer.Option(help="Folder for the figures; default: figures/ in RESULTS")] = None,
) -> None:
    """Measure the responses of every 3x3 layer and block, and draw Fig. 7.

    Of the runs under RESULTS that have a checkpoint, or of the nets named by --ckpt, which are drawn together. The
    numbers stay in the folder of each run, as responses.parquet and blocks.parquet; of other nets, beside the figures.
    """
    from degrade import analyses, anatomy, figures

    view, words = figures.View(over=over), arguments or []
    overrides = [word for word in words if "=" in word]
    roots = [Path(word) for word in words if "=" not in word] or [Path("results")]
    under = anatomy.Under(split=split, bn=bn, batch=batch)
    sources = analyses.Sources(ckpts=tuple(ckpt or ()), roots=tuple(roots), net=net, pad=pad)
    measured = analyses.responses(sources, under, overrides)
    shown, folder = {"responses": measured.layers, "blocks": measured.blocks}, out or roots[0] / "figures"
    failed = say(figures.save(shown, None, folder, view, mix=bool(ckpt), command=command()))
    for path in anatomy.keep(measured, folder):
        print(path)
    raise typer.Exit(failed)


@app.command()
def construct(
    overrides: Overrides = None,
    ckpt: Ckpt = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Identities to the bit under running statistics, not made for training")
    ] = False,
    train: Annotated[bool, typer.Option("--train", help="Train it on, by the recipe of the run")] = False,
) -> None:
    """Make a deeper net that computes what a trained run does: **degrade construct --ckpt RUN depth=56**.

    Its layers are copies and identities (Sec. 1). That predictions agree is shown on every image, and the net is stored
    as a run of its own. KEY=VALUE changes how it is trained on, as in recipe.iterations=900.
    """
    from degrade import analyses

    sources = analyses.named(ckpt)
    raise typer.Exit(analyses.construct(sources, overrides or [], exact=exact, then_train=train, command=command()))


@app.command()
def evaluate(
    overrides: Data = None,
    ckpt: Ckpt = None,
    split: Annotated[str, typer.Option(help="test, train or val.")] = "test",
    net: Net = None,
    pad: Pad = "after",
    json: Json = False,
) -> None:
    """Print the error of trained nets, on their own data or on another dataset.

    **degrade evaluate --ckpt resnet20.th --net residual data=cifar10 data.normalize=channel** takes anybody's net
    of the CIFAR family. Runs of ours see pixels by the statistics of their own training images, unless data.normalize=
    says otherwise. Nothing in a file is run.
    """
    from degrade import analyses

    analyses.evaluate(analyses.named(ckpt, net, pad), overrides or [], split, as_json=json)


@app.command()
def ensemble(
    arguments: Annotated[list[str], typer.Argument(metavar="RUN RUN ... [data.KEY=VALUE]...", show_default=False)],
    split: Annotated[str, typer.Option(help="test, train or val.")] = "test",
    net: Net = None,
    pad: Pad = "after",
    json: Json = False,
) -> None:
    """Average the softmax outputs of several nets: their error beside that of each member."""
    from degrade import analyses

    members = [Path(word) for word in arguments if "=" not in word]
    overrides = [word for word in arguments if "=" in word]
    analyses.ensemble(analyses.named(members, net, pad), overrides, split, as_json=json)
