import math
import random
import struct
from pathlib import Path

import pytest
import torch

from degrade.errors import RunError
from degrade.spec import RunSpec
from degrade.spec.rows import Point
from degrade.store import parquet
from degrade.train.checkpoint import pack, unpack

STATE = {"iteration": 3, "net": {"weight": torch.arange(6.0)}, "points": [[1, 0.5, "train"]]}


def test_a_state_comes_back_as_it_went_in():
    state = unpack(pack(STATE))
    assert (state["iteration"], state["points"]) == (3, [[1, 0.5, "train"]])
    assert torch.equal(state["net"]["weight"], STATE["net"]["weight"])


def test_any_nan_is_written_as_one(tmp_path):
    """0/0 is another NaN on another processor; equal runs have equal files."""
    other = struct.unpack("<d", struct.pack("<Q", 0xFFF8_0000_0000_0001))[0]
    packed = [
        pack({"net": {"w": torch.tensor([1.0, nan], dtype=torch.float64)}, "points": [[1, nan]], "tally": nan})
        for nan in (math.nan, other)
    ]
    assert packed[0] == packed[1]
    for name, nan in (("one", math.nan), ("other", other)):
        point = Point(1, 0.5, "train", nan, 50.0, 10, 0.1, nan, 9.0, 2.0)
        parquet.save(tmp_path / name, parquet.table(RunSpec().labels(), [point], parquet.CURVES))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_the_file_is_one_that_torch_opens(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(pack(STATE))
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["iteration"] == 3


def test_no_flipped_bit_and_no_missing_end_goes_unnoticed():
    content, draws = pack(STATE), random.Random(0)
    for _ in range(300):
        damaged = bytearray(content)
        damaged[draws.randrange(len(content))] ^= 1 << draws.randrange(8)
        with pytest.raises(RunError, match="checksum"):
            unpack(bytes(damaged))
        with pytest.raises(RunError, match="checksum"):
            unpack(content[: draws.randrange(len(content))])


class Evil:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return open, (str(self.target), "w")


def test_a_file_that_would_run_code_is_refused_and_runs_nothing(tmp_path):
    with pytest.raises(RunError, match="torch refuses it"):
        unpack(pack({"net": Evil(tmp_path / "ran")}))
    assert not (tmp_path / "ran").exists()
