"""Commands that measure nets which are trained: runs of ours, or anybody's state dict."""

import sys
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from degrade.cli.app import Overrides, Root, app
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
    """Measure the error of trained nets, as in **degrade evaluate --ckpt weights.pth data=cifar10**.

    A run of ours is measured on its own data unless data=... names other; pictures are scaled as its training set was
    unless data.normalize= is given. For a state dict of others data=... is needed. Loading never runs code from a file.
    """
    from degrade import evaluation, screen, sweep, tables, trained

    if not ckpt:
        raise RunError("evaluate: which net? say --ckpt PATH")
    opened = [trained.open_net(path, results=results, net=net, pad=pad) for path in ckpt]
    with aside(json), screen.bar() as note:
        with sweep.hydra():
            asked, given = sweep.data_of(overrides or [])
        rows = [evaluation.evaluate(each, asked, split=split, given_scale=given, note=note) for each in opened]
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
    """Average the softmax outputs of several nets, and show their error beside that of each."""
    from degrade import evaluation, screen, sweep, tables, trained

    overrides = [word for word in runs if "=" in word and not Path(word).exists()]
    paths = [word for word in runs if word not in overrides]
    opened = [trained.open_net(path, results=results, net=net, pad=pad) for path in paths]
    with aside(json), screen.bar() as note:
        with sweep.hydra():
            asked, given = sweep.data_of(overrides)
        found = evaluation.ensemble(opened, asked, split=split, given_scale=given, note=note)
    tables.evaluations([*found.members, found.together], as_json=json)


def aside(json: bool) -> AbstractContextManager[object]:
    """Where JSON is asked for, what is said on the way goes to stderr."""
    return redirect_stdout(sys.stderr) if json else nullcontext()
