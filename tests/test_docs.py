"""What the README says is what happens."""

import re
from itertools import takewhile

import pytest
import tables
from places import ROOT

from degrade import cli

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
MAKEFILE = (ROOT / "Makefile").read_text()
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "benchmarks" / "README.md",
    *ROOT.glob("results/*/README.md"),
    *sorted((ROOT / "docs").glob("*.md")),
]


def commands(kind: str) -> list[str]:
    return [line for found, text in BLOCKS if found == kind for line in text.splitlines() if line]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text()):
        assert (page.parent / target.replace("\\", "")).exists(), target


def test_make_commands_of_the_readme_exist():
    made = [line.split()[1] for line in commands("sh") if line.startswith("make ")]
    assert {"demo", "test"} <= set(made)
    for target in [*made, *re.findall(r"`make (\w+)`", README)]:
        assert re.search(rf"^{target}:.*##", MAKEFILE, re.MULTILINE), target


def test_the_demo_is_what_the_readme_says():
    recipe = re.search(r"^demo:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert recipe
    ran = [line.strip().replace("$(BIN)/", "") for line in recipe[1].splitlines()]
    assert ran == commands("sh")[2:4]


def test_degrade_commands_of_the_readme_work(degrade):
    """The long one is run by `make demo`; the others here, shortened to a few steps."""
    short = ["recipe=smoke", "recipe.iterations=2", "data.train_limit=40", "jobs=1"]
    for line in (line for line in commands("sh") if line.startswith("degrade ")):
        _, command, *arguments = line.split()
        done = degrade(command, *arguments, *(short if command in ("sweep", "plan") else []))
        assert done.returncode == 0, f"{line}: {done.stderr}"


def test_the_refusal_in_the_readme_is_what_is_printed(degrade):
    (command, answer) = commands("console")
    done = degrade(*command.removeprefix("$ degrade ").split())
    assert done.stderr.strip() == answer


def test_python_of_the_readme_runs(degrade, tmp_path):
    assert degrade("sweep", "study=smoke", "depth=8", "shortcut=A", "jobs=1").returncode == 0
    blocks = [text for kind, text in BLOCKS if kind == "python"]
    assert len(blocks) == 2
    for text in blocks:
        (tmp_path / "block.py").write_text(text)
        done = degrade(program=tmp_path / "block.py")
        assert done.returncode == 0, done.stderr


def test_the_reference_study_says_what_the_readme_says():
    """Training error rises with depth in plain nets, and not in residual ones."""
    from degrade.analysis import curves
    from degrade.store import results

    finals = curves.final_errors(results.load(ROOT / "results" / "quickstart").curves)
    clean = finals.set_index(["net", "depth"]).train_clean
    assert len(clean) == 8
    assert clean["plain", 56] - clean["plain", 20] >= 20
    assert clean["residual", 56] < 2
    table = (ROOT / "results" / "quickstart" / "README.md").read_text()
    for (net, depth), error in clean.items():
        row = next(line for line in table.splitlines() if line.startswith(f"| {net}") and f"| {depth} |" in line)
        assert f"| {error:.2f} |" in row


# files of conf/ that the README explains; what is added may explain itself
EXPLAINED = {
    "data": {"cifar10", "cifar100", "digits", "image_folder"},
    "recipe": {"paper", "paper_strict", "quickstart", "smoke"},
    "study": {
        *("quickstart", "quickstart3", "smoke", "fig1", "fig4", "fig6", "fig6_seeds"),
        *("lr", "norm", "warmup", "longer", "highway"),
    },
}


def test_every_key_of_the_configuration_is_in_the_readme():
    from degrade.sweep import compose

    with compose.start_hydra():
        keys = [key for key in compose.list_keys(compose.compose_body(())) if "." not in key]
        options = {group: set(compose.list_options(group)) for group in EXPLAINED}
    for key in set(keys) - {"family"}:
        assert f"`{key}`" in README, key
    for group, names in options.items():
        assert EXPLAINED[group] <= names
        for name in EXPLAINED[group]:
            assert f"`{name}`" in README, f"{group}={name}"
        for name in names - EXPLAINED[group]:
            text = (ROOT / "conf" / group / f"{name}.yaml").read_text()
            head = "".join(takewhile(lambda line: line.startswith("#"), text.splitlines(keepends=True)))
            assert re.search(rf"^#   degrade .*\b{group}={name}\b", head, re.MULTILINE), f"{group}={name}"


def test_every_command_is_in_the_readme():
    for command in cli.app.registered_commands:
        assert command.callback is not None
        assert f"`degrade {command.name or command.callback.__name__}" in README


def test_the_study_of_three_seeds_says_what_the_readmes_say(degrade):
    done = degrade("compare", str(ROOT / "results" / "quickstart3"), "--table", "verdicts,interaction")
    assert done.returncode == 0, done.stderr
    text, page = " ".join(done.stdout.split()), (ROOT / "results" / "quickstart3" / "README.md").read_text()
    quote = " ".join(line[2:] for line in README.splitlines() if line.startswith("> "))
    for sentence in re.split(r"(?<=\.) (?=residual)", quote):
        assert sentence in text
    assert "the interaction of depth and net: 77.0 [64.3, 89.8] points" in README
    for interval in re.findall(r"\S+ \[[^\]]+\]", page):
        assert interval in text, interval


def test_every_column_of_every_table_is_documented():
    """After a meant change: `python tests/tables.py`."""
    assert tables.PAGE.read_text() == tables.page()


def test_the_guide_says_all_that_there_is(degrade):
    """After a meant change: `python tests/tables.py`."""
    said = degrade("guide").stdout
    assert tables.GUIDE.read_text() == said
    for command in cli.app.registered_commands:
        assert command.callback is not None
        assert f"### degrade {command.name or command.callback.__name__}\n" in said
    for key in ("recipe.lr", "data.root", "engine.backend", "grad_norm", "exit codes"):
        assert key in said.lower()
