"""What is meant to be shared says nothing of the machine and its user, and is the same result."""

import json
import re
import socket
import zlib
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import Degrade
from generated import Run, lay
from places import ROOT

from degrade.spec import DataSpec, NetSpec, RunSpec
from degrade.store import parquet, private, results
from degrade.store.belonging import seal_files
from degrade.store.folder import RunDir, write_json
from degrade.store.parquet import CURVES, LABEL_KEY
from degrade.store.private import shorten_command, shorten_places
from degrade.store.share import share_spec
from degrade.store.state import State

USER, HOST = "annette", "lab7-gpu"
HOME = f"/home/{USER}"
MARKS = (HOME, USER, HOST, "/scratch", '"pid"', "secret")

ERRORS = dict.fromkeys(("train", "train_clean", "test"), (60.0, 20.0))


@pytest.fixture(autouse=True)
def somebody(monkeypatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, USER)
    monkeypatch.setenv("HOME", HOME)
    monkeypatch.setattr(socket, "gethostname", lambda: HOST)
    private.names_here.cache_clear()
    yield
    private.names_here.cache_clear()


def specs(label: str = "") -> list[RunSpec]:
    data = DataSpec(name="image_folder", content="0123456789abcdef", root=f"{HOME}/jpeg", size=32, label=label)
    return [RunSpec(net=NetSpec(net=net, depth=depth), data=data) for net in ("plain", "residual") for depth in (8, 14)]


ENVIRONMENT = {
    "degrade": "0.1.0",
    "platform": f"Linux-6.1-{HOST}-x86_64-with-glibc2.35",
    "cpus": 2,
    "cuda": None,
    "command": f"{HOME}/bin/degrade sweep data=image_folder data.root={HOME}/jpeg results=/scratch/{USER}/results",
    "hostname": HOST,  # of another degrade
}


@pytest.fixture
def root(tmp_path) -> Path:
    """Four runs that are over and one that is not, as they lie on somebody's machine."""
    root = tmp_path / "results"
    lay([Run(spec, ERRORS) for spec in specs("CIFAR-10 (JPEG)")], root)
    lay([Run(replace(specs()[0], seed=1), ERRORS, "interrupted")], root)
    for folder in results.run_dirs(root):
        (folder.path / "log.txt").write_text(f"{HOME}: secret\n")
        folder.checkpoint.write_bytes(f"{HOME}: secret".encode())
        write_json(folder.environment, {**ENVIRONMENT, "resumed": [ENVIRONMENT]})
        state = json.loads(folder.state.read_text())
        write_json(folder.state, {**state, "pid": 4242, "cwd": f"{HOME}/secret"})
    return root


def texts(folder: Path) -> dict[str, str]:
    """All that a reader may find in each file: its bytes, its packed parts, the words and metadata of its tables."""
    found: dict[str, str] = {}
    for path in (path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        said = [str(path.relative_to(folder)), content.decode("latin1"), content.decode("utf-16-be", "replace")]
        if path.suffix == ".parquet":
            rows = pq.read_table(path)
            said += [str(rows.schema.to_string(show_schema_metadata=True)), str(rows.to_pylist())]
        for packed in re.findall(rb"stream\r?\n(.*?)endstream", content, re.DOTALL):
            said.append(zlib.decompressobj().decompress(packed).decode("latin1") if packed[:1] == b"x" else "")
        found[said[0]] = "\n".join(said)
    return found


def find_marks(folder: Path, *more: str) -> list[tuple[str, str]]:
    return [(name, mark) for name, text in texts(folder).items() for mark in (*MARKS, *more) if mark in text]


def test_what_lies_on_the_machine_has_the_marks(root):
    """So that the tests below look for something that is there."""
    assert {mark for _, mark in find_marks(root)} == {*MARKS}


def test_a_shared_copy_says_nothing_of_machine_and_user(here: Degrade, root, tmp_path):
    done = here("share", str(root), "--out", str(tmp_path / "copy"))
    assert done.returncode == 0, done.stderr
    assert "4 runs in" in done.stdout
    assert f"left out: {replace(specs()[0], seed=1).run}, interrupted" in done.stdout
    assert find_marks(tmp_path / "copy", str(tmp_path), tmp_path.name) == []
    names = {path.name for path in (tmp_path / "copy").rglob("*") if path.is_file()}
    assert names == {"curve.parquet", "environment.json", "spec.json", "state.json"}


def test_a_shared_copy_is_the_same_result_sealed_and_whole(here: Degrade, root, tmp_path):
    copy = tmp_path / "copy"
    assert here("share", str(root), "--out", str(copy)).returncode == 0
    for spec in specs("CIFAR-10 (JPEG)"):
        ours, theirs = RunDir(root, spec.run), RunDir(copy, spec.run)
        assert theirs.standing().over  # every checksum is right
        assert theirs.read_spec() == share_spec(spec)
        assert (theirs.read_spec().run, theirs.read_spec().group) == (spec.run, spec.group)
        assert parquet.read(theirs.curve, CURVES).equals(parquet.read(ours.curve, CURVES))
        there = theirs.read(theirs.environment)
        command = "degrade sweep data=image_folder data.root=jpeg results=results"
        assert (there["platform"], there["cpus"], there["command"]) == ("Linux", 2, command)
        assert there["resumed"][0]["command"] == command
        kept = replace(ours.read_state(), host=None, pid=None, holder=None, seals=seal_files(theirs), more={}, format=2)
    assert theirs.read_state() == kept
    assert theirs.standing().name == ours.standing().name
    done = here("compare", str(copy), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdicts"] == json.loads(here("compare", str(root), "--json").stdout)["verdicts"]
    assert here("plot", str(copy), "--figure", "fig6").returncode == 0
    assert here("share", str(copy), "--out", str(tmp_path / "again")).returncode == 0
    assert texts(tmp_path / "again").keys() == {name for name in texts(copy) if not name.startswith("figures")}


def test_sharing_once_more_adds_what_has_ended_since(here: Degrade, root, tmp_path):
    copy, late = tmp_path / "copy", RunDir(root, replace(specs()[0], seed=1).run)
    assert here("share", str(root), "--out", str(copy)).returncode == 0
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    late.write_state(State("finished", outcome="", reason="", iteration=10, iterations=10))
    assert "5 runs in" in here("share", str(root), "--out", str(copy)).stdout
    assert before.items() <= {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}.items()


def test_no_copy_takes_the_place_of_what_was_trained(here: Degrade, root, tmp_path):
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    done = here("share", str(root), "--out", str(root))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "is a run that was trained here, and no copy; name another folder with --out" in done.stderr
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "runs").symlink_to(tmp_path / "mine")
    done = here("share", str(root), "--out", str(tmp_path / "out"))
    assert (done.returncode, "is a link, and nothing is written behind it" in done.stderr) == (2, True)
    assert list((tmp_path / "mine").iterdir()) == []


def test_what_cannot_be_shared_is_one_line(here: Degrade, root, tmp_path):
    done = here("share", str(root))
    assert (done.returncode, done.stderr) == (2, "degrade: share: say where to, as in --out to-share\n")
    for folder in results.run_dirs(root):
        folder.write_state(State("interrupted"))
    done = here("share", str(root), "--out", str(tmp_path / "copy"))
    assert (done.returncode, "no run there is over" in done.stderr) == (2, True)
    assert not (tmp_path / "copy").exists()


def test_a_damaged_run_is_left_out_and_named(here: Degrade, root, tmp_path):
    folder = RunDir(root, specs()[0].run)
    folder.curve.write_bytes(folder.curve.read_bytes()[:-20] + b"\0" * 20)
    done = here("share", str(root), "--out", str(tmp_path / "copy"))
    assert done.returncode == 0
    assert f"left out: {folder.run}, damaged" in done.stdout
    assert not (tmp_path / "copy" / "runs" / folder.run).exists()


def test_figures_carry_no_place_unless_asked(here: Degrade, root, tmp_path):
    words = ("plot", str(root), "--figure", "fig6", "--out")
    assert here(*words, str(tmp_path / "open")).returncode == 0
    assert find_marks(tmp_path / "open", str(tmp_path)) == []
    assert all("degrade plot results --figure fig6 --out open" in text for text in texts(tmp_path / "open").values())
    assert here(*words, str(tmp_path / "own"), "--private").returncode == 0
    assert {name for name, _ in find_marks(tmp_path / "own", str(tmp_path))} == {*texts(tmp_path / "own")}


@pytest.mark.parametrize("form", ["markdown", "latex", "csv", "json"])
@pytest.mark.parametrize("command", ["compare", "sweep"])
def test_sheets_for_others_carry_no_place_unless_asked(here: Degrade, root, form, command):
    spec = replace(specs()[0], seed=1)
    RunDir(root, spec.run).write_state(State("failed", reason=f"{root}/x.pt: cannot be read"))
    table = ["--table", "lines"] if (form, command) == ("csv", "compare") else []
    words = {
        "compare": ["compare", str(root), *table],
        "sweep": ["sweep", "data=digits", "net=plain", "depth=8", "shortcut=A", f"results={root}", "--dry-run"],
    }[command]
    said = here(*words, "--format", form)
    assert said.returncode == 0, said.stderr
    assert str(root) not in said.stdout
    kept = here(*words, "--format", form, "--private").stdout
    shows = {"compare": form != "csv", "sweep": form in ("markdown", "latex")}[command]
    assert (str(root).replace("_", "\\_") in kept or str(root) in kept) == shows


def test_a_label_is_shown_and_changes_no_name(here: Degrade, root, tmp_path):
    assert [spec.run for spec in specs("CIFAR-10 (JPEG)")] == [spec.run for spec in specs()]
    assert specs("x")[0].protocol == specs()[0].protocol
    assert here("plot", str(root), "--figure", "fig6", "--out", str(tmp_path / "drawn")).returncode == 0
    (svg,) = (tmp_path / "drawn").rglob("*.svg")
    assert ">CIFAR-10 (JPEG); recipe paper; fp32<" in svg.read_text()
    for form in ("table", "markdown", "latex"):
        assert "CIFAR-10 (JPEG), image" in " ".join(here("compare", str(root), "--format", form).stdout.split())
    metadata = pq.read_schema(RunDir(root, specs()[0].run).curve).metadata
    assert metadata[LABEL_KEY] == b"CIFAR-10 (JPEG)"
    assert LABEL_KEY not in pq.read_schema(RunDir(root, replace(specs()[0], seed=1).run).curve).metadata


def test_a_label_can_be_given_to_runs_that_are_over(here: Degrade, tmp_path):
    words = ("net=plain", "depth=8", "width=2", "data=digits", "recipe=smoke", "recipe.iterations=2", "jobs=1")
    assert here("train", *words).returncode == 0
    (folder,) = results.run_dirs(tmp_path / "results")
    before = {path: path.read_bytes() for path in folder.path.iterdir()}
    done = here("train", *words, "data.label='Digits, 8x8'")
    assert (done.returncode, "1 finished, 0 to do" in done.stdout) == (0, True)
    assert "error at the last point, % (Digits, 8x8, digits-" in " ".join(done.stdout.split())
    assert folder.read_spec().data.label == "Digits, 8x8"
    changed = {path for path, content in before.items() if path.read_bytes() != content}
    assert changed <= {folder.spec, folder.state, folder.lock}
    assert folder.over


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        (f"degrade plot {HOME}/results --out '/tmp/a b/c d'", "degrade plot results --out 'c d'"),
        (f"degrade sweep data.root=~{USER}/jpeg results=../results net=plain,residual", None),
        (f"degrade plot runs/{USER}/x {HOST}/y", "degrade plot runs/.../x .../y"),
        ("degrade sweep data=cifar10 data.url=https://lab7/x depth=8", "degrade sweep data=cifar10 depth=8"),
        (f"degrade evaluate --ckpt {USER}.pth", "degrade evaluate --ckpt ....pth"),
        ("degrade plot results --net plain,residual", "degrade plot results --net plain,residual"),
        ("degrade plot 'an open quote", "degrade plot 'an open quote"),
    ],
)
def test_a_command_is_shown_as_somebody_else_would_type_it(typed, shown):
    wanted = shown or "degrade sweep data.root=jpeg results=results net=plain,residual"
    assert shorten_command(typed) == wanted


def test_text_without_places_stays_as_it_is():
    for text in ("256.0 images/s, n/a, A / B, 1/2", "https://host/a/b", "error, % (digits-ab12)", "a/b and c/d"):
        assert shorten_places(text) == text
    assert (
        shorten_places("4 to do in /home/x/results; (see '/a b/c d/log.txt')") == "4 to do in results; (see 'log.txt')"
    )


def test_committed_studies_say_nothing_of_machine_and_user():
    folders = [
        folder for root in (ROOT / "results").iterdir() if (root / "runs").is_dir() for folder in results.run_dirs(root)
    ]
    assert folders
    for folder in (folder for folder in folders if not folder.log.exists()):  # not those that somebody trains here
        state, said = folder.read_state(), folder.read(folder.environment)
        assert (folder.read_spec().data.root, state.host, state.pid) == (None, None, None), folder.path
        assert said["platform"] == "Linux"
        assert shorten_command(said["command"]) == said["command"].replace("../", "")
