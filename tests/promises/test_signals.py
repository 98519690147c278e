"""Told to stop, the deepest nets of Fig. 6 leave a checkpoint within seconds, whatever they are at."""

import signal
import time
from pathlib import Path

import processes
import pytest
from processes import PATIENCE, begin, states, until
from promises.faults.sweeps import pictures

from degrade.train.checkpoint import unpack

LIMIT = 5.0  # seconds, on an idle machine; the slowest here takes 2
PROGRAM = Path(processes.__file__).with_name("evaluating.py")
DEEP = ["data=image_folder", "net=plain,residual", "shortcut=A", "depth=110", "jobs=2", "recipe.iterations=1000"]
EVALUATION = ["recipe.batch=16", "recipe.eval_every=1"]  # of 3,000 pictures after each step
TRAINING = ["recipe.batch=64", "recipe.eval_every=1000"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("pictures")
    pictures(place, 300, 1500, size=32)
    return place


@pytest.mark.parametrize(
    ("number", "recipe"),
    [
        pytest.param(signal.SIGTERM, EVALUATION, id="SIGTERM-evaluation"),
        pytest.param(signal.SIGTERM, TRAINING, id="SIGTERM-training"),
        pytest.param(signal.SIGINT, EVALUATION, id="SIGINT-evaluation"),
        pytest.param(signal.SIGHUP, TRAINING, id="SIGHUP-training"),
    ],
)
def test_a_signal_at_110_layers_leaves_checkpoints_in_seconds(tmp_path, folder, number, recipe):
    mark = tmp_path / "mark"
    sweep = begin(tmp_path, *DEEP, f"data.root={folder}", *recipe, program=PROGRAM, more={"MARK": str(mark)})
    under_way = ["running", "running"]
    until(lambda: [state["state"] for state in states(tmp_path).values()] == under_way, sweep)
    if recipe is EVALUATION:
        until(mark.exists, sweep)
    else:
        until(lambda: all(state.get("iteration", 0) >= 1 for state in states(tmp_path).values()), sweep)
    time.sleep(0.5)
    begun = time.monotonic()
    sweep.send_signal(number)
    assert sweep.wait(PATIENCE) == 128 + number
    took = time.monotonic() - begun
    print(f"{took:.2f} s")
    for run, state in states(tmp_path).items():
        assert state["state"] == "interrupted"
        checkpoint = unpack((tmp_path / "runs" / run / "checkpoint.pt").read_bytes())
        assert checkpoint["iteration"] == state["iteration"]
        assert not (recipe is EVALUATION and state["iteration"] > 1)  # it was in the midst of it
    assert took < LIMIT
