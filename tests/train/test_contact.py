"""The first contact with a GPU: which backend, layout and cuDNN benchmark. A stand-in for the clock decides."""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import tiny
from fitting import start
from noise import batches

from degrade import nets
from degrade.errors import PassingError, SpecError, UnavailableError
from degrade.spec import EngineSpec
from degrade.store.folder import RunDir
from degrade.train import backends, fit, run
from degrade.train.backends import choose, contact
from degrade.train.backends.contact import Answer, Way
from degrade.train.environment import environment

GPU, LAST, FIRST = torch.device("cuda", 0), "channels_last", "contiguous"


@pytest.fixture(autouse=True)
def gpu(user, monkeypatch):
    """A GPU by name; what is set for it is set back."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "GPU of tests")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(contact, "_demand_right", lambda precision, device: None)
    monkeypatch.setattr(contact, "_KNOWN", {})
    for name in ("benchmark", "deterministic", "allow_tf32"):
        monkeypatch.setattr(torch.backends.cudnn, name, getattr(torch.backends.cudnn, name))
    return user / "gpus"


@pytest.fixture
def clock(monkeypatch) -> Callable[..., list[str]]:
    """Lets ways take so many seconds, others 1; returns the names of the ways that are timed from then on."""

    def set_to(**seconds: float | Exception) -> list[str]:
        asked: list[str] = []

        def time_way(way: Way, engine: EngineSpec, device: torch.device) -> float:
            asked.append(way.name)
            found = seconds.get(way.name.replace(" ", "_"), seconds.get(way.backend, 1.0))
            if isinstance(found, Exception):
                raise found
            return found

        monkeypatch.setattr(contact, "time_way", time_way)
        return asked

    return set_to


def forget() -> None:
    """As in the next process."""
    contact._KNOWN.clear()


ALL = ("graph", "fused")


@pytest.mark.parametrize(
    ("seconds", "taken"),
    [
        ({}, Way("graph", LAST, False)),
        ({"fused": 0.5}, Way("fused", LAST, False)),
        ({"fused": 0.99}, Way("graph", LAST, False)),  # no gain worth another backend
        ({"fused_contiguous": 0.5, "fused": 0.6}, Way("fused", FIRST, False)),
        ({"graph_contiguous": 0.9}, Way("graph", FIRST, False)),
        ({"fused": 2.0}, Way("graph", LAST, False)),
    ],
)
def test_the_fastest_way_is_taken_and_the_first_where_none_gains(clock, seconds, taken):
    asked = clock(**seconds)
    assert contact.ask(EngineSpec(), GPU).pick(ALL) == taken
    assert asked == [f"{backend} {layout}" for backend in ALL for layout in (LAST, FIRST)]


def test_the_benchmark_is_tried_only_where_runs_need_not_repeat(clock):
    asked = clock(fused_contiguous_benchmark=0.5, graph_channels_last_benchmark=0.4)
    assert contact.ask(EngineSpec(), GPU).pick(ALL) == Way("graph", LAST, False)
    assert not any("benchmark" in name for name in asked)
    answer = contact.ask(EngineSpec(deterministic=False), GPU)
    assert answer.pick(ALL) == Way("graph", LAST, True)
    assert answer.pick(["fused"]) == Way("fused", FIRST, True)


def test_in_bf16_there_is_one_layout(clock):
    """degrade.train.layout has bf16 channels last, whatever the layout is called."""
    asked = clock()
    contact.ask(EngineSpec(precision="bf16"), GPU)
    assert asked == [f"graph {LAST}", f"fused {LAST}"]


def test_an_answer_is_kept_for_this_gpu_precision_libraries_and_kernels_alone(clock, gpu, monkeypatch):
    clock(fused=0.5)
    first = contact.ask(EngineSpec(), GPU)
    forget()
    asked = clock()
    assert contact.ask(EngineSpec(), GPU) == first
    assert asked == []
    for change in (
        lambda: contact.ask(EngineSpec(precision="bf16"), GPU),
        lambda: contact.ask(EngineSpec(deterministic=False), GPU),
        lambda: monkeypatch.setattr(torch, "__version__", "2.0.0"),
        lambda: monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "another"),
        lambda: monkeypatch.setattr(contact, "fingerprint", lambda: "of other kernels"),
    ):
        forget()
        asked.clear()
        change()
        contact.ask(EngineSpec(), GPU)
        assert asked
    assert len(list(gpu.glob("*.json"))) == 6


@pytest.mark.parametrize("content", [b"", b"{}", b'{"seconds": {"graph channels_last": 0}, "missing": {}}'])
def test_a_damaged_answer_is_measured_anew(clock, gpu, content):
    clock(fused=0.5)
    first = contact.ask(EngineSpec(), GPU)
    (path,) = gpu.glob("*.json")
    path.write_bytes(content)
    forget()
    asked = clock(fused=0.5)
    assert contact.ask(EngineSpec(), GPU) == first
    assert asked


def test_without_a_folder_each_process_measures(clock, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "relative")
    for _ in range(2):
        forget()
        asked = clock(fused=0.5)
        assert contact.ask(EngineSpec(), GPU).pick(ALL).backend == "fused"
        assert asked


class Elsewhere:
    """Pictures that claim to be on a GPU."""

    images = type("Pictures", (), {"pixels": type("Pixels", (), {"device": GPU})})


def choose_there(name: str, **engine: Any) -> backends.Choice:
    net = nets.build(tiny().net, channels=1, classes=10)
    return choose(name, net, tiny(engine=engine), Elsewhere())  # type: ignore[arg-type]


@pytest.fixture
def built(monkeypatch) -> dict[str, Exception]:
    """Backends are their name and layout. What is put in here is raised instead."""
    refused: dict[str, Exception] = {}

    def make(name: str) -> Callable[..., Any]:
        def act(*_: object, layout: str = "") -> str:
            if name in refused:
                raise refused[name]
            return f"{name} {layout}"

        return act

    for name in ("eager", "graph", "fused"):
        monkeypatch.setitem(backends.BACKENDS, name, make(name))
    monkeypatch.setattr(backends, "find_unsuited", lambda spec, net: "")
    return refused


@pytest.mark.parametrize("name", ["auto", "graph", "fused"])
def test_a_run_begins_in_the_way_that_was_measured_and_says_so(clock, built, name):
    clock(fused_contiguous=0.5, graph_contiguous_benchmark=0.6)
    found = choose_there(name, deterministic=False)
    wanted = "graph" if name == "graph" else "fused"
    assert found[:3] == (f"{wanted} contiguous", wanted, "")
    assert torch.backends.cudnn.benchmark == (name == "graph")
    assert found.measured is not None
    assert found.measured["backend"] == wanted
    assert found.measured["layout"] == FIRST
    assert found.measured["seconds"]["fused contiguous"] == 0.5


def test_where_the_fused_step_is_wrong_auto_is_a_graph_and_it_is_refused(clock, built, monkeypatch):
    def wrong(precision: str, device: torch.device) -> None:
        raise UnavailableError("it is wrong here: loss 1 off")

    monkeypatch.setattr(contact, "_demand_right", wrong)
    clock(fused=0.1)
    why = "no fused step: it is wrong here: loss 1 off"
    assert choose_there("auto")[:3] == ("graph channels_last", "graph", why)
    with pytest.raises(SpecError, match=rf"^engine\.backend=fused: {why}; use engine\.backend=auto$"):
        choose_there("fused")


def test_what_cannot_be_captured_falls_back_and_says_why(clock, built):
    clock(fused=0.5)
    built["fused"] = UnavailableError("the step cannot be captured (a)")
    why = "no fused step: the step cannot be captured (a)"
    assert choose_there("auto")[:3] == ("graph channels_last", "graph", why)
    built["graph"] = UnavailableError("the step cannot be captured (b)")
    both = f"{why}; no graph: the step cannot be captured (b)"
    assert choose_there("auto")[:3] == ("eager ", "eager", both)
    with pytest.raises(SpecError, match=r"^engine\.backend=graph: no graph: .* \(b\); use engine\.backend=auto$"):
        choose_there("graph")


def test_nets_that_are_not_fused_are_a_graph(clock, built, monkeypatch):
    clock(fused=0.1)
    monkeypatch.setattr(backends, "find_unsuited", lambda spec, net: "there is none of Other blocks")
    assert choose_there("auto")[:3] == ("graph channels_last", "graph", "no fused step: there is none of Other blocks")
    with pytest.raises(SpecError, match="there is none of Other blocks"):
        choose_there("fused")


def test_kernels_that_cannot_be_built_are_missing_unless_the_reason_passes(clock, gpu):
    clock(fused=ValueError("no C compiler\nmore"))
    found = contact.ask(EngineSpec(), GPU)
    assert found.missing == {"fused": "its kernels cannot be built or run (ValueError: no C compiler)"}
    assert found.pick(ALL).backend == "graph"
    forget()
    clock(fused=OSError("ptxas: No space left on device"))
    with pytest.raises(PassingError, match=r"No space left on device.*the same command goes on"):
        contact.ask(EngineSpec(precision="bf16"), GPU)
    assert [path.name[:4] for path in gpu.glob("*.json")] == ["fp32"]


def test_no_memory_is_no_reason_for_another_backend(clock, gpu):
    clock(fused=torch.OutOfMemoryError())
    with pytest.raises(torch.OutOfMemoryError):
        contact.ask(EngineSpec(), GPU)
    assert not [*gpu.glob("*.json"), *gpu.glob("*.trial")]


def test_a_graph_that_was_not_captured_is_tried_again_by_the_next_process(clock, built):
    clock(graph=UnavailableError("the step cannot be captured (now)"), fused=UnavailableError("nor this"))
    why = "no fused step: nor this; no graph: the step cannot be captured (now); nor this"
    assert choose_there("auto")[:3] == ("eager ", "eager", why)
    forget()
    clock()
    assert choose_there("auto").name == "graph"


def test_after_two_deaths_in_the_fused_step_it_is_not_tried_until_the_answer_is_removed(clock, gpu):
    clock(fused=0.1)
    for _ in range(2):
        if not (child := os.fork()):
            try:
                contact._demand_right = lambda precision, device: os._exit(9)
                contact.ask(EngineSpec(), GPU)
            finally:
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    found = contact.ask(EngineSpec(), GPU)
    (path,) = gpu.glob("*.json")
    assert found.missing == {"fused": f"2 processes ended while they tried it; to try again, remove {path}"}
    assert found.pick(ALL).backend == "graph"
    forget()
    path.unlink()
    assert contact.ask(EngineSpec(), GPU).pick(ALL).backend == "fused"


def test_the_settings_of_the_run_come_back_after_the_measurement(clock):
    clock()
    torch.backends.cudnn.benchmark = False
    contact.ask(EngineSpec(precision="tf32", deterministic=False), GPU)
    assert torch.backends.cudnn.allow_tf32
    assert not torch.backends.cudnn.deterministic


def test_what_was_measured_stands_beside_the_run(tmp_path, monkeypatch):
    measured = Answer({"graph channels_last": 0.001}, {"fused": "why"}).describe(Way("graph", LAST, False))
    real = fit.choose
    monkeypatch.setattr(fit, "choose", lambda *given: real(*given)._replace(measured=measured))
    spec = tiny(engine={"backend": "eager"})
    run.run([spec], tmp_path)
    folder = RunDir(tmp_path, spec.run)
    assert folder.read(folder.environment)["measured"] == measured
    assert "measured" not in environment(torch.device("cpu"), "")


def test_on_a_cpu_nothing_is_measured(clock):
    asked = clock()
    spec = replace(tiny(), engine=EngineSpec(backend="eager"))
    net = nets.build(spec.net, channels=1, classes=10)
    assert choose("eager", net, spec, batches(spec, channels=1)).measured is None
    assert start(spec).measured is None
    assert asked == []
