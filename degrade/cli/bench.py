"""The command that measures the training loop itself."""

from pathlib import Path
from typing import Annotated

import typer

from degrade.cli.app import Form, app, command_line, parse_numbers, split_list, tell
from degrade.errors import RunError
from degrade.views import steps


@app.command()
def bench(
    depth: Annotated[str, typer.Option(metavar="A,B", help="Layers of the nets, residual-A")] = "20,56,110",
    only: Annotated[
        str, typer.Option(metavar="A,B", help="Only these of our loops, as in eager-fp32,native-bf16; peers stay")
    ] = "",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads; default: all cores, as for a lone run")] = None,
    seconds: Annotated[float, typer.Option(help="Of each loop in each round; one step where that takes longer")] = 0.8,
    rounds: Annotated[int, typer.Option(help="Interleaved; one more is warm-up")] = 5,
    check: Annotated[bool, typer.Option("--check", help="Only whether all compute the same; judges no time.")] = False,
    float64: Annotated[
        str,
        typer.Option(metavar="A,B", help="Nets to compare with float64, as in plain-110; default: of 20 and 56 layers"),
    ] = "",
    json: Annotated[Path | None, typer.Option(metavar="FILE|-", help="Write all of it as JSON; - for stdout")] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write tables and JSON there, named by date and hardware")
    ] = None,
    form: Form = "table",
) -> None:
    """Time our training loop beside that of common practice. All backends are checked to compute the same.

    Images per second of the whole loop with the paper's recipe and at the quickstart's shapes, in interleaved rounds;
    the share of the FLOP limit, memory, time of a run and what of it is not steps. Takes about seven minutes on two
    cores. Exit code 1 where a backend does not compute what eager fp32 does, or is further from float64 at the paper's
    shape than plain torch. With --check only nets of 20 layers are compared with float64, else also plain-56. How to
    read it: benchmarks/README.md.
    """
    from degrade import bench as measuring
    from degrade.bench import writing
    from degrade.views import terminal

    asked = measuring.Asked(
        depths=tuple(parse_numbers("depth", depth, int)),
        only=tuple(split_list(only)),
        device=device,
        threads=threads,
        seconds=seconds,
        rounds=rounds,
        check=check,
        float64=tuple(split_list(float64)),
    )
    piped = str(json) == "-" or form == "json"
    with (
        terminal.answer("markdown" if piped else form, "sameness" if check else "loops") as show,
        terminal.bar() as note,
    ):
        report = measuring.measure(asked, command_line(), *([] if piped else [note]))
        show([] if piped else writing.sheets(report))
    if piped:
        print(writing.as_json(report))
    if json and str(json) != "-":
        try:
            json.write_text(f"{writing.as_json(report)}\n")
        except OSError as error:
            raise RunError(f"--json={json}: cannot be written ({error.strerror}); name another file") from None
    for path in writing.save(report, save) if save else ():
        tell(path)
    step = "benchmarks/README.md says how to read this" if report.ok else "degrade doctor looks for the cause"
    steps.tell_next("json" if piped else form, step)
    raise typer.Exit(not report.ok)
