"""The application, what its commands share, and the one place where errors become a line."""

import gc
import io
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from degrade.errors import DegradeError, RunError, SpecError
from degrade.spec.escape import controls

if TYPE_CHECKING:
    from degrade.figures import Drawn

_Number = TypeVar("_Number", int, float)
_LONGEST_LINE = 2000  # characters of an error: a value can be a book
# as `degrade --help` lists them: train, look, judge, open trained nets, look after runs, the program itself
_ORDER = [
    "sweep",
    "train",
    "plan",
    "status",
    "plot",
    "compare",
    "responses",
    "evaluate",
    "ensemble",
    "construct",
    "identity",
    "nets",
    "rerun",
    "recipe-diff",
    "clean",
    "bench",
]


class _InOrder(TyperGroup):
    """The commands in our order, not that in which modules are imported; those that ORDER does not have come last."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(self.commands, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))


app = typer.Typer(
    cls=_InOrder,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    rich_markup_mode=None,  # plain help: loading what draws boxes takes twice as long as all the rest
    help="Measure the degradation problem of deep plain nets, and its cure by residual learning (arXiv:1512.03385).",
)


def main() -> None:
    """Runs a command; an error that a user can cause is one line and exit code 2."""
    gc.set_threshold(20_000)  # the rows of thousands of runs stay: looking for garbage in them is in vain
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
    try:
        app()
    except DegradeError as error:
        raise _refuse(str(error)) from None
    except BrokenPipeError:  # the reader of a pipe has left, as in `degrade nets | head`
        raise SystemExit(0) from None
    except OSError as error:  # of a path that a user gave, and that no command foresaw
        where = f"{error.filename}: " if error.filename is not None else ""
        raise _refuse(f"{where}{error.strerror or error}") from None
    finally:
        if "torch" not in sys.modules:  # whose compiler wants its objects taken down one by one
            gc.freeze()  # the process ends: its memory goes as a whole, 0.3 s sooner after thousands of runs


def _refuse(said: str) -> SystemExit:
    """One line on stderr, whatever is in it, and exit code 2."""
    line = controls(said)
    print(f"degrade: {line if len(line) <= _LONGEST_LINE else f'{line[:_LONGEST_LINE]}...'}", file=sys.stderr)
    return SystemExit(2)


def tell(text: object) -> None:
    """A line on stdout, with what would move the cursor escaped."""
    print(controls(str(text)))


def _show_version(value: bool) -> None:
    if value:
        from importlib.metadata import version as installed

        print(f"degrade {installed('degrade')}")
        raise typer.Exit


def _offer(ctx: typer.Context, incomplete: str) -> list[str]:
    from degrade.cli import complete

    return complete.complete_override(incomplete, list(ctx.params.get("overrides") or ()))


Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", show_default=False, autocompletion=_offer)
]
Roots = Annotated[
    list[Path] | None, typer.Argument(metavar="[RESULTS]...", help="Results folders.", show_default="results")
]
Root = Annotated[Path, typer.Option("--results", help="The results folder.")]
Form = Annotated[str, typer.Option("--format", help="table, markdown, latex, json or csv")]
Json = Annotated[bool, typer.Option("--json", help="As JSON, for programs: short for --format json.")]
Exclude = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE,...", help="Leave out runs for which all of these hold; repeatable."),
]


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def choose_format(form: str, json: bool) -> str:
    """--format, for which --json is short."""
    return "json" if json else form


def split_list(values: str) -> list[str]:
    """The parts of a comma list: 20,56 is 20 and 56."""
    return [value.strip() for value in values.split(",") if value.strip()]


def parse_numbers(key: str, values: str, kind: Callable[[str], _Number]) -> list[_Number]:
    """The numbers of a comma list. Raises SpecError for anything else."""
    try:
        return [kind(value) for value in split_list(values)]
    except ValueError:
        what = "integers, as in 1,2,4" if kind is int else "numbers, as in 0.3,3"
        raise SpecError(f"--{key}={values}: must be {what}") from None


def command_line() -> str:
    """What the user typed, for the metadata of what it makes."""
    return shlex.join(["degrade", *sys.argv[1:]])


def say(drawn: "Iterable[Drawn]") -> bool:
    """Prints the files of each figure, or why there are none; whether one failed."""
    failed = False
    for figure in drawn:
        for path in figure.files:
            tell(path)
        if figure.failed:
            failed = True
            print(f"degrade: {controls(figure.failed)}", file=sys.stderr)
    return failed


def choose_figure_folder(out: Path | None, root: Path) -> Path:
    """--out, else figures/ in the results folder. Raises RunError where that is a link: whoever made the results may
    have made it too.
    """
    inside = root / "figures"
    if out is None and inside.is_symlink():
        raise RunError(f"{inside}: is a link, and nothing is drawn elsewhere; name the folder it leads to with --out")
    return out or inside


def tell_apart(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """(paths and names, KEY=VALUE): what is there as a file is a path, even with a = in its name."""
    overrides = [word for word in words if "=" in word and not _exists(word)]
    return [word for word in words if word not in overrides], overrides


def _exists(path: str) -> bool:
    """Whether it exists; what cannot be a path does not."""
    try:
        return Path(path).exists()
    except OSError:
        return False
