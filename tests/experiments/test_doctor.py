import json

import torch
from conftest import Degrade, tiny
from generated import Run, lay

from degrade.errors import UnavailableError
from degrade.experiments import doctor
from degrade.train import devices
from degrade.train.backends.native import build


def look(root) -> dict[str, doctor.Found]:
    return {found.what: found for found in doctor.examine(root)}


def test_all_that_a_training_needs_is_looked_at(here: Degrade, tmp_path):
    done = here("doctor", "--json")
    found = {each["what"]: each for each in json.loads(done.stdout)}
    assert {"python", "torch", "threads", "device", "precisions", "kernels, fp32", "disk", "results"} <= {*found}
    assert {"data=digits", "data=cifar10", "launchers", "terminal", "figures"} <= {*found}
    assert torch.__version__ in found["torch"]["found"]
    assert (done.returncode, found["results"]["next"]) == (0, "degrade sweep study=quickstart")
    assert [*tmp_path.iterdir()] == []


def test_failed_and_damaged_runs_are_named_with_the_next_command(here: Degrade, tmp_path):
    lay([Run(tiny(), {}, "failed"), Run(tiny(seed=1), {"test": (1.0,)})], tmp_path)
    found = look(tmp_path)
    assert found["locks"].state == doctor.FINE
    assert found["runs, failed"].state == doctor.WRONG
    assert "--retry-failed" in found["runs, failed"].next
    done = here("doctor", str(tmp_path))
    assert done.returncode == 1
    assert "runs, failed: degrade status says why" in done.stdout


def test_a_machine_that_lacks_something_says_what_helps(tmp_path, monkeypatch):
    def none(precision: str) -> None:
        raise UnavailableError("no C compiler")

    monkeypatch.setattr(build, "kernels", none)
    monkeypatch.setattr(devices, "gpus", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: doctor.shutil._ntuple_diskusage(10, 9, 1))
    found = look(tmp_path)
    assert (found["kernels, fp32"].state, found["kernels, fp32"].found) == (doctor.NOTE, "no C compiler")
    assert "compiler" in found["kernels, fp32"].next
    assert found["device"].state == doctor.WRONG
    assert (found["disk"].state, "results=FOLDER" in found["disk"].next) == (doctor.NOTE, True)
