import gc
from collections import defaultdict
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from degrade.errors import RunError
from degrade.train import streams
from degrade.train.turns import Lane, in_turn

GIB = 2**30


def counting(name, count, said, error=None):
    """A run of `count` turns that records each turn and its end."""
    try:
        for turn in range(count):
            said.append((name, turn))
            yield
        if error:
            raise error
    finally:
        said.append((name, "end"))


def test_turns_go_round_and_the_next_run_begins_when_one_has_ended():
    said = []
    in_turn([counting("a", 2, said), counting("b", 1, said), counting("c", 1, said)], 2, on_gpu=False)
    assert {name for name, _ in said[:2]} == {"a", "b"}
    assert said.index(("c", 0)) > min(said.index(("a", "end")), said.index(("b", "end")))
    assert len(said) == 7


def test_one_at_a_time_is_one_after_the_other():
    said = []
    in_turn([counting("a", 2, said), counting("b", 2, said)], 1, on_gpu=False)
    assert [name for name, _ in said] == ["a"] * 3 + ["b"] * 3


def test_a_runs_own_error_waits_for_the_others():
    said = []
    with pytest.raises(RunError, match="mine"):
        in_turn([counting("a", 1, said, RunError("mine")), counting("b", 5, said)], 2, on_gpu=False)
    assert ("b", 4) in said


def test_any_other_error_closes_all_that_have_begun():
    said = []
    runs = [counting("a", 1, said, RuntimeError("CUDA error")), counting("b", 5, said), counting("c", 5, said)]
    with pytest.raises(RuntimeError, match="CUDA"):
        in_turn(runs, 2, on_gpu=False)
    assert ("b", "end") in said
    assert ("b", 4) not in said
    assert "c" not in {name for name, _ in said}


class Gpu:
    """A pretended GPU of 80 GiB: a run takes its memory in its first turn, and each turn is done at the third look."""

    def __init__(self, monkeypatch):
        self.free, self.running, self.most = 80 * GIB, 0, 0
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (self.free, 80 * GIB))
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
        self.streams = []  # that were ever made
        monkeypatch.setattr(streams, "_FREE", defaultdict(list))
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "Stream", self.make_stream)
        monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
        monkeypatch.setattr(torch.cuda, "Event", Event)

    def make_stream(self, index):
        self.streams.append(SimpleNamespace(device=SimpleNamespace(index=index)))
        return self.streams[-1]

    def run(self, size):
        self.free, self.running = self.free - size * GIB, self.running + 1
        for _ in range(5):
            self.most = max(self.most, self.running)
            yield
        self.free, self.running = self.free + size * GIB, self.running - 1


class Event:
    """Done at the third look."""

    def __init__(self):
        self.looks = 0

    def record(self):
        pass

    def query(self):
        self.looks += 1
        return self.looks > 2


@pytest.mark.parametrize(("size", "together"), [(1, 4), (20, 3), (30, 2), (50, 1)])
def test_on_a_gpu_no_more_runs_are_begun_than_there_is_room_for(monkeypatch, size, together):
    """Each run takes 20 GiB. Beside three runs 20 GiB are free, less than 1.5 times as much."""
    gpu = Gpu(monkeypatch)
    in_turn([gpu.run(size) for _ in range(6)], 4, on_gpu=True)
    assert gpu.most == together
    assert gpu.free == 80 * GIB
    assert len(gpu.streams) <= together + 1  # torch keeps memory for each, so the next run takes one that is free


class Owner:
    """Has a stream as long as it lives."""


def test_a_stream_serves_one_owner_at_a_time_and_is_another_where_it_may_be_broken(monkeypatch):
    gpu = Gpu(monkeypatch)
    first, second = streams.take(), streams.take()
    assert first is not second
    streams.give_back(first)
    assert streams.take() is first
    owner = Owner()
    held, returned = streams.take_for(owner, torch.device("cuda", 0))
    del owner
    gc.collect()
    assert not returned.alive
    assert streams.take() is held
    owner = Owner()
    broken, returned = streams.take_for(owner, torch.device("cuda", 0))
    returned.detach()
    del owner
    gc.collect()
    assert streams.take() is not broken
    assert gpu.streams[0] is first


def test_a_gpu_has_few_turns_of_a_run_before_it(monkeypatch):
    gpu = Gpu(monkeypatch)
    lane = Lane(gpu.run(1), on_gpu=True, shared=True)
    assert lane.turn()
    assert lane.took == GIB
    assert lane.free
    assert lane.turn()
    assert not lane.free
    assert lane.free  # the first is done at the third look
