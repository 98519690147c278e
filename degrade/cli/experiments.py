"""Commands that open trained nets: runs of ours, or anybody's state dict."""

from pathlib import Path
from typing import Annotated

import typer

from degrade.cli.app import (
    Form,
    Json,
    Overrides,
    Private,
    Root,
    app,
    choose_figure_folder,
    choose_format,
    command_line,
    say,
    tell,
    tell_apart,
)
from degrade.errors import RunError, Stopped

_Ckpt = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATH",
        help="A run (its folder, or how its name begins), a checkpoint, or a state dict: .pt, .pth, .th, .safetensors. "
        "Repeatable.",
    ),
]
_Net = Annotated[
    str | None,
    typer.Option(metavar="plain|residual", help="What a state dict of others is, where its tensors do not say."),
]
_Pad = Annotated[str, typer.Option(metavar="after|split", help="Where option A's zeros go in nets of others.")]
_Split = Annotated[
    str, typer.Option(metavar="train|test|val", help="The pictures to measure on, without augmentation.")
]


@app.command()
def evaluate(
    overrides: Overrides = None,
    ckpt: _Ckpt = None,
    net: _Net = None,
    pad: _Pad = "after",
    split: _Split = "test",
    results: Root = Path("results"),
    form: Form = "table",
    json: Json = False,
) -> None:
    """Measure the error of trained nets on any pictures. As in `degrade evaluate --ckpt weights.pth data=cifar10`.

    A run of ours is measured on its own data unless data=... names others. Pictures are scaled as its training set
    was, unless data.normalize= is given. A state dict of others needs data=... Loading never runs code from a file.
    """
    from degrade.cli.sheets import evaluations
    from degrade.experiments import evaluate, trained
    from degrade.sweep import expand
    from degrade.views.terminal import answer, bar

    if not ckpt:
        raise RunError("evaluate: which net? say --ckpt PATH")
    with answer(choose_format(form, json)) as show, bar() as note:
        opened = [trained.open_net(path, results=results, net=net, pad=pad) for path in ckpt]
        with expand.hydra():
            asked, given = expand.compose_data(overrides or [])
        rows = [evaluate.evaluate(each, asked, split=split, given_scale=given, note=note) for each in opened]
        show(evaluations(rows))


@app.command()
def ensemble(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN RUN... [KEY=VALUE]...", help="Nets, as --ckpt of evaluate.")
    ],
    net: _Net = None,
    pad: _Pad = "after",
    split: _Split = "test",
    results: Root = Path("results"),
    form: Form = "table",
    json: Json = False,
) -> None:
    """Average the outputs of several nets. Their joint error is shown beside the error of each."""
    from degrade.cli.sheets import evaluations
    from degrade.experiments import evaluate, trained
    from degrade.sweep import expand
    from degrade.views.terminal import answer, bar

    paths, overrides = tell_apart(runs)
    with answer(choose_format(form, json)) as show, bar() as note:
        opened = [trained.open_net(path, results=results, net=net, pad=pad) for path in paths]
        with expand.hydra():
            asked, given = expand.compose_data(overrides)
        found = evaluate.ensemble(opened, asked, split=split, given_scale=given, note=note)
        show(evaluations([*found.members, found.together]))


@app.command()
def responses(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[RESULTS|data.KEY=VALUE]...", show_default="results")
    ] = None,
    ckpt: _Ckpt = None,
    over: Annotated[
        str, typer.Option(help="pooled: std over images, channels, positions; channel: of each channel, then the mean")
    ] = "pooled",
    split: Annotated[str, typer.Option(metavar="train|test", help="The pictures, without augmentation.")] = "test",
    bn: Annotated[str, typer.Option(help="Statistics of batch norm: running (evaluation mode) or batch")] = "running",
    batch: Annotated[int | None, typer.Option(help="Images at once; default with --bn batch: the run's batch")] = None,
    net: _Net = None,
    pad: _Pad = "after",
    out: Annotated[Path | None, typer.Option(help="Folder for the figures; default: figures/ in RESULTS")] = None,
    form: Form = "table",
    json: Json = False,
    private: Private = False,
) -> None:
    """Measure and draw the responses of all layers, as in Figure 7.

    Measures the runs under RESULTS that have a checkpoint, or the nets named by --ckpt, which are drawn together. The
    numbers stay in the folder of each run, as responses.parquet and blocks.parquet. Numbers of other nets, or on other
    data, go beside the figures.
    """
    from degrade import figures
    from degrade.experiments import responses, trained
    from degrade.figures.responses import keep_finite
    from degrade.store.results import list_labels
    from degrade.sweep import expand
    from degrade.views import responses as views
    from degrade.views.terminal import answer

    view, (words, overrides) = figures.View(over=over), tell_apart(arguments or [])
    roots, under = [Path(word) for word in words or ["results"]], responses.Under(split=split, bn=bn, batch=batch)
    sources = trained.Sources(ckpts=tuple(ckpt or ()), roots=tuple(roots), net=net, pad=pad)
    with answer(choose_format(form, json), "responses", private=private) as show:
        with expand.hydra():
            asked, given = expand.compose_data(overrides)
        opened = sources.open()
        measured = responses.responses(opened, under, asked, given_scale=given)
        whole = keep_finite(measured.layers), keep_finite(measured.blocks)
        if len(whole[0]):
            show(views.responses(*whole, measured.layers.run.nunique()))
        root = next((each.folder.root for each in opened if each.folder), roots[0])
        folder = choose_figure_folder(out, root)
        for path in responses.keep(measured, folder):
            tell(path)
        labels = list_labels(each.run for each in opened if each.run)
        shown = {"responses": measured.layers, "blocks": measured.blocks}
        failed = say(
            figures.save(
                shown, None, folder, view, mix=bool(ckpt), command=command_line(private=private), labels=labels
            )
        )
    raise typer.Exit(failed)


@app.command()
def construct(
    overrides: Overrides = None,
    ckpt: _Ckpt = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Identities to the bit under running statistics, not made for training")
    ] = False,
    train: Annotated[bool, typer.Option("--train", help="Train it on, by the recipe of the run")] = False,
    control: Annotated[
        bool, typer.Option("--control", help="Train the net from random weights, for the steps of both trainings")
    ] = False,
    results: Root = Path("results"),
    form: Form = "table",
    json: Json = False,
) -> None:
    """Make a deeper net that computes what a trained one does. As in `degrade construct --ckpt RUN depth=56`.

    Its layers are copies and identities (Sec. 1). The predictions are compared on every image, and the net is stored
    as a run of its own. KEY=VALUE changes how it is trained on, as in recipe.iterations=900. A net that was trained on
    has had two trainings: the net of --control has had one of as many steps, by a schedule stretched over them.
    """
    from degrade.cli.sheets import copies
    from degrade.experiments import construct, trained
    from degrade.store.results import board
    from degrade.sweep import expand, workers
    from degrade.views import tables
    from degrade.views.terminal import answer

    if not ckpt:
        raise RunError("construct: a copy of which run? say --ckpt RUN")
    with answer(choose_format(form, json), "constructed") as show:
        opened = trained.Sources(ckpts=tuple(ckpt), roots=(results,)).open()
        likes = [construct.derive_run(each, lambda run: expand.change(run, overrides or [])) for each in opened]
        root = construct.find_root(opened)  # every command line is found right before anything is made
        pairs = zip(opened, likes, strict=True)
        made = [
            construct.construct(net, it.net.depth, root, like=it, exact=exact, command=command_line(private=True))
            for net, it in pairs
        ]
        show([copies(each.label, one) for each, one in zip(opened, made, strict=True)])
        code, specs = 0, [one.run for one in made] if train else []
        if control:
            specs += construct.list_controls(opened, likes)
        if specs:
            before = board(specs, root)
            try:
                workers.train([spec for spec in specs if not before[spec.run].over], root)
            except Stopped as stopped:
                raise typer.Exit(128 + stopped.signal) from None
            after = board(specs, root)
            show(tables.ends(specs, after, root))
            code = int(any(state.broken for state in after.values()))
    raise typer.Exit(code)
