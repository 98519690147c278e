"""Runs that failed before their first point are named by every command; a user without a home folder gets no `~`."""

import pwd
from pathlib import Path

import pytest
from conftest import tiny

from degrade.store.folder import RunDir
from degrade.store.results import make_root
from degrade.store.state import State


@pytest.fixture
def failed(tmp_path) -> Path:
    make_root(tmp_path)
    folder = RunDir(tmp_path, tiny().run)
    folder.path.mkdir()
    folder.write_spec(tiny())
    folder.write_state(State("failed", reason="why not"))
    return tmp_path


@pytest.mark.parametrize("command", ["compare", "plot"])
def test_a_command_without_a_point_says_how_many_failed(here, failed, command):
    done = here(command, str(failed))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"no run has a measured point, and 1 failed; `degrade status {failed}` says why" in done.stderr


def test_status_and_clean_name_it_with_its_reason(here, failed):
    assert f"failed: {tiny().run}: why not" in here("status", str(failed)).stdout
    assert tiny().run in here("status", str(failed), "--json").stdout
    assert "failed: why not" in here("clean", str(failed), "--failed", "--yes").stdout
    assert list((failed / "runs").iterdir()) == []


def test_without_a_home_and_an_entry_of_the_user_no_folder_is_called_by_a_tilde(here, tmp_path, monkeypatch):
    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    done = here("sweep", "data=digits", "depth=8", "net=plain", "--dry-run", f"results={tmp_path / 'r'}")
    assert done.returncode == 0, done.stderr
    done = here("sweep", "data=cifar10", "depth=8", "net=plain", f"results={tmp_path / 'r'}")
    assert (done.returncode, "set XDG_CACHE_HOME to an absolute folder of yours" in done.stderr) == (2, True)
    assert [*tmp_path.iterdir()] == []
