from dataclasses import replace

import pytest
from conftest import tiny

from degrade.errors import SpecError
from degrade.sweep.queue import AUTO_RUNS_PER_GPU, Queue


def names(pack):
    return [spec.run for spec in pack]


def sweep(count, **engine):
    """Specs of a sweep, the longest first."""
    return [tiny(seed=i, recipe={"iterations": 100 - i}, engine=engine) for i in range(count)]


def packs(specs, workers, gpus):
    queue, sizes = Queue(specs, workers, gpus), []
    while queue.waiting:
        sizes.append(len(queue.pack()))
    return sizes


@pytest.mark.parametrize(
    ("count", "workers", "gpus", "sizes"),
    [
        (6, 1, 1, [4, 2]),
        (3, 1, 1, [3]),
        (8, 4, 4, [2, 2, 1, 1, 1, 1]),  # no GPU is left idle
        (16, 4, 4, [4, 3, 3, 2, 1, 1, 1, 1]),
        (4, 2, 1, [2, 1, 1]),  # two workers share a GPU
        (3, 8, 8, [1, 1, 1]),
        (3, 2, 0, [1, 1, 1]),  # no GPU
    ],
)
def test_auto_packs_up_to_four_runs_a_gpu(count, workers, gpus, sizes):
    assert AUTO_RUNS_PER_GPU == 4
    assert packs(sweep(count), workers, gpus) == sizes


def test_a_number_is_taken_as_it_is():
    assert packs(sweep(5, runs_per_gpu=3), 1, 1) == [3, 2]
    assert packs(sweep(5, runs_per_gpu=3), 1, 0) == [3, 2]
    assert packs(sweep(5, runs_per_gpu=1), 1, 1) == [1] * 5
    assert packs(sweep(4, device="cpu"), 1, 1) == [1] * 4


def test_a_pack_is_of_one_data_and_precision():
    specs = [tiny(seed=i, engine={"precision": ("fp32", "bf16")[i % 2]}) for i in range(4)]
    specs += [tiny(seed=i, data={"train_limit": 90}) for i in (4, 5)]
    queue = Queue(specs, 1, 1)
    found = [queue.pack() for _ in range(3)]
    assert not queue.waiting
    assert [{(s.engine.precision, s.data.content) for s in pack} for pack in found] == [
        {(pack[0].engine.precision, pack[0].data.content)} for pack in found
    ]
    assert sorted(name for pack in found for name in names(pack)) == sorted(names(specs))


def test_longest_first():
    specs = sweep(6)
    assert names(Queue(specs[::-1], 1, 1).pack()) == names(specs[:4])


def test_what_is_put_back_goes_by_itself_and_first():
    specs = sweep(8)
    queue = Queue(specs, 1, 1)
    first = queue.pack()
    queue.put_back(first[1:])
    assert [names(queue.pack()) for _ in range(4)] == [*([spec.run] for spec in first[1:]), names(specs[4:])]


def test_how_many_are_at_once():
    assert Queue(sweep(9), 2, 2).at_once == 8
    assert Queue(sweep(3), 2, 2).at_once == 3
    assert Queue(sweep(9), 2, 0).at_once == 2
    assert Queue([], 0, 0).at_once == 0


@pytest.mark.parametrize("value", [0, -1, 17, "many", "4"])
def test_runs_per_gpu_is_auto_or_a_number(value):
    with pytest.raises(SpecError, match=r"engine\.runs_per_gpu=.*must be auto, or a number of runs from 1 to 16"):
        tiny(engine={"runs_per_gpu": value})


def test_how_runs_are_packed_is_no_part_of_what_they_are():
    spec = tiny()
    assert replace(spec, engine=replace(spec.engine, runs_per_gpu=3)).run == spec.run
