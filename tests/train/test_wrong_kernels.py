"""Kernels that compute something else than torch are refused: each mistake is compiled for real."""

import shutil
import time

import pytest
import torch
from conftest import tiny, with_kernels
from noise import batches

from degrade import nets
from degrade.errors import SpecError, UnavailableError
from degrade.train.backends import choose
from degrade.train.backends.native import build, check

pytestmark = with_kernels()

MISTAKES = {  # what is wrong -> (file, the right words, the wrong words, a quantity that shows it)
    "mistakes inverted": ("ends.h", "best != label", "best == label", "mistakes, training"),
    "loss": ("ends.h", "most + logf(sum) - own", "most + logf(sum) - own + 0.01f", "loss, training"),
    "means frozen": ("normalise.h", "norm->mean[c] += ", "norm->mean[c] += 0 * ", "statistics, running_mean"),
    "variances frozen": ("normalise.h", "norm->variance[c] += ", "norm->variance[c] += 0 * ", "running_var"),
    "evaluation": ("normalise.h", "norm->beta[c] - norm->mean[c] *", "norm->beta[c] - 0 *", "loss, evaluation"),
    "momentum ignored": ("kernels.h", "moved = by->momentum * floats(v + i) + step", "moved = step", "update"),
    "decay ignored": ("kernels.h", "from + decay * old", "from", "layers"),
    "decay of all ignored": ("ends.h", "= step->descent->other_decay", "= 0", "head"),
    "nesterov ignored": ("kernels.h", "step + by->momentum * moved : moved", "moved : moved", "update"),
    "gradient": ("ends.h", "head->logits[label] -= 1;", "head->logits[label] -= 1.2f;", "gradient"),
    "gradient of a chunk": ("ends.h", "chunk = 1; chunk < chunks", "chunk = 2; chunk < chunks", "gradient"),
    "norm of the gradient": ("kernels.h", "squares += from * from", "squares += from", "norm, of gradients"),
}


@pytest.fixture
def miscompiled(tmp_path, monkeypatch):
    """Makes the next kernels from sources with a mistake, in a new cache. Without optimisation, to save time."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "_COMPILE_FLAGS", ("-O0", *build._COMPILE_FLAGS[1:]))
    monkeypatch.setattr(build, "_HERE", tmp_path)

    def make(file: str, right: str, wrong: str) -> None:
        for name in build._SOURCES:
            shutil.copy(build.__file__.replace("build.py", name), tmp_path / name)
        before = (tmp_path / file).read_text()
        assert right in before
        (tmp_path / file).write_text(before.replace(right, wrong))

    build.load.cache_clear()
    yield make
    build.load.cache_clear()


def choose_here(name: str) -> str:
    spec = tiny()
    return choose(name, nets.build(spec.net, channels=1, classes=10), spec, batches(spec, channels=1)).name


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_that_was_compiled_is_found(miscompiled, what):
    *change, shown = MISTAKES[what]
    miscompiled(*change)
    assert shown in check.find_wrong(check.measure_distances("fp32"), "fp32")


def test_without_a_mistake_nothing_is_found(miscompiled):
    miscompiled("ends.h", "best != label", "best != label")
    assert check.find_wrong(check.measure_distances("fp32"), "fp32") == ""


def test_wrong_kernels_train_no_run_whether_they_are_asked_for_or_not(miscompiled):
    miscompiled("ends.h", "best != label", "best == label")
    assert choose_here("auto") == "eager"
    with pytest.raises(SpecError, match=r"engine\.backend=native: they are wrong: mistakes, training .* off"):
        choose_here("native")


@pytest.fixture
def asked(monkeypatch):
    """What was measured of kernels: "right" and "fast", in turn. They are measured all the same, in fewer steps."""
    said = []
    monkeypatch.setattr(check, "_TIMES", 4)
    for name, word in (("measure_distances", "right"), ("measure_speed", "fast")):
        measure = getattr(check, name)
        monkeypatch.setattr(check, name, lambda given, word=word, measure=measure: said.append(word) or measure(given))
    return said


def test_wrong_kernels_are_measured_again_each_time(miscompiled, asked):
    """Nothing says that they were wrong: the next library in their place may be right."""
    miscompiled("ends.h", "best != label", "best == label")
    for _ in range(2):
        with pytest.raises(UnavailableError, match="wrong: mistakes, training"):
            check.demand_worthwhile(tiny())
    assert asked == ["right", "right"]


def test_slow_kernels_are_measured_again_and_can_be_had_by_name(miscompiled, asked):
    """That they are slow may be the load of a moment. Each of the calls of a step waits 10 ms here."""
    miscompiled("kernels.c", "int threads) {\n", "int threads) {\n    usleep(10000);\n")
    for _ in range(2):
        with pytest.raises(UnavailableError, match="slower than torch here"):
            check.demand_worthwhile(tiny())
    assert asked == 2 * ["right", "fast"]
    assert choose_here("auto") == "eager"
    asked.clear()
    assert choose_here("native") == "native"
    assert asked == []


def test_right_and_fast_kernels_are_measured_once(miscompiled, asked, monkeypatch):
    """Here torch waits a second in each step, so that kernels without optimisation are faster on a busy machine too."""
    miscompiled("ends.h", "best != label", "best != label")
    step = check.Eager.step
    monkeypatch.setattr(check, "_TIMES", 2)
    monkeypatch.setattr(check.Eager, "step", lambda self, iteration: time.sleep(1) or step(self, iteration))
    for _ in range(2):
        check.demand_worthwhile(tiny())
        build.load.cache_clear()
    assert asked == ["right", "fast"]
    assert choose_here("auto") == "native"


def test_values_that_are_no_numbers_are_wrong(monkeypatch):
    assert check.find_wrong({"loss, training": float("nan")}, "fp32")
    real = check.Native.grad_norm
    monkeypatch.setattr(check.Native, "grad_norm", lambda self: torch.full_like(real(self), float("nan")))
    assert "norm, of gradients inf off" in check.find_wrong(check.measure_distances("fp32"), "fp32")
