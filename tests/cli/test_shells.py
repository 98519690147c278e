"""What the shells are offered besides overrides, and the scripts that put no space behind a key."""

import pytest

from degrade.cli.offer import offer_folders, offer_values


def test_folders_and_values_that_begin_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results" / "runs").mkdir(parents=True)
    (tmp_path / "readme").touch()
    assert offer_folders("re") == ["results/"]
    assert offer_folders("results/") == ["results/runs/"]
    assert offer_folders("nowhere/x") == []
    assert offer_values("points", "odds")("o") == ["odds"]


@pytest.mark.parametrize(("shell", "words"), [("bash", "compopt -o nospace"), ("zsh", "compadd -S ''")])
def test_the_scripts_put_no_space_behind_a_key(degrade, monkeypatch, shell, words):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")  # typer takes the shell that is named
    assert words in degrade("--show-completion", shell).stdout
