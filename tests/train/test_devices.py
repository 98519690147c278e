"""Devices are counted by asking the driver, and a run that needs what is not here is refused before anything starts."""

import shutil
import subprocess

import pytest
from conftest import tiny

from degrade.errors import SpecError
from degrade.train import devices
from degrade.train.processes import default_jobs

# What we ask of a driver: CUDA_VISIBLE_DEVICES hides devices, as it does for the real one.
DRIVER = """
#include <stdlib.h>
#include <string.h>
int cuInit(unsigned flags) { return getenv("BROKEN") ? 100 : 0; }
int cuDeviceGetCount(int *count) {
    const char *seen = getenv("CUDA_VISIBLE_DEVICES");
    *count = 3;
    if (seen) { *count = 0; for (const char *c = seen; *c && *c != '-'; c++) *count += (*c != ','); }
    return 0;
}
"""


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """A driver of three GPUs."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    (tmp_path / "driver.c").write_text(DRIVER)
    library = tmp_path / "libcuda.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(tmp_path / "driver.c")], check=True)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    devices.gpus.cache_clear()
    yield monkeypatch
    devices.gpus.cache_clear()


@pytest.mark.parametrize(("seen", "count"), [(None, 3), ("1,2", 2), ("0", 1), ("", 0), ("-1", 0)])
def test_one_worker_a_gpu_that_may_be_seen(driver, seen, count):
    """-1 counted as one, and a machine without /proc/driver got a worker a core on one GPU."""
    if seen is not None:
        driver.setenv("CUDA_VISIBLE_DEVICES", seen)
    assert devices.gpus() == count
    if count:
        assert default_jobs(on_cpu=False) == count


def test_a_driver_that_does_not_start_has_no_gpus(driver):
    driver.setenv("BROKEN", "1")
    assert devices.gpus() == 0


@pytest.fixture
def bare(monkeypatch):
    """A machine without a GPU."""
    monkeypatch.setattr(devices, "gpus", lambda: 0)


REFUSED = [
    ({"engine": {"device": "cuda"}}, "engine.device=cuda: no CUDA device is visible; use engine.device=cpu, or auto"),
    ({"engine": {"precision": "tf32"}}, "engine.precision=tf32: needs a CUDA device, and none is used here"),
    ({"engine": {"backend": "graph"}}, "engine.backend=graph: needs a CUDA device, and none is used here"),
    ({"net": "highway", "engine": {"backend": "native"}}, "engine.backend=native: net=highway has no kernels"),
    ({"recipe": {"norm": "none"}, "engine": {"backend": "native"}}, "engine.backend=native: recipe.norm=none has"),
]


@pytest.mark.parametrize(("changes", "said"), REFUSED)
def test_what_is_not_here_is_refused_in_one_line(bare, changes, said):
    with pytest.raises(SpecError) as caught:
        devices.refuse_missing(tiny(**changes))
    assert said in str(caught.value)


def test_what_is_here_is_not_refused(bare):
    for engine in ({}, {"device": "auto"}, {"device": "cpu", "backend": "native"}, {"precision": "bf16"}):
        devices.refuse_missing(tiny(engine=engine))


def test_a_gpu_may_have_what_a_cpu_has_not(monkeypatch):
    monkeypatch.setattr(devices, "gpus", lambda: 1)
    for changes, _ in REFUSED[:3]:
        devices.refuse_missing(tiny(**changes))
    with pytest.raises(SpecError, match=r"engine\.precision=tf32"):
        devices.refuse_missing(tiny(engine={"precision": "tf32", "device": "cpu"}))


@pytest.mark.parametrize("command", [["sweep"], ["sweep", "--dry-run"], ["plan"], ["train", "depth=8"]])
def test_a_command_refuses_it_before_anything_is_on_disk(bare, here, tmp_path, command):
    """Four workers started, failed, and left folders that no command listed."""
    words = [*command, "net=plain", *([] if "depth=8" in command else ["depth=8,14"]), "data=digits", "recipe=smoke"]
    done = here(*words, "engine.device=cuda", f"results={tmp_path / 'r'}")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "engine.device=cuda: no CUDA device is visible" in done.stderr
    assert not (tmp_path / "r").exists()
