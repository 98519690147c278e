"""Small files that ask for much memory: state dicts and checkpoints of strangers."""

import io
import json
import struct
import zipfile
from pathlib import Path

import torch

from degrade.spec import NetSpec, RunSpec
from degrade.train.checkpoint import pack


def bomb(path: Path, size: int) -> None:
    """A state dict of zeros, packed: a thousandth of what it unpacks to."""
    plain = io.BytesIO()
    torch.save({"conv.weight": torch.zeros(size // 4)}, plain)
    with zipfile.ZipFile(plain) as whole, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))


def seen_as_a_billion(path: Path) -> None:
    torch.save({"conv.weight": torch.zeros(1, dtype=torch.float16).expand(1 << 20, 1 << 20, 3, 3)}, path)


def legacy(path: Path) -> None:
    """torch's older format says how large a storage is before it comes."""
    torch.save({"conv.weight": torch.zeros(4)}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes().replace(b"K\x04", b"\x8a\x05\x00\x00\x00\x00\x40"))


def header(path: Path) -> None:
    about = json.dumps({"w": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}).encode()
    path.write_bytes(struct.pack("<Q", len(about)) + about)


def claims(path: Path) -> None:
    """A checkpoint of ours, with a checksum that is right, of a net that would fill any memory."""
    spec = RunSpec(net=NetSpec(depth=9998, width=4096))
    net = {f"t{i}": torch.zeros(1) for i in range(10_000)}
    net |= {"a": torch.zeros(4096, 1, 1, 1), "b": torch.zeros(10, 1)}
    state = {"format": 1, "run": spec.run, "iteration": 1, "net": net, "momentum": {}, "spec": spec.tree()}
    path.write_bytes(pack(state))


def buffer(path: Path) -> None:
    """A few bytes of a pickle that make a billion, which torch's reader of weights takes for plain values."""
    plain, asks = io.BytesIO(), b"\x80\x02cbuiltins\nbytearray\n(\x8a\x05" + (1 << 32).to_bytes(5, "little") + b"tR."
    torch.save({"conv.weight": torch.zeros(4)}, plain)
    with zipfile.ZipFile(plain) as whole, zipfile.ZipFile(path, "w") as spoilt:
        for name in whole.namelist():
            spoilt.writestr(name, asks if name.endswith("data.pkl") else whole.read(name))


ENORMOUS = {
    "buffer.pt": buffer,
    "packed.pt": lambda path: bomb(path, 1 << 27),
    "seen.pt": seen_as_a_billion,
    "legacy.th": legacy,
    "header.safetensors": header,
    "claims.pt": claims,
}
