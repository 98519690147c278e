"""The table of a running sweep, and the small curves of `status`."""

import io

import pytest
from conftest import tiny
from generated import Run, lay
from rich.console import Console

from degrade.store.folder import RunDir
from degrade.store.state import State
from degrade.views import board, gpu
from degrade.views.sparks import read_sparks, spark

HEADS = ["state", ">epoch", ">lr", ">train", ">clean", ">test", ">left", ">images/s"]


@pytest.mark.parametrize(
    ("width", "gone"),
    [
        (200, set()),
        (140, set()),
        (100, set()),
        (80, {">lr", ">images/s"}),
        (60, {">lr", ">images/s", ">train", ">epoch"}),
    ],
)
def test_lr_is_the_first_column_to_go_and_the_clean_error_the_last(width, gone):
    assert [column.head for column in board.choose_columns(16, width)] == [head for head in HEADS if head not in gone]
    assert [column.head for column in board.choose_columns(16, 10)] == [">clean"]


def draw(states: dict[str, State], width: int) -> list[str]:
    file = io.StringIO()
    table = board.draw({run: f"{run}-name" for run in states}, states, list(states), width)
    Console(file=file, width=width, color_system=None).print(table)
    return file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100, 140, 200])
def test_columns_stay_where_they_are_while_numbers_grow(width):
    early = {"a": State("running", iteration=1, iterations=64_000, epoch=0.1, lr=0.1)}
    errors = {"train_error": 90.12, "train_clean_error": 89.99, "test_error": 100.0}
    late = State("running", iteration=63_999, iterations=64_000, epoch=163.8, lr=0.001, seconds=90_000.0, **errors)
    first, last = draw(early, width), draw({"a": late}, width)
    assert first[1] == last[1]
    assert "clean" in first[1]
    assert max(map(len, [line.rstrip() for line in last])) <= width
    assert "89.99" in last[3]


def test_rows_go_by_depth():
    specs = {spec.run: spec for spec in (tiny(depth=depth, net="plain") for depth in (20, 8, 14))}
    assert [specs[run].net.depth for run in board.order(specs)] == [8, 14, 20]


def test_the_estimate_is_never_less_than_one_worker_needs_for_one_run():
    short, long = tiny(depth=8), tiny(depth=56)
    specs = {spec.run: spec for spec in (short, long)}
    done = State("finished", iteration=12, iterations=12, seconds=8.0)
    waits = {short.run: done, long.run: State("waiting")}
    assert board.estimate(specs, waits, workers=4) == pytest.approx(8.0 * 7)  # not a quarter of it
    assert board.estimate(specs, {run: State("waiting") for run in specs}, workers=1) is None
    early = {short.run: State("waiting"), long.run: State("running", iteration=1, iterations=64_000, seconds=5.0)}
    assert board.estimate(specs, early, workers=1) is None  # start-up is no pace
    assert str(board.bar(specs, waits)).endswith(" 12%")


def test_small_curves_share_one_scale_and_show_what_is_no_number(tmp_path, monkeypatch):
    assert spark([90.0, 45.0, 0.0], 90.0) == "█▅▁"
    assert spark([float("nan"), 10.0], 90.0) == "x▁"
    assert len(spark([50.0] * 1000, 90.0)) == 12
    runs = [Run(tiny(), {"train_clean": (80.0, 40.0)}), Run(tiny(seed=1), {"train_clean": (10.0, 1.0)})]
    lay(runs, tmp_path)
    found = read_sparks(RunDir(tmp_path, run.spec.run) for run in runs)
    assert found[tiny().run] == "█▅"
    assert found[tiny(seed=1).run] == "▂▁"


def test_the_answer_of_the_drivers_tool_is_read():
    assert gpu.describe("93, 5222, 143771\n0, 4, 143771\n") == "GPU 93 %, 5.1 of 140 GB; GPU 0 %, 0.0 of 140 GB"
    with pytest.raises(ValueError, match="Not Supported"):
        gpu.describe("[Not Supported], 5, 6")
