"""What a command line lists or refuses needs neither pictures nor a network."""

import json
import re

import pytest

from degrade import data
from degrade.data import cifar
from degrade.errors import DataError, SpecError
from degrade.spec import DataSpec

PAPER = ["depth=20,56", "net=plain", "recipe.lr=0.1,0.01"]


@pytest.fixture
def offline(monkeypatch):
    """Every download is an error of the test."""

    def fetch(*_):
        raise AssertionError("began to download")

    monkeypatch.setattr(cifar, "fetch", fetch)


@pytest.mark.usefixtures("offline", "user")
def test_the_runs_of_a_sweep_are_listed_before_its_pictures_are_here(here, tmp_path):
    """It downloaded 170 MB first."""
    done = here("sweep", *PAPER, "--dry-run", f"results={tmp_path}", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["runs"]
    assert {(row["run"], row["differs"]) for row in rows} == {
        (f"plain-{depth}-s0-?", f"recipe.lr={lr}") for depth in (20, 56) for lr in ("0.1", "0.01")
    }
    assert "the pictures of data=cifar10 are not looked at yet" in done.stderr


@pytest.mark.usefixtures("offline", "user")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["engine.precision=tf32", "engine.device=cpu"], "engine.precision=tf32: needs a CUDA device"),
        (["engine.backend=native", "engine.device=cpu", "recipe.norm=none"], "engine.backend=native"),
        (["data.normalize=[123.7,116.3,103.5,58.4,57.1,57.4]"], "the scale of pixels is 0 to 1"),
        (["data.validation=50000"], "must leave training images; there are 50,000"),
        (["data.size=64"], "data=cifar10 has 32x32 pixels"),
        (["data.root=nowhere"], "nowhere: no such folder"),
        (["hydra/launcher=basic", "--fail-fast"], "--fail-fast"),
        (["jobs=0"], "jobs=0: must be at least 1"),
    ],
)
def test_a_refusal_comes_before_a_download(here, tmp_path, words, said):
    for command in ("sweep", "plan") if "--fail-fast" not in words else ("sweep",):
        done = here(command, "depth=20", "net=plain", *words, f"results={tmp_path / 'r'}")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert said in done.stderr
        assert not (tmp_path / "r").exists()


def test_digits_are_known_everywhere_so_a_dry_run_has_the_names_of_the_runs(here, tmp_path):
    words = ["data=digits", "net=plain", "depth=8", f"results={tmp_path}"]
    done = here("sweep", *words, "--dry-run", "--json")
    (row,) = json.loads(done.stdout)["runs"]
    assert re.fullmatch(r"plain-8-s0-[0-9a-f]{8}", row["run"])
    assert "differs" in row


def test_a_root_that_no_dataset_has_is_refused(here, tmp_path):
    done = here("sweep", "data=digits", "data.root=photos", "depth=8", f"results={tmp_path / 'r'}")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "data.root=photos: data=digits lies in no folder; leave data.root out" in done.stderr


@pytest.mark.usefixtures("offline", "user")
def test_recall_raises_what_can_be_known(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        data.recall(DataSpec(name="cifar100", root=str(tmp_path / "x")))
    with pytest.raises(SpecError, match=r"data\.root=null"):
        data.recall(DataSpec(name="image_folder"))
    assert data.recall(DataSpec(name="cifar10")).content == ""
