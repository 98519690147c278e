"""Configurations made to do harm: studies, launchers, words to paste into a command line."""

import shutil
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from degrade.sweep import compose

CODE = (
    "hydra:\n  launcher:\n    _target_: os.system\n",
    "hydra:\n  launcher:\n    inner: {_target_: os.system, command: touch ran}\n",
    "hydra:\n  callbacks:\n    mine: {_target_: subprocess.run}\n",
    "data:\n  _target_: os.system\n",
    "recipe:\n  milestones: [{_target_: os.system}]\n",
)


@pytest.mark.parametrize("text", CODE)
def test_a_configuration_names_no_code(here, tmp_path, monkeypatch, text):
    """The code stands in a study from somebody else, put beside ours."""
    shutil.copytree(compose.conf_dir(), tmp_path / "conf")
    (tmp_path / "conf" / "study" / "evil.yaml").write_text(f"# @package _global_\n{text}")
    monkeypatch.setattr(compose, "conf_dir", lambda: tmp_path / "conf")
    before = sorted(tmp_path.rglob("*"))
    done = here("sweep", "study=evil", "data=digits", "--dry-run")
    assert done.returncode == 2
    assert "_target_" in done.stderr
    assert done.stderr.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("place", ["pkg://evil", "file://theirs"])
def test_no_package_is_imported_for_its_configurations(here, tmp_path, monkeypatch, place):
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "__init__.py").write_text("import pathlib; pathlib.Path('ran').touch()")
    monkeypatch.syspath_prepend(tmp_path)
    done = here("sweep", f"hydra.searchpath=[{place}]", "data=digits", "--dry-run")
    assert done.returncode == 2
    assert "configurations come from conf/ alone" in done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "key", ["hydra.launcher._target_", "+hydra.launcher.x._target_", "+hydra.callbacks.x._target_"]
)
def test_nor_does_a_command_line(here, tmp_path, key):
    done = here("sweep", f"{key}=os.system", "data=digits", "--dry-run")
    assert done.returncode == 2
    assert "_target_=os.system: configurations name no code to run" in done.stderr
    assert list(tmp_path.iterdir()) == []


SMALL = ["net=plain", "depth=8", "width=4", "data=digits", "recipe=smoke", "recipe.iterations=2", "jobs=1"]
SMALL += ["data.train_limit=20", "data.test_limit=20", "engine.device=cpu"]
CREATE = "${oc.create:{_target_:os.mkdir,path:ran}}"
HANDLER = "{x: {'()': os.mkdir, path: ran}}"  # logging.config would call os.mkdir
STUDIES = {  # from somebody else: text of study/evil.yaml, and the message it gets
    "a call": (f"launcher: {{x: '{CREATE}'}}", "hydra.launcher.x"),
    "a call by way of another key": (
        f"job_logging: {{x: '{CREATE}'}}\n  launcher: {{fail_fast: '${{hydra.job_logging.x}}'}}",
        "hydra.",
    ),
    "a call of a callback": (f"callbacks: {{x: '{CREATE}'}}", "hydra.callbacks.x"),
    "a handler of logs": (f"job_logging: {{version: 1, handlers: {HANDLER}}}", "hydra.job_logging"),
    "a file of logs": ("hydra_logging: {handlers: {f: {class: logging.FileHandler}}}", "hydra.hydra_logging"),
    "another folder": ("sweep: {dir: elsewhere}", "hydra.sweep.dir=elsewhere"),
    "an environment": ("job: {env_set: {PYTHONSTARTUP: evil.py}}", "hydra.job.env_set"),
    "what a launcher runs": ("launcher: {setup: [curl evil]}", "hydra.launcher.setup"),
    "an axis of Hydra": ("sweeper: {params: {hydra.launcher.fail_fast: '1'}}", "hydra.launcher.fail_fast: not an axis"),
}


def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, study: str) -> Path:
    """Our configurations, and beside them a study from somebody else."""
    shutil.copytree(compose.conf_dir(), tmp_path / "conf")
    (tmp_path / "conf" / "study" / "evil.yaml").write_text(study)
    monkeypatch.setattr(compose, "conf_dir", lambda: tmp_path / "conf")
    return tmp_path / "conf"


def refused(here, tmp_path: Path, *words: str) -> str:
    done = here("sweep", *words, *SMALL)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert not {"ran", "results", "elsewhere"} & {path.name for path in tmp_path.iterdir()}
    return done.stderr


@pytest.mark.parametrize("launcher", ["workers", "basic"])
@pytest.mark.parametrize("kind", STUDIES)
def test_a_study_of_somebody_else_sets_axes_and_nothing_that_runs(here, tmp_path, monkeypatch, kind, launcher):
    """Hydra resolves text when it makes a launcher, and called what the text names; it also called a log's handler."""
    text, said = STUDIES[kind]
    evil(tmp_path, monkeypatch, f"# @package _global_\nhydra:\n  {text}\n")
    line = refused(here, tmp_path, "study=evil", f"hydra/launcher={launcher}")
    assert said in line or "not in 'BasicLauncherConf'" in line  # the basic launcher knows only its own keys


def test_nor_does_a_launcher_that_lies_beside_it(here, tmp_path, monkeypatch):
    conf = evil(tmp_path, monkeypatch, "# @package _global_\ndefaults:\n  - override /hydra/launcher: theirs\n")
    (conf / "hydra" / "launcher").mkdir(parents=True)
    ours = "_target_: hydra_plugins.degrade.workers.WorkersLauncher"
    (conf / "hydra" / "launcher" / "theirs.yaml").write_text(f"{ours}\nfail_fast: '{CREATE}'\n")
    assert "only Hydra's plugins tell Hydra what to run" in refused(here, tmp_path, "study=evil")


ELSEWHERE = ["/../outside@hydra.launcher", "/../outside@hydra.callbacks"]
ELSEWHERE += ["override /hydra/job_logging: ../../../outside"]


@pytest.mark.parametrize("place", ELSEWHERE)
def test_nor_what_it_fetches_from_elsewhere(here, tmp_path, monkeypatch, place):
    evil(tmp_path, monkeypatch, f"# @package _global_\ndefaults:\n  - {place}\n")
    (tmp_path / "outside.yaml").write_text(f"fail_fast: '{CREATE}'\n")
    assert "hydra" in refused(here, tmp_path, "study=evil")


@pytest.mark.parametrize(
    "words",
    [
        [f"+hydra.launcher.x='{CREATE}'"],
        [f"+hydra.callbacks.x='{CREATE}'"],
        [f"+hydra.job_logging.x='{CREATE}'", "+hydra.launcher.x='${hydra.job_logging.x}'"],
        [f"hydra.job.name='{CREATE}'", "hydra.launcher.fail_fast='${hydra.job.name}'"],
        ["hydra.launcher.fail_fast='${recipe.name}'", f"recipe.name='{CREATE}'"],
        ["+hydra.job_logging.handlers.x.class=logging.FileHandler", "hydra/launcher=basic"],
    ],
    ids=" ".join,
)
def test_nor_does_a_command_line_that_somebody_was_told(here, tmp_path, words):
    assert "hydra." in refused(here, tmp_path, *words)


def test_what_a_command_line_sets_plainly_is_done(here):
    done = here("sweep", "hydra/launcher=basic", "hydra.sweep.dir=results", "hydra.job.name=mine", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "1 of 1 runs finished" in done.stdout


def test_targets_are_found_at_any_depth():
    node = OmegaConf.to_container(OmegaConf.create({"a": [{"b": {"_target_": "x.y"}}], "hydra": {"_target_": "z"}}))
    assert list(compose.walk_leaves(node)) == [("a.0.b._target_", "x.y"), ("hydra._target_", "z")]
