"""The application, what its commands share, and the one place where an error becomes a line."""

import gc
import io
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from degrade.cli import loud
from degrade.cli.examples import URL, open_with_examples
from degrade.cli.offer import offer_folders, offer_runs, offer_values
from degrade.cli.shells import use_own_scripts
from degrade.errors import DegradeError, RunError, SpecError, one_line
from degrade.spec.escape import controls
from degrade.views import steps

if TYPE_CHECKING:
    from degrade.figures import Drawn

_Number = TypeVar("_Number", int, float)
_FOLDERS = ("results", "data.root")  # keys that take a folder
_MORE = f"The paper: {URL}. Keys: degrade keys. Something fails: degrade doctor."
_SHORT = 80  # characters of a command in the list of commands
_LONGEST_LINE = 2000  # characters of an error: a value in it can be long
# as `degrade --help` lists the commands: train, look, judge, open trained nets, look after runs, the program itself
_ORDER = [
    "sweep",
    "train",
    "plan",
    "status",
    "plot",
    "compare",
    "report",
    "responses",
    "evaluate",
    "ensemble",
    "construct",
    "identity",
    "nets",
    "keys",
    "doctor",
    "rerun",
    "recipe-diff",
    "clean",
    "verify",
    "share",
    "export",
    "guide",
    "bench",
]


class _InOrder(TyperGroup):
    """Lists commands in the order of _ORDER rather than of imports. Commands that _ORDER lacks come last.

    Each command has the options of `loud` too.
    """

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        found = super().get_command(ctx, cmd_name)
        if found is not None and not any(each.name == "debug" for each in found.params):
            found.params += loud.list_options()
            found.short_help = found.get_short_help_str(_SHORT)  # of its own text, before the examples
            found.help = open_with_examples(cmd_name, found.help or "")
            found.epilog = _MORE
        return found

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(self.commands, key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))


app = typer.Typer(
    cls=_InOrder,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    rich_markup_mode=None,  # plain help: to load what draws boxes takes twice as long as all the rest
    help=open_with_examples(
        "", "Measure the degradation problem of deep plain nets, and its cure by residual learning (arXiv:1512.03385)."
    ),
    epilog=_MORE,
)


def _forget_matplotlib_settings() -> None:
    """Lets matplotlib start without the user's backend and matplotlibrc: either can keep it from starting.

    A notebook hands its commands a backend that need not be installed here. Figures are written to files alone.
    """
    os.environ.pop("MPLBACKEND", None)
    if found := find_spec("matplotlib"):
        os.environ["MATPLOTLIBRC"] = str(Path(str(found.origin)).with_name("mpl-data") / "matplotlibrc")


def main() -> None:
    """Runs a command. An error that a user can cause becomes one line and exit code 2."""
    _forget_matplotlib_settings()
    gc.set_threshold(20_000)  # the rows of thousands of runs stay: a search for garbage in them finds nothing
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be valid text
    try:
        steps.loudness.reset()
        if said := loud.refuse_spaces(sys.argv[1:]):
            raise SpecError(said)
        if any(word.endswith("-completion") for word in sys.argv[1:]):
            use_own_scripts()
        app()
    except DegradeError as error:
        _explain(error)
        raise _refuse(str(error)) from None
    except BrokenPipeError:  # the reader of a pipe has left, as in `degrade nets | head`
        raise SystemExit(0) from None
    except OSError as error:  # from a path that a user gave, where no command handles it
        where = f"{error.filename}: " if error.filename is not None else ""
        raise _refuse(f"{where}{error.strerror or error}") from None
    finally:
        if "torch" not in sys.modules:  # torch's compiler needs its objects taken down one by one
            gc.freeze()  # memory goes as a whole, 0.3 s sooner after thousands of runs


def _explain(error: Exception) -> None:
    """Prints what lies behind an error, with --verbose, and its traceback, with --debug."""
    if steps.loudness.debug:
        print(controls(traceback.format_exc(), keep="\n"), file=sys.stderr, end="")
    elif steps.loudness.verbose and isinstance(cause := error.__cause__ or error.__context__, Exception):
        print(f"behind it: {controls(one_line(cause))}", file=sys.stderr)


def _refuse(said: str) -> SystemExit:
    """Prints one line on stderr, with control characters escaped. Returns an exit with code 2."""
    line = controls(said)
    print(f"degrade: {line if len(line) <= _LONGEST_LINE else f'{line[:_LONGEST_LINE]}...'}", file=sys.stderr)
    return SystemExit(2)


def tell(text: object) -> None:
    """Prints a line on stdout, with control characters escaped."""
    print(controls(str(text)))


def _show_version(value: bool) -> None:
    """Prints the version and exits, where --version is given."""
    if value:
        from importlib.metadata import version as installed

        print(f"degrade {installed('degrade')}")
        raise typer.Exit


def _offer(ctx: typer.Context, incomplete: str) -> list[str]:
    """What the shell offers for a half-typed override."""
    from degrade.cli import complete

    key, sign, typed = incomplete.partition("=")
    if sign and key in _FOLDERS:
        return [f"{key}={folder}" for folder in offer_folders(typed)]
    return complete.complete_override(incomplete, list(ctx.params.get("overrides") or ()))


def _offer_nets(ctx: typer.Context, incomplete: str) -> list[str]:
    """Runs, folders, and overrides."""
    return [*offer_runs(ctx, incomplete), *_offer(ctx, incomplete)]


Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", show_default=False, autocompletion=_offer)
]
Nets = Annotated[  # called `overrides` in a command, as _offer expects
    list[str] | None,
    typer.Argument(
        metavar="[NET]... [KEY=VALUE]...",
        show_default=False,
        autocompletion=_offer_nets,
        help="Nets: a run (its folder, or how its name begins), a checkpoint, or a state dict (.pt, .pth, .th, "
        ".safetensors), and what is to be said of it: FILE:net=plain,pad=split. KEY=VALUE names pictures.",
    ),
]
Roots = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[RESULTS]...", help="Results folders.", show_default="results", autocompletion=offer_folders
    ),
]
Root = Annotated[Path, typer.Option("--results", help="The results folder.", autocompletion=offer_folders)]
_FORMS = ("table", "markdown", "latex", "json", "csv")
Form = Annotated[
    str,
    typer.Option("--format", help="table, markdown, latex, json or csv", autocompletion=offer_values(*_FORMS)),
]
Run = Annotated[
    str,
    typer.Argument(help="A run: its name, the beginning of it, or its folder.", autocompletion=offer_runs),
]
Private = Annotated[
    bool,
    typer.Option("--private", help="Keep absolute paths of this machine in what is written, as in a command line."),
]
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
    """--format; --json is short for --format json."""
    return "json" if json else form


def split_list(values: str) -> list[str]:
    """Splits a comma list: 20,56 is 20 and 56."""
    return [value.strip() for value in values.split(",") if value.strip()]


def parse_numbers(key: str, values: str, kind: Callable[[str], _Number]) -> list[_Number]:
    """Reads the numbers of a comma list. Raises SpecError for anything else."""
    try:
        return [kind(value) for value in split_list(values)]
    except ValueError:
        what = "integers, as in 1,2,4" if kind is int else "numbers, as in 0.3,3"
        raise SpecError(f"--{key}={values}: must be {what}") from None


def command_line(*, private: bool = False) -> str:
    """What the user typed, for the metadata of files; without places of this machine, unless `private`."""
    from degrade.store.private import shorten_command

    typed = shlex.join(["degrade", *sys.argv[1:]])
    return typed if private else shorten_command(typed)


def say(drawn: "Iterable[Drawn]") -> bool:
    """Prints the files of each figure, or why it has none. Returns whether one failed."""
    failed = False
    for figure in drawn:
        for path in figure.files:
            tell(path)
        if figure.failed:
            failed = True
            print(f"degrade: {controls(figure.failed)}", file=sys.stderr)
    return failed


def choose_figure_folder(out: Path | None, root: Path) -> Path:
    """Chooses --out, else figures/ in the results folder. Raises RunError where figures/ is a link: whoever made the
    results may have made the link too.
    """
    inside = root / "figures"
    if out is None and inside.is_symlink():
        raise RunError(f"{inside}: is a link, and nothing is drawn elsewhere; name the folder it leads to with --out")
    return out or inside


def tell_apart(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Splits words into (paths and names, KEY=VALUE). A word that names a file is a path, even with a = in it, and so
    is FILE:key=value.
    """
    from degrade.experiments.hints import names_net

    nets = [names_net(word) for word in words]
    return [w for w, net in zip(words, nets, strict=True) if net], [
        w for w, net in zip(words, nets, strict=True) if not net
    ]
