"""Checkpoints whose checksum is right, and which are not what they should be: named, and the one before is used."""

import hashlib
import io

import pytest
import torch
from ended import SPEC, cut_short, finished

from degrade.errors import RunError
from degrade.store.folder import RunDir
from degrade.store.results import load
from degrade.train.checkpoint import pack, unpack
from degrade.train.run import run


def other(change):
    """A checkpoint with something else in it, and a checksum that is right."""

    def write(folder: RunDir) -> bytes:
        state = unpack(folder.checkpoint.read_bytes())
        folder.checkpoint.write_bytes(pack(change(state) or state))
        return folder.checkpoint.read_bytes()

    return write


def without(name):
    return other(lambda state: {key: value for key, value in state.items() if key != name})


def a_list(folder: RunDir) -> None:
    buffer = io.BytesIO()
    torch.save([1, 2], buffer)
    content = buffer.getvalue()
    folder.checkpoint.write_bytes(content + hashlib.sha256(content).hexdigest().encode())


def row(split: str, loss: float, error: float) -> list:
    return [1, 0.1, split, loss, error, 5, 0.1, 1.0, 9.0, 1.0]


SHAPES = {
    "a list": a_list,
    "nothing": lambda folder: folder.checkpoint.write_bytes(pack({})),
    "no net": without("net"),
    "no points": without("points"),
    "no momentum": without("momentum"),
    "a tensor less": other(lambda state: state["net"].popitem() and None),
    "a tensor more": other(lambda state: state["net"].update(more=torch.zeros(1))),
    "another shape": other(lambda state: state["momentum"].update({k: torch.zeros(2) for k in state["momentum"]})),
    "another type": other(lambda state: state["net"].update({k: v.half() for k, v in state["net"].items()})),
    "a word for a tensor": other(lambda state: state.update(tally="many")),
    "a tensor of nothing": other(lambda state: state.update(tally=torch.zeros(2, device="meta"))),
    "a sparse tensor": other(lambda state: state.update(tally=torch.zeros(2, dtype=torch.float64).to_sparse())),
    "a short row": other(lambda state: state["points"].append([1, 2.0])),
    "a row of words": other(lambda state: state["points"].append(["x"] * 10)),
    "a word for rows": other(lambda state: state.update(points="many")),
    "a word for an iteration": other(lambda state: state.update(iteration="3")),
    "an iteration beyond the end": other(lambda state: state.update(iteration=13)),
    "an iteration before the first": other(lambda state: state.update(iteration=-1)),
    "no threads": other(lambda state: state.update(threads=0)),
    "half a warm-up": other(lambda state: state.update(warmup=[None])),
    "an older format": other(lambda state: state.update(format=0)),
    "a format that is none": other(lambda state: state.update(format="x")),
    "another backend": other(lambda state: state.update(backend="foo")),
    "endless seconds": other(lambda state: state.update(seconds=float("inf"))),
    "an error beyond 100 %": other(lambda state: state["points"].append(row("test", 1.0, 1e9))),
    "a number beyond all columns": other(lambda state: state["points"].append(row("test", 10**400, 1.0))),
    "text that is none": other(lambda state: state["points"].append(row("\udcff", 1.0, 1.0))),
    "another run": other(lambda state: state.update(run="residual-A-8-s1-00000000")),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole")
    finished(root)
    return load(root).curves.drop(columns=["images_per_second", "seconds"])


@pytest.mark.parametrize("kind", SHAPES)
def test_a_checkpoint_that_holds_something_else_is_named_and_the_one_before_used(tmp_path, capsys, whole, kind):
    """A KeyError failed the run, and the one before was not looked at."""
    folder = cut_short(tmp_path)
    SHAPES[kind](folder)
    spoilt = folder.checkpoint.read_bytes()
    assert run([SPEC], tmp_path) == {SPEC.run: "finished"}
    assert "checkpoint.pt: " in capsys.readouterr().out
    assert (folder.path / "checkpoint.pt.damaged").read_bytes() == spoilt
    after = load(tmp_path).curves.drop(columns=["images_per_second", "seconds"])
    assert after.equals(whole)


def test_where_no_other_is_left_that_is_why_the_run_fails(tmp_path):
    folder = cut_short(tmp_path)
    folder.previous.unlink()
    SHAPES["no net"](folder)
    before = folder.checkpoint.read_bytes()
    with pytest.raises(RunError, match=r"checkpoint\.pt: .*no training of .*; remove what is damaged"):
        run([SPEC], tmp_path)
    assert folder.checkpoint.read_bytes() == before
    assert "no training of" in folder.read_state().reason


def test_checkpoints_from_before_probes_and_specs_were_in_them_are_gone_on_from(tmp_path, whole):
    folder = cut_short(tmp_path)
    state = unpack(folder.checkpoint.read_bytes())
    folder.checkpoint.write_bytes(pack({key: value for key, value in state.items() if key not in ("spec", "probes")}))
    assert run([SPEC], tmp_path) == {SPEC.run: "finished"}
    assert load(tmp_path).curves.drop(columns=["images_per_second", "seconds"]).equals(whole)
    assert not (folder.path / "checkpoint.pt.damaged").exists()
