"""Commands that open trained nets: runs of ours, or anybody's state dict."""

from pathlib import Path
from typing import Annotated

import typer

from degrade.cli.app import (
    Form,
    Json,
    Nets,
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
from degrade.views import steps

_Ckpt = Annotated[list[str] | None, typer.Option(metavar="NET", help="A net, as in an argument. Repeatable.")]
_Net = Annotated[
    str | None,
    typer.Option(
        metavar="plain|residual", help="What files of others are, where neither tensors nor FILE:net= say it."
    ),
]
_Pad = Annotated[
    str | None, typer.Option(metavar="after|split", help="Where option A's zeros go in files of others, as FILE:pad=")
]
_Eps = Annotated[float | None, typer.Option(help="Batch norm's epsilon in files of others; else 1e-5 is assumed")]
_Key = Annotated[
    str | None, typer.Option(metavar="KEY", help="Which of several state dicts in a file, as in ema.state_dict")
]
_As = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="Whose nets files of others are: net, pad, scale, classes")
]
_Classes = Annotated[
    str | None,
    typer.Option(metavar="by-name|by-position", help="Which output is which class; default: by name, where both have"),
]
_Split = Annotated[
    str, typer.Option(metavar="train|test|val", help="The pictures to measure on, without augmentation.")
]


@app.command()
def evaluate(
    overrides: Nets = None,
    ckpt: _Ckpt = None,
    net: _Net = None,
    pad: _Pad = None,
    eps: _Eps = None,
    key: _Key = None,
    whose: _As = None,
    classes: _Classes = None,
    split: _Split = "test",
    classwise: Annotated[
        bool, typer.Option("--by-class", help="Also the error in each class, and what it is taken for.")
    ] = False,
    predictions: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write what each net says of each picture: parquet.")
    ] = None,
    results: Root = Path("results"),
    form: Form = "table",
    json: Json = False,
) -> None:
    """Measure the error of trained nets on any pictures. As in `degrade evaluate weights.pth:net=plain data=cifar10`.

    A run of ours is measured on its own data unless data=... names others. Pictures are scaled as its training set
    was, unless data.normalize= is given. A state dict of others needs data=... What is said after FILE: counts for that
    file, and an option for the files that leave it open. Loading never runs code from a file.
    """
    from degrade.cli.sheets import by_class, evaluations
    from degrade.experiments import evaluate, trained
    from degrade.experiments import predictions as predicted
    from degrade.sweep import expand
    from degrade.views.terminal import answer, bar

    named, words = tell_apart(overrides or [])
    if not [*named, *(ckpt or [])]:
        raise RunError("evaluate: which net? say degrade evaluate NET")
    default = trained.Hints(net=net, pad=pad, eps=eps, key=key, known=whose, classes=classes)
    sources = trained.Sources(nets=(*(ckpt or ()), *named), roots=(results,), default=default)
    main = "evaluations" if classwise else ""
    with answer(choose_format(form, json), main) as show, bar() as note:
        with expand.hydra():
            asked, given = expand.compose_data(words)
        opened = sources.open(trained.choose_measuring(asked, given, note))
        found = [evaluate.measure(each, asked, split=split, given_scale=given, note=note) for each in opened]
        show(evaluations([each.evaluation for each in found]))
        if classwise:
            show(by_class([row for each in found for row in predicted.judge_classes(each)]))
        if predictions is not None:
            rows = predicted.keep_predictions(found, predictions)
            note(f"{predictions}: {rows:,} rows", 0, 0)
        steps.tell_next(choose_format(form, json), "degrade ensemble NET NET measures several nets together")


@app.command()
def ensemble(
    overrides: Nets = None,
    ckpt: _Ckpt = None,
    net: _Net = None,
    pad: _Pad = None,
    eps: _Eps = None,
    key: _Key = None,
    whose: _As = None,
    classes: _Classes = None,
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

    named, words = tell_apart(overrides or [])
    if not [*named, *(ckpt or [])]:
        raise RunError("ensemble: of which nets? say degrade ensemble NET NET")
    default = trained.Hints(net=net, pad=pad, eps=eps, key=key, known=whose, classes=classes)
    sources = trained.Sources(nets=(*(ckpt or ()), *named), roots=(results,), default=default)
    with answer(choose_format(form, json)) as show, bar() as note:
        with expand.hydra():
            asked, given = expand.compose_data(words)
        opened = sources.open(trained.choose_measuring(asked, given, note))
        found = evaluate.ensemble(opened, asked, split=split, given_scale=given, note=note)
        show(evaluations([*found.members, found.together]))
        steps.tell_next(choose_format(form, json), "degrade evaluate NET data=NAME measures a net on other pictures")


@app.command()
def responses(
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[RESULTS|NET]... [data.KEY=VALUE]...", show_default="results")
    ] = None,
    ckpt: _Ckpt = None,
    over: Annotated[
        str, typer.Option(help="pooled: std over images, channels, positions; channel: of each channel, then the mean")
    ] = "pooled",
    split: Annotated[str, typer.Option(metavar="train|test", help="The pictures, without augmentation.")] = "test",
    bn: Annotated[str, typer.Option(help="Statistics of batch norm: running (evaluation mode) or batch")] = "running",
    batch: Annotated[int | None, typer.Option(help="Images at once; default with --bn batch: the run's batch")] = None,
    net: _Net = None,
    pad: _Pad = None,
    eps: _Eps = None,
    key: _Key = None,
    whose: _As = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the figures; default: figures/ in RESULTS")] = None,
    form: Form = "table",
    json: Json = False,
    private: Private = False,
) -> None:
    """Measure and draw the responses of all layers, as in Figure 7.

    Measures the runs under RESULTS that have a checkpoint, or the nets that are named, which are drawn together, in
    figures of their own. The numbers stay in the folder of each run, as responses.parquet and blocks.parquet. Numbers
    of other nets, or on other data, go beside the figures.
    """
    from degrade import figures
    from degrade.experiments import responses, trained
    from degrade.figures.responses import keep_finite
    from degrade.store.results import list_labels
    from degrade.sweep import expand
    from degrade.views import responses as views
    from degrade.views.terminal import answer

    view, (words, keys) = figures.View(over=over), tell_apart(overrides or [])
    under = responses.Under(split=split, bn=bn, batch=batch)
    named, roots = trained.sort_words(words)
    default = trained.Hints(net=net, pad=pad, eps=eps, key=key, known=whose)
    sources = trained.Sources(nets=(*(ckpt or ()), *named), roots=tuple(roots), default=default)
    with answer(choose_format(form, json), "responses", private=private) as show:
        with expand.hydra():
            asked, given = expand.compose_data(keys)
        opened = sources.open(trained.choose_measuring(asked, given))
        measured = responses.responses(opened, under, asked, given_scale=given)
        rests = responses.explain(opened, asked, given_scale=given)
        whole = keep_finite(measured.layers), keep_finite(measured.blocks)
        if len(whole[0]):
            show(views.responses(*whole, measured.layers.run.nunique(), rests))
        root = next((each.folder.root for each in opened if each.folder), roots[0])
        folder = choose_figure_folder(out, root)
        for path in responses.keep(measured, folder):
            tell(path)
        labels = list_labels(each.run for each in opened if each.run)
        shown = {"responses": measured.layers, "blocks": measured.blocks}
        of = trained.name_file(opened) if sources.nets else ""
        command = command_line(private=private)
        failed = say(figures.save(shown, None, folder, view, mix=bool(of), command=command, labels=labels, of=of))
        steps.tell_next(choose_format(form, json), "docs/inside.md says how to read these numbers")
    raise typer.Exit(failed)


@app.command()
def construct(
    overrides: Nets = None,
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
    """Make a deeper net that computes what a trained one does. As in `degrade construct RUN depth=56`.

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

    named, keys = tell_apart(overrides or [])
    if not [*named, *(ckpt or [])]:
        raise RunError("construct: a copy of which run? say degrade construct RUN depth=56")
    with answer(choose_format(form, json), "constructed") as show:
        opened = trained.Sources(nets=(*(ckpt or ()), *named), roots=(results,)).open()
        likes = [construct.derive_run(each, lambda run: expand.change(run, keys)) for each in opened]
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
        more = f"{steps.command('plot', root=root)} --figure constructed draws what came of it"
        step = more if specs else "the same command with --train trains it on"
        steps.tell_next(choose_format(form, json), step if code == 0 else steps.command("status", root=root))
    raise typer.Exit(code)
