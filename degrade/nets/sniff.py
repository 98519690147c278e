"""Tells what a file is by its first bytes, whatever it is called."""

import io
import zipfile

_SAVE = "save the tensors alone, by torch.save(net.state_dict(), 'weights.pt')"
# How files begin that hold no state dict, and what to do with them
_STARTS = (
    (b"\x89HDF\r\n\x1a\n", f"an HDF5 file, as Keras writes them; read it there and {_SAVE}"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself; fetch the file by `git lfs pull`"),
    (b"\x1f\x8b", "packed by gzip; unpack it first"),
    (b"BZh", "packed by bzip2; unpack it first"),
    (b"\xfd7zXZ\x00", "packed by xz; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "packed by 7-Zip; unpack it first"),
    (b"Rar!", "packed by RAR; unpack it first"),
    (b"\x93NUMPY", f"an array of NumPy, without names; {_SAVE}"),
    (b"\x03\x00\x00\x00", f"not a file of torch.save; if it is one of Lua Torch (.t7), convert it: {_SAVE}"),
    (b"\x04\x00\x00\x00", f"not a file of torch.save; if it is one of Lua Torch (.t7), convert it: {_SAVE}"),
    (b"{", "text (JSON?), no file of tensors; name the file with the weights"),
)
_PAGES = (b"<!doctype", b"<html", b"<?xml")


def is_safetensors(content: bytes) -> bool:
    """Whether a file begins as safetensors do: the length of a header, which is JSON."""
    length = int.from_bytes(content[:8], "little")
    return content[8:9] == b"{" and length >= 2 and content[:2] != b"PK"


def explain_foreign(content: bytes) -> str:
    """Says what a file is that torch.save did not write, and what to do; "" where it may be one of torch.save."""
    if not content:
        return "empty; copy or download the file anew"
    if content[257:262] == b"ustar":
        if b"sys_info" in content[: 1 << 20] or b"storages" in content[: 1 << 20]:
            return f"a tar of torch 0.1, of before 2017; open it with its own torch, and with a newer one {_SAVE}"
        return "a tar archive; unpack it first"
    if content.lstrip()[:9].lower().startswith(_PAGES):
        return "a web page, not the file itself; download the file anew"
    for start, said in _STARTS:
        if content.startswith(start):
            return said
    return _explain_zip(content) if content.startswith(b"PK") else ""


def _explain_zip(content: bytes) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [name.rpartition("/")[2] for name in archive.namelist()]
    except Exception:  # a damaged zip file: torch will say so
        return ""
    if "constants.pkl" in names:
        return f"a TorchScript program, and nothing in a file is ever run; open it with torch.jit.load and {_SAVE}"
    if any(name.endswith(".npy") for name in names):
        return f"arrays of NumPy (.npz), no state dict; {_SAVE}"
    if "model.weights.h5" in names:
        return f"a model of Keras; read it there and {_SAVE}"
    return "" if any(name.endswith(".pkl") for name in names) else "a zip archive; unpack it first"
