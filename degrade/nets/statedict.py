"""Reads a state dict from anybody's file, as tensors and plain values: nothing in the file is run."""

import io
import re
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from degrade.errors import RunError

# keys under which training scripts keep a state dict, beside their optimiser's state and the like
_WRAPPERS = ("state_dict", "model_state_dict", "net_state_dict", "model_state", "model", "net", "network", "params")
_DEEPEST = 8  # wrappers around a state dict, at most: a file can hold a mapping that holds itself
_COUNTERS = ("num_batches_tracked", "n_averaged")  # of batches and steps: they do not change what a net computes
_SAVE = "save the tensors alone, by torch.save(net.state_dict(), 'weights.pt')"


def read(content: bytes, *, safe: bool) -> Any:
    """Reads a file of torch.save, or of safetensors where it is `safe`, onto the CPU. Raises RunError with the reason.

    torch's own reader builds tensors and plain values, and refuses every name that it does not know (weights_only).
    safetensors keeps no order, so its tensors are sorted by the numbers in their names.
    """
    if safe:
        try:
            return _sort_naturally(load(content))
        except SafetensorError as error:
            raise RunError(f"no safetensors file, or damaged ({error})") from None
        except KeyError as error:  # a type of numbers that torch does not have
            raise RunError(f"holds numbers of type {error}, which torch does not have; {_SAVE}") from None
        except (ValueError, RuntimeError) as error:  # names of 5,000 digits, shapes beyond all memory
            raise RunError(f"no safetensors file, or damaged ({str(error).partition(chr(10))[0]})") from None
    if more := find_excess(content):
        raise RunError(f"{more}; {_SAVE}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # these are about pickle protocols and TorchScript; what matters is raised
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch has no common type for what it refuses
        raise RunError(_explain_refusal(str(error))) from None


def find_excess(content: bytes) -> str:
    """Tells why a file of torch.save would take more memory than it has bytes; "" where it would not.

    torch.save does not compress, so a file that unpacks to more bytes than it has is no checkpoint. Nor is a file that
    asks for a bytearray: a few bytes can ask for any size, and torch's weights-only reader would make it.
    """
    pickles, total = content, 0
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            if total <= len(content):
                pickles = b"".join(archive.read(member) for member in members if member.filename.endswith(".pkl"))
    except (zipfile.BadZipFile, zlib.error, ValueError, NotImplementedError, EOFError, OSError, RuntimeError):
        pass  # no zip file, or a damaged one: torch will say so
    if total > len(content):
        return f"declares {total:,} bytes, and the file has {len(content):,}: refused"
    return "asks for a bytearray, and no net holds one: refused" if b"bytearray" in pickles else ""


def _explain_refusal(said: str) -> str:
    """Explains in one line what torch says in ten."""
    asked = re.search(r"GLOBAL ([\w.]+)", said)
    if asked:
        return f"asks for {asked[1]}, and nothing in a file is ever run; where you trust it, {_SAVE}"
    if "TorchScript" in said:
        return f"a TorchScript program, and nothing in a file is ever run; {_SAVE}"
    return f"nothing that torch.save wrote, or damaged, or cut short; {_SAVE}"


def tensors_of(content: Any, depth: int = 0) -> dict[str, Tensor]:
    """Finds the state dict in what `read` returns, under any wrappers, in the order of the file, as float32.

    Raises RunError where there is no state dict, or several, or where a tensor does not hold floating-point numbers.
    """
    if not isinstance(content, Mapping) or depth > _DEEPEST:
        kind = f"a {type(content).__name__}, no state dict"
        raise RunError(f"holds {'one mapping in another without end' if depth > _DEEPEST else kind}; {_SAVE}")
    inner = {key: content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)}
    if len(inner) == 1:
        return tensors_of(*inner.values(), depth=depth + 1)
    found = {_make_printable(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if inner or not found:
        what = f"several state dicts, {' and '.join(inner)}" if inner else "no tensors with names"
        raise RunError(f"holds {what}; {_SAVE}")
    _check_stored_once(found)
    return {name: _to_float(name, value) for name, value in found.items() if not _is_counter(name, value)}


def _check_stored_once(tensors: Mapping[str, Tensor]) -> None:
    """Raises RunError where tensors hold more bytes than the file: one number seen as a billion would fill memory."""
    plain = [tensor for tensor in tensors.values() if tensor.layout == torch.strided and not tensor.is_meta]
    there = sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in plain}.values())
    asked = sum(tensor.numel() * tensor.element_size() for tensor in plain)
    if asked > there:
        raise RunError(f"declares tensors of {asked:,} bytes, and holds {there:,}: refused; {_SAVE}")


def _make_printable(name: Any) -> str:
    """Makes a name safe to show: control characters of a stranger's file must not reach the terminal."""
    return name if isinstance(name, str) and name.isprintable() else ascii(name)


def _is_counter(name: str, tensor: Tensor) -> bool:
    """Whether the tensor is a counter: batch norm, for one, counts its batches."""
    whole = tensor.ndim == 0 and not tensor.is_floating_point()
    return whole or name.rpartition(".")[2] in _COUNTERS


def _to_float(name: str, tensor: Tensor) -> Tensor:
    if tensor.layout != torch.strided or tensor.is_meta or not tensor.is_floating_point():
        raise RunError(f"{name}: {tensor.dtype} is no plain tensor of floating-point numbers; {_SAVE}")
    return tensor.detach().float()


_ORDINALS = ("first", "second", "third")
_Token = tuple[int, int, str]  # rank, number, word


def _sort_naturally(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Sorts by name, numbers as numbers: layer1.2 before layer1.10.

    Raises RunError where only words decide which of two 3x3 kernels of one shape comes first: their order is lost.
    """
    ordered = sorted(tensors, key=_tokens)
    kernels = [name for name in ordered if tensors[name].ndim == 4 and tensors[name].shape[2:] == (3, 3)]
    for before, after in pairwise(kernels):
        if tensors[before].shape == tensors[after].shape and not _is_decided(before, after):
            raise RunError(
                f"which comes first, {before} or {after}? safetensors keeps no order; use a file of torch.save"
            )
    return {name: tensors[name] for name in ordered}


def _tokens(name: str) -> list[_Token]:
    """`layer1.10` -> layer, 1, ., 10. A dot sorts before other signs, signs before numbers and ordinals, words last."""
    return [_token(part) for part in re.findall(r"\d+|[A-Za-z]+|[^A-Za-z\d]", name)]


def _token(part: str) -> _Token:
    if part.isdecimal():
        return 2, int(part), ""
    if part.lower() in _ORDINALS:
        return 2, _ORDINALS.index(part.lower()) + 1, ""
    return (3, 0, part) if part.isalpha() else (int(part != "."), 0, part)


def _is_decided(before: str, after: str) -> bool:
    """Whether a number, an ordinal, a sign or a single letter tells two names apart."""
    for one, other in zip(_tokens(before), _tokens(after), strict=False):
        if one != other:
            return len(one[2]) <= 1 and len(other[2]) <= 1
    return False
