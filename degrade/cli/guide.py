"""`degrade guide`: one page that says all a program or a coding agent needs, made from the code."""

import re
from collections.abc import Iterator
from typing import Any

import typer
import typer.main

from degrade.cli.app import app
from degrade.cli.examples import EXAMPLES

_HEAD = """# degrade

Measures the degradation problem of deep plain nets (training error that rises with depth) and its cure by residual
learning, as in He et al., arXiv:1512.03385. A command line on Hydra: KEY=VALUE words describe runs, commas make sweeps.

- A run is known by its content: the same words are the same run, and a finished run is never trained again.
- Interrupted runs go on from their checkpoints by the same command.
- Results go to stdout, progress and next steps to stderr. `--json` or `--format csv` is for programs, `--quiet` leaves
  results and errors alone.
- Verdicts need several seeds: `seed=0,1,2`. One run a depth is no evidence about depth, and the verdict says so.
- Nothing is read from the network unless data=cifar10 or another download is asked for.
- `--dry-run` lists what a sweep would train, and `degrade plan` what it costs.

## Exit codes

- 0: done, and every run that was asked for has a result
- 1: some runs failed, or a check found something wrong
- 2: refused: one line on stderr names the key, the value, the rule and the way out; nothing was written
- 128 + N: ended by signal N after checkpoints were written; the same command goes on
"""
_FILES = """## Files of a run, in RESULTS/runs/NAME/

- `spec.json`: all values of the run. `state.json`: where it stands (`degrade status --json` has the same keys).
- `environment.json`: versions, machine, command. `train.log`: what the training printed.
- `curve.parquet`: a row a measurement, below. `responses.parquet`, `blocks.parquet`, `probe.parquet`: layers.
- `checkpoint.pt`: to go on, and the net: `degrade evaluate NAME`.

Python: `import degrade; tables = degrade.load("results")` gives pandas frames (`tables.runs`, `tables.curves`, ...),
`degrade.compare(tables)` the verdicts, `degrade.run([spec], "results")` trains, `degrade.plot(tables, "fig6")` draws.
"""


@app.command()
def guide() -> None:
    """Print one page for programs and coding agents: commands, keys, files, columns, exit codes."""
    print(write_guide())


def write_guide() -> str:
    """The page. It is llms.txt in the repository, too."""
    from degrade.spec.rows import CURVE

    columns = "\n".join(f"- `{name}`: {column.meaning}" for name, column in CURVE.items())
    return "\n".join([_HEAD, *_commands(), *_keys(), _FILES, "## Columns of a curve\n", columns])


def _commands() -> Iterator[str]:
    """Every command: what it does, its options, an example."""
    yield "## Commands\n"
    group: Any = typer.main.get_command(app)
    context = typer.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        text = re.sub(r"^.*?\n\n(?=\S)", "", command.help or "", count=1, flags=re.DOTALL)
        first = re.split(r"(?<=[.?:])\s", " ".join(text.split()))[0]
        options = [each for each in command.params if each.param_type_name == "option" and not each.hidden]
        shown = " ".join(sorted({each.opts[0] for each in options} - {"--quiet", "--verbose", "--debug"}))
        yield f"### degrade {name}\n\n{first}\n"
        if shown:
            yield f"Options: {shown}\n"
        if name in EXAMPLES:
            yield "\n".join(f"    {line}" for line in EXAMPLES[name]) + "\n"


def _keys() -> Iterator[str]:
    """Every key with its default and meaning."""
    from degrade.views.keys import keys

    yield "## Keys\n"
    rows = keys("", {}).records
    yield "\n".join(f"- `{row['key']}` = {row['default']}: {row['what']}" for row in rows) + "\n"
