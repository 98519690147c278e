"""Command lines and files such as nobody should write: drawn at random, the same of the same seed."""

from collections.abc import Callable, Sequence
from random import Random

ODD = (
    *(
        "",
        " ",
        "=",
        ",",
        "a,,b",
        "null",
        "None",
        "true",
        "~",
        "@",
        "a@b",
        "--",
        "-1",
        "0",
        "1",
        "+",
        ".",
        "..",
        "*",
        "%",
    ),
    *("nan", "-inf", "1e300", "1e400", "1e-400", "0x10", "1_000", "-0.0", "007"),
    *("9" * 25, "9" * 400, "9" * 5000, str(2**63)),
    *(
        "[",
        "]",
        "[]",
        "{}",
        "[[1]]",
        "[1,[2,[3]]]",
        "{a:1}",
        "{a:{b:[}}",
        "[" * 400,
        "(",
        "'",
        '"',
        "'a",
        '"a\\"',
        "'a,b'",
    ),
    *(
        "naïve 猫",
        "\u202eabc",
        "\x1b[31mred",
        "a\tb",
        "a\nb",
        "\x7f\x08",
        "\r",
        "\udcff",
        "a" * 3000,
        "../up",
        "a/b",
        "\\",
    ),
    *("${oc.env:HOME}", "${depth}", "${oc.env:NOT_THERE}", "${a", "${hydra:runtime.cwd}", "${oc.decode:'['}", "???"),
    *(
        "range(3)",
        "range(0,10,0)",
        "range(1000000000000)",
        "glob(*)",
        "choice(1,2)",
        "interval(0,1)",
        "sort(3,1)",
        "shuffle(1,2)",
    ),
    *(
        "int(1.5)",
        "float(x)",
        "json_str({a:1})",
        "extend_list(1)",
        "str([1])",
        "bool(2)",
        "f(",
        "cast(1)",
        "tag(a,interval(1,2))",
    ),
    *(
        "<script>",
        "$\\frac{",
        "\\input{/etc/passwd}",
        "=1+1",
        "$(id)",
        "`id`",
        "; id",
        "_target_",
        "os.system",
        "&",
        "|",
    ),
    *(
        "0.5",
        "8",
        "20",
        "56,110",
        "plain",
        "residual",
        "digits",
        "quickstart",
        "A,B",
        "[0.5,0.75]",
        "[0.75,0.5]",
        "cpu",
        "60s",
    ),
)
NAMES = (
    *("hydra", "hydra.run.dir", "hydra.launcher", "hydra.launcher._target_", "hydra.searchpath", "hydra/launcher"),
    *("hydra.sweeper.params", "hydra.mode", "hydra.job.chdir", "_target_", "data._target_", "recipe._target_", "data"),
    *("recipe", "engine", "study", "results", "jobs", "data.root", "data.x", "origin", "dept", "", "a.b.c", "recipe."),
)
SIGNS = ("", "", "", "", "", "", "+", "++", "~", "@", "-", " ", "$", "\x1b")
OPTIONS = {
    "sweep": ("--exclude", "--time-limit"),
    "nets": (),
    "plot": ("--figure", "--net", "--depth", "--shortcut", "--data", "--train", "--x", "--top"),
    "compare": ("--table", "--format", "--last", "--margin", "--width", "--net", "--depth", "--shortcut", "--data"),
    "status": (),
    "responses": ("--ckpt", "--over", "--split", "--bn", "--batch", "--net", "--pad"),
    "evaluate": ("--ckpt", "--net", "--pad", "--split", "--results"),
    "ensemble": ("--net", "--pad", "--split", "--results"),
    "construct": ("--ckpt", "--results"),
    "identity": (
        "--blocks",
        "--layers",
        "--net",
        "--seeds",
        "--steps",
        "--width",
        "--lr",
        "--jobs",
        "--target",
        "--decay",
        "--init",
        "--pick",
    ),
    "bench": ("--depth", "--only", "--device", "--threads", "--seconds", "--rounds"),
    "rerun": ("--probe", "--results"),
    "recipe-diff": ("--results",),
    "clean": ("--older-than",),
    "train": (),
    "plan": ("--exclude",),
}
FLAGS = (
    "--json",
    "--mix",
    "--failed",
    "--orphaned",
    "--exact",
    "--train",
    "--control",
    "--fail-fast",
    "--reprobe",
    "--help",
    "--nope",
)
WITH_KEYS = ("sweep", "nets", "train", "plan", "evaluate", "ensemble", "construct", "responses")


def value(draws: Random) -> str:
    """One odd word, or two run together."""
    word = draws.choice(ODD)
    return word + draws.choice(ODD) if draws.random() < 0.15 else word


def override(draws: Random, keys: Sequence[str]) -> str:
    if draws.random() < 0.05:
        return value(draws)
    key = draws.choice(keys if draws.random() < 0.7 else NAMES)
    return f"{draws.choice(SIGNS)}{key}={value(draws)}"


def line(draws: Random, keys: Sequence[str]) -> list[str]:
    """A command and what is said to it; nothing that would train where it is right is left out."""
    command = draws.choice(tuple(OPTIONS))
    words = [command]
    if command == "sweep":
        words.append("--dry-run")
    for _ in range(draws.randint(0, 3)):
        if command in WITH_KEYS and draws.random() < 0.7:
            words.append(override(draws, keys))
        elif OPTIONS[command] and draws.random() < 0.8:
            words += [draws.choice(OPTIONS[command]), value(draws)]
        else:
            words.append(draws.choice(FLAGS) if draws.random() < 0.3 else value(draws))
    if command in ("sweep", "nets") and draws.random() < 0.7:
        words.append("data=digits")
    return words


JUNK: tuple[Callable[[Random], object], ...] = (
    lambda draws: None,
    lambda draws: draws.choice((True, -1, 0, 1e308, 2**70, float("nan"), float("inf"))),
    lambda draws: draws.choice(ODD),
    lambda draws: [],
    lambda draws: {"a": [1]},
)


def junk(draws: Random) -> object:
    """A value of any JSON type."""
    return draws.choice(JUNK)(draws)
