"""Which state dict of a file is read, and what is said of files that hold none."""

import io
import json
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from published import Staged, fill
from safetensors.torch import save

from degrade.errors import RunError
from degrade.nets import statedict
from degrade.nets.choice import choose
from degrade.nets.foreign import match

NET = fill(Staged(1, 2, "downsample", "fc"))
STATE = NET.state_dict()
OTHER = {name: value + 1 if value.is_floating_point() else value for name, value in STATE.items()}


def adam(state):
    return {"state": {place: {"exp_avg": value} for place, value in enumerate(state.values())}, "param_groups": []}


HOLDING = {  # what a file holds; key that is asked for; key that is chosen, and whether it is said
    "bare": (STATE, None, "", False),
    "usual": ({"state_dict": STATE, "epoch": 3}, None, "state_dict", False),
    "beside an optimiser": ({"model": STATE, "optimizer": adam(STATE)}, None, "model", False),
    "beside momentum by name": ({"model": STATE, "momentum": {"a.weight": torch.ones(3)}}, None, "model", False),
    "unusual": ({"model": {"swa": STATE}, "acc": torch.tensor(93.0)}, None, "model.swa", True),
    "asked for": ({"state_dict": STATE, "state_dict_ema": OTHER}, "state_dict_ema", "state_dict_ema", False),
    "asked for by path": ({"a": {"ema": OTHER}, "b": {"raw": STATE}}, "a.ema", "a.ema", False),
    "twice the same": ({"state_dict": STATE, "best": dict(STATE)}, None, "state_dict", False),
    "of two nets": (
        {f"teacher.{k}": v for k, v in OTHER.items()} | {f"student.{k}": v for k, v in STATE.items()},
        "student",
        "student",
        False,
    ),
}


@pytest.mark.parametrize("holding", HOLDING)
def test_the_state_dict_of_a_net_is_found_or_taken_by_its_key(holding):
    content, asked, key, said = HOLDING[holding]
    found = choose(content, asked)
    assert (found.key, found.unusual) == (key, said)
    wanted = OTHER if "ema" in key else STATE
    assert all(torch.equal(a, b) for a, b in zip(found.tensors.values(), wanted.values(), strict=True))


@pytest.mark.parametrize(
    ("content", "listed"),
    [
        ({"state_dict": STATE, "state_dict_ema": OTHER}, "state_dict and state_dict_ema"),
        ({"ema": {"module": OTHER}, "model": STATE}, "model and ema.module"),
        (
            {"state_dict": {f"{net}.{k}": v + at for at, net in enumerate("ab") for k, v in STATE.items()}},
            "state_dict.a and state_dict.b",
        ),
    ],
)
def test_several_nets_in_a_file_are_listed_and_asked_for(content, listed):
    with pytest.raises(RunError, match=f"holds several state dicts, {listed}; say which by --key, as in --key"):
        statedict.tensors_of(content)


def test_a_key_that_is_not_there_lists_those_that_are():
    with pytest.raises(RunError, match=r"--key=em: no state dict there; there is model, ema\.module"):
        choose({"model": STATE, "ema": {"module": OTHER}}, "em")


def test_tensors_that_share_numbers_are_read():
    flat = torch.cat([value.flatten() for value in STATE.values() if value.is_floating_point()])
    views, start = {}, 0
    for name, value in STATE.items():
        if value.is_floating_point():
            views[name] = flat[start : start + value.numel()].view(value.shape)
            start += value.numel()
    tied = {f"net.{name}": value for name, value in views.items()} | {f"net2.{n}": v for n, v in views.items()}
    buffer = io.BytesIO()
    torch.save(tied, buffer)
    found = statedict.tensors_of(statedict.read(buffer.getvalue()))
    assert len(found) == len(views)  # the same net twice is one net
    assert match(found).spec == match(statedict.tensors_of(STATE)).spec


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return buffer.getvalue()


def tarred(*names):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    return buffer.getvalue()


def scripted():
    return zipped(**{"net/constants.pkl": b"", "net/data.pkl": b"", "net/code/net.py": b""})


def numpied():
    buffer = io.BytesIO()
    np.savez(buffer, a=np.ones(3))
    return buffer.getvalue()


FILES = {
    "of torch 0.1": (lambda: tarred("sys_info", "pickle", "storages", "tensors"), r"a tar of torch 0\.1"),
    "a tar": (lambda: tarred("resnet20.pth", "readme.txt"), "a tar archive; unpack it first"),
    "TorchScript": (scripted, r"a TorchScript program.*torch\.jit\.load"),
    "NumPy": (numpied, r"arrays of NumPy \(\.npz\)"),
    "a zip": (lambda: zipped(weights__pth=b"x"), "a zip archive; unpack it first"),
    "Keras": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(40), "an HDF5 file, as Keras writes them"),
    "Keras 3": (lambda: zipped(config__json=b"{}", model__weights__h5=b""), "a model of Keras"),
    "Lua Torch": (lambda: b"\x04\x00\x00\x00\x01\x00\x00\x00\x03\x00\x00\x00V 1", r"Lua Torch \(\.t7\)"),
    "gzip": (lambda: b"\x1f\x8b\x08" + bytes(30), "packed by gzip; unpack it first"),
    "Git LFS": (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a pointer of Git LFS"),
    "a page": (lambda: b"\n<!DOCTYPE html><html>", "a web page, not the file itself"),
    "JSON": (lambda: json.dumps({"a": 1}).encode(), "text"),
    "nothing": (bytes, "empty"),
    "noise": (lambda: bytes(range(7, 200)), "nothing that torch.save or safetensors wrote"),
}


@pytest.mark.parametrize("file", FILES)
def test_a_file_without_a_state_dict_is_called_what_it_is(file):
    make, said = FILES[file]
    with pytest.raises(RunError, match=said) as refused:
        statedict.read(make())
    assert "\n" not in str(refused.value)


def test_a_file_is_read_by_its_content_whatever_its_name():
    buffer = io.BytesIO()
    torch.save(STATE, buffer)
    legacy = io.BytesIO()
    torch.save(STATE, legacy, _use_new_zipfile_serialization=False)
    for content in (buffer.getvalue(), legacy.getvalue(), save(STATE)):
        found = statedict.tensors_of(statedict.read(content))
        assert match(found).spec == match(statedict.tensors_of(STATE)).spec
        assert torch.equal(found["fc.weight"], STATE["fc.weight"])


def test_a_net_saved_whole_is_called_so():
    buffer = io.BytesIO()
    torch.save(NET, buffer)
    with pytest.raises(RunError, match=r"a net saved whole, or another object: asks for \w+\.Staged.*net\.state_dict"):
        statedict.read(buffer.getvalue())


def test_the_batches_that_statistics_have_seen_are_counted():
    counted = {**STATE, "bn1.num_batches_tracked": torch.tensor(70)}
    assert statedict.count_batches({"model": counted}) == 70
    assert statedict.count_batches({k: v for k, v in STATE.items() if "batches" not in k}) is None
