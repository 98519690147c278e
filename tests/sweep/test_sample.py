import time
from dataclasses import dataclass

import pytest
from conftest import on_gpu, tiny

from degrade import data
from degrade.sweep import sample
from degrade.train.fit import Fit

BACKENDS = ["auto", "eager"]
PEAK = "from degrade.sweep import sample; from degrade.spec import parse;print(sample.measure(parse({tree!r})).memory)"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(sample, "PATIENCE", 0.02)


@dataclass
class Stepped:
    """A sample with a step only."""

    step: float


def test_depths_are_measured_up_to_the_one_asked_for(monkeypatch):
    monkeypatch.setattr(sample, "measure", lambda spec, load: Stepped(0.0))
    found = {depth: list(sample.sample_depths(tiny(depth=depth))) for depth in (8, 14, 20, 32, 110)}
    assert found == {8: [8], 14: [8, 14], 20: [8, 20], 32: [8, 20, 32], 110: [8, 20, 56]}
    monkeypatch.setattr(sample, "measure", lambda spec, load: Stepped(1.0))
    assert list(sample.sample_depths(tiny(depth=110))) == [8, 20]  # steps are long: two depths must do


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_sample_is_about_what_training_takes(backend):
    spec = tiny(width=16, recipe={"iterations": 60, "eval_every": 60}, engine={"backend": backend})
    found = sample.measure(spec)
    fit = Fit(spec, data.load(spec.data))
    begun = time.perf_counter()
    fit.advance(60)
    assert 0.1 < 60 * found.step / (time.perf_counter() - begun) < 10  # a guard against a wrong unit, not a timing
    assert found.probe == 0
    assert found.checkpoint > 8 * sum(p.numel() for p in fit.backend.copy().parameters())


def test_a_probe_is_measured_where_it_is_asked_for():
    assert sample.measure(tiny(engine={"probe": 5})).probe > 0


@pytest.mark.parametrize("engine", [{"backend": "auto"}, {"backend": "eager"}, {"recompute": True}], ids=str)
def test_the_peak_is_that_of_the_process_and_grows_with_the_batch(degrade, tmp_path, engine):
    """Measures in processes of their own, since a peak never falls."""

    def peak_of(batch: int) -> float:
        tree, program = tiny(width=16, recipe={"batch": batch}, engine=engine).tree(), tmp_path / "measure.py"
        program.write_text(PEAK.format(tree=tree))
        return float(degrade(program=program).stdout)

    small, large = peak_of(64), peak_of(2048)
    activation = 16 * 8 * 8 * 4  # bytes of an image in the first stage
    least = 3 if engine.get("recompute") else 6
    assert large - small > least * activation * (2048 - 64)
    assert small > 100e6  # the libraries are part of it


@on_gpu
def test_on_a_gpu_the_peak_is_of_its_memory_and_that_of_the_net_before_does_not_count():
    large, small = (sample.measure(tiny(recipe={"batch": n}, engine={"device": "cuda"})) for n in (2048, 16))
    assert 0 < small.memory < large.memory
