"""What is checked is what is read: files of which two readers see different things, and files with random harm."""

import io
import random
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from places import ROOT
from safetensors.torch import save as save_safetensors

from degrade.errors import DegradeError, RunError
from degrade.nets import statedict
from degrade.nets.archive import rewrite
from degrade.spec.rows import CURVE
from degrade.store import parquet
from degrade.store.parquet import CURVES

SMALL = {"conv.weight": torch.arange(8.0).reshape(2, 4), "conv.bias": torch.ones(2)}


def saved(tensors: dict[str, torch.Tensor]) -> bytes:
    sink = io.BytesIO()
    torch.save(tensors, sink)
    return sink.getvalue()


def packed(content: bytes) -> bytes:
    """An archive with the same members, packed."""
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as whole, zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in whole.namelist():
            archive.writestr(zipfile.ZipInfo(name), whole.read(name), zipfile.ZIP_DEFLATED)
    return sink.getvalue()


def find_directory(content: bytes) -> tuple[int, int]:
    """(offset, size) of the directory of an archive, as its end says."""
    size, offset = struct.unpack("<LL", content[-10:-2])
    return offset, size


def seen_twice(size: int) -> bytes:
    """Python's reader adds what stands in front of an archive to its offsets, and torch's does not.

    So the offset in the end of the second archive leads the one to the second directory, and the other to the first.
    """
    bomb = packed(saved({"conv.weight": torch.zeros(size // 4), "conv.bias": torch.ones(2)}))
    at, directory = find_directory(bomb)
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(SMALL))) as whole, zipfile.ZipFile(sink, "w") as archive:
        for name in whole.namelist():
            archive.writestr(zipfile.ZipInfo(name), whole.read(name))
    plain = sink.getvalue()
    here, same = find_directory(plain)
    assert same == directory
    assert here <= at
    members, rest = plain[:here], plain[here:]
    moved = members + b"\0" * (at - here) + rest
    end = bytearray(moved[-22:])
    end[16:20] = struct.pack("<L", at)
    return bomb + moved[:-22] + bytes(end)


def test_an_archive_that_two_readers_see_differently_is_read_as_it_was_checked():
    content = seen_twice(1 << 24)
    theirs = torch.load(io.BytesIO(content), weights_only=True)
    assert theirs["conv.weight"].numel() == 1 << 22  # torch's own reader inflates the first archive
    ours = statedict.read(content)
    assert {name: value.tolist() for name, value in ours.items()} == {k: v.tolist() for k, v in SMALL.items()}


def double(content: bytes) -> bytes:
    sink = io.BytesIO(content)
    with zipfile.ZipFile(sink, "a") as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr(name, b"another")
    return sink.getvalue()


REFUSED = {
    "packed": lambda: packed(saved({"conv.weight": torch.zeros(1 << 20)})),
    "two members of one name": lambda: double(saved(SMALL)),
    "cut short": lambda: saved(SMALL)[:-30],
    "another member than its checksum": lambda: saved(SMALL).replace(
        SMALL["conv.weight"].numpy().tobytes(), b"\7" * 32
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_archive_that_says_two_things_or_is_packed_is_refused(name):
    """Two members of one name by these words: a reader that takes one of them may find it broken all the same."""
    with pytest.raises(RunError, match="two members of one name" if name.startswith("two") else ".") as caught:
        statedict.read(REFUSED[name]())
    assert "\n" not in str(caught.value)


def test_what_torch_saved_comes_out_of_the_gate_as_it_went_in():
    for kind in (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool):
        tensors = {"a": torch.arange(12).reshape(3, 4).to(kind), "b": torch.arange(12).to(kind)[::2]}
        found = torch.load(io.BytesIO(rewrite(saved(tensors))), weights_only=True)
        assert all(torch.equal(found[name], value) for name, value in tensors.items())


def harm(content: bytes, draws: random.Random) -> bytes:
    """A file with some bytes changed, cut out, doubled, or parts of it in another order."""
    made = bytearray(content)
    for _ in range(draws.randint(1, 4)):
        at, size = draws.randrange(len(made)), draws.randint(1, 64)
        act = draws.randrange(5)
        if act == 0:
            made[at] ^= 1 << draws.randrange(8)
        elif act == 1:
            del made[at : at + size]
        elif act == 2:
            made[at:at] = made[at : at + size]
        elif act == 3:
            made[at : at + 4] = draws.choice((b"\xff" * 4, b"\0" * 4, struct.pack("<L", len(content))))
        else:
            other = draws.randrange(len(made))
            made[at : at + size], made[other : other + size] = made[other : other + size], made[at : at + size]
        if not made:
            return b""
    return bytes(made)


def curve() -> pa.Table:
    values = {name: ["x"] * 6 if column.kind == "string" else [1] * 6 for name, column in CURVE.items()}
    table = pa.table({name: pa.array(value, CURVES.arrow.field(name).type) for name, value in values.items()})
    return table.cast(CURVES.arrow)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_random_harm_to_a_state_dict_is_refused_or_leaves_tensors_no_larger_than_the_file(kind):
    if kind == "safetensors":
        content = save_safetensors(SMALL)
    else:
        sink = io.BytesIO()
        torch.save(SMALL, sink, _use_new_zipfile_serialization=kind == "zip")
        content = sink.getvalue()
    draws, said = random.Random(0), list[str]()
    for _ in range(400):
        given = harm(content, draws)
        try:
            found = statedict.read(given)
        except DegradeError as error:
            said.append(str(error))
            continue
        held = [value for value in found.values() if isinstance(value, torch.Tensor)] if isinstance(found, dict) else []
        assert sum(value.untyped_storage().nbytes() for value in held) <= len(given)
    assert len(said) > 200
    assert not any("\n" in each for each in said)


def test_random_harm_to_a_curve_is_noticed(tmp_path):
    parquet.save(tmp_path / "curve.parquet", curve())
    content, draws = (tmp_path / "curve.parquet").read_bytes(), random.Random(1)
    for given in (harm(content, draws) for _ in range(300)):
        if given != content:
            (tmp_path / "harmed.parquet").write_bytes(given)
            with pytest.raises(RunError):
                parquet.read(tmp_path / "harmed.parquet", CURVES)


# In a process of its own, whose peak is that of the reader: who made the file has held what is in it.
OPEN = """
import sys
from pathlib import Path
from degrade.errors import RunError
from degrade.experiments.trained import open_net

def peak():
    text = Path("/proc/self/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0])

for path in sys.argv[1:]:
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    try:
        open_net(path)
        said = "opened"
    except RunError as error:
        said = str(error)
    print(path, (peak() - before) // 1024, said, sep="\\t")
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system does not forget a peak")
def test_what_declares_enormous_tensors_is_refused_without_memory_for_them(tmp_path):
    from promises.enormous import ENORMOUS

    for name, make in ENORMOUS.items():
        make(tmp_path / name)
    (tmp_path / "twice.pt").write_bytes(seen_twice(1 << 27))
    paths = [str(tmp_path / name) for name in (*ENORMOUS, "twice.pt")]
    command = [sys.executable, "-c", OPEN, *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [row[0] for row in rows] == paths
    for path, megabytes, said in rows:
        assert said.startswith(path), said
        most = 200 if path.endswith("claims.pt") else 60  # a spec of 9,998 layers needs so much to be looked at
        assert int(megabytes) < most, (path, megabytes)


def test_numbers_of_numpy_are_as_torch_reads_them():
    """The members of an archive are the tensors' bytes: the second reader is numpy."""
    content = saved(SMALL)
    with zipfile.ZipFile(io.BytesIO(rewrite(content))) as archive:
        blobs = {name: archive.read(name) for name in archive.namelist() if "/data/" in name}
    found = {np.frombuffer(blob, "<f4").tobytes() for blob in blobs.values()}
    assert found == {value.numpy().tobytes() for value in SMALL.values()}
