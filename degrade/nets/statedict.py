"""Reads a state dict from anybody's file, as tensors and plain values: nothing in the file is run."""

import io
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from degrade.errors import RunError
from degrade.nets.archive import rewrite
from degrade.nets.choice import choose
from degrade.nets.sniff import explain_foreign, is_safetensors

_COUNTERS = ("num_batches_tracked", "n_averaged")  # of batches and steps: they do not change what a net computes
_SAVE = "save the tensors alone, by torch.save(net.state_dict(), 'weights.pt')"


def read(content: bytes) -> Any:
    """Reads a file of torch.save or of safetensors, by its content, onto the CPU. Raises RunError with the reason.

    torch's own reader builds tensors and plain values, and refuses every name that it does not know (weights_only).
    """
    if is_safetensors(content):
        return _read_safetensors(content)
    if said := explain_foreign(content):
        raise RunError(said)
    try:
        archive = rewrite(content)
    except RunError as error:
        raise RunError(f"{error}; {_SAVE}") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # these are about pickle protocols and TorchScript; what matters is raised
            return torch.load(io.BytesIO(archive), map_location="cpu", weights_only=True)
    except Exception as error:  # torch has no common type for what it refuses
        raise RunError(_explain_refusal(str(error))) from None


def render(tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> bytes:
    """A safetensors file of these tensors, with plain words about them."""
    return save({name: tensor.contiguous() for name, tensor in tensors.items()}, dict(about))


def _read_safetensors(content: bytes) -> dict[str, Tensor]:
    _check_header(content)
    try:
        return load(content)
    except SafetensorError as error:
        raise RunError(f"no safetensors file, or damaged ({error})") from None
    except KeyError as error:  # a type of numbers that torch does not have
        raise RunError(f"holds numbers of type {error}, which torch does not have; {_SAVE}") from None
    except (ValueError, RuntimeError) as error:  # names of 5,000 digits, shapes beyond all memory
        raise RunError(f"no safetensors file, or damaged ({str(error).partition(chr(10))[0]})") from None


def _check_header(content: bytes) -> None:
    """Raises RunError where a header names one thing twice: two readers may take another one of the two."""
    length = int.from_bytes(content[:8], "little")
    try:
        json.loads(content[8 : 8 + length], object_pairs_hook=_refuse_doubles)
    except (ValueError, RecursionError) as error:
        raise RunError(f"no safetensors file, or damaged ({error})") from None


def _refuse_doubles(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("its header has two values of one name")
    return made


def _explain_refusal(said: str) -> str:
    """Explains in one line what torch says in ten."""
    asked = re.search(r"GLOBAL ([\w.]+)", said)
    if asked:
        net = asked[1].rpartition(".")[2][:1].isupper() and not asked[1].startswith(
            ("torch.", "numpy.", "collections.")
        )
        what = "a net saved whole, or another object: " if net else ""
        return f"{what}asks for {asked[1]}, and nothing in a file is ever run; where you trust it, {_SAVE}"
    if "TorchScript" in said:
        return f"a TorchScript program, and nothing in a file is ever run; {_SAVE}"
    return f"nothing that torch.save or safetensors wrote, or damaged, or cut short; {_SAVE}"


def tensors_of(content: Any, key: str | None = None) -> dict[str, Tensor]:
    """Finds the state dict in what `read` returns, under any wrappers, in the order of the file, as float32.

    `key` says which one, as degrade.nets.choice does. Raises RunError where there is no state dict, or several, or
    where a tensor does not hold floating-point numbers.
    """
    found = choose(content, key).tensors
    _check_stored_once(found)
    made: dict[tuple[int, torch.dtype, torch.Size, tuple[int, ...]], Tensor] = {}
    for name, value in found.items():
        if not _is_counter(name, value):
            _check_plain(name, value)
            made.setdefault(_identify(value), value.detach().float())  # what two names share is made once
    return {name: made[_identify(value)] for name, value in found.items() if not _is_counter(name, value)}


def count_batches(content: Any, key: str | None = None) -> int | None:
    """Counts the batches that the BN statistics of a state dict have seen; None where the file does not say it."""
    counts = [
        int(value)
        for name, value in choose(content, key).tensors.items()
        if name.endswith(_COUNTERS[0]) and value.ndim == 0 and not value.is_floating_point() and not value.is_meta
    ]
    return max(counts, default=None)


def _identify(tensor: Tensor) -> tuple[int, torch.dtype, torch.Size, tuple[int, ...]]:
    return tensor.data_ptr() if tensor.numel() else id(tensor), tensor.dtype, tensor.shape, tensor.stride()


def _check_stored_once(tensors: Mapping[str, Tensor]) -> None:
    """Raises RunError where tensors hold more bytes than the file: one number seen as a billion would fill memory.

    A tensor that two names share counts once.
    """
    plain = [tensor for tensor in tensors.values() if tensor.layout == torch.strided and not tensor.is_meta]
    there = sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in plain}.values())
    asked = sum(t.numel() * t.element_size() for t in {_identify(tensor): tensor for tensor in plain}.values())
    if asked > there:
        raise RunError(f"declares tensors of {asked:,} bytes, and holds {there:,}: refused; {_SAVE}")


def _is_counter(name: str, tensor: Tensor) -> bool:
    """Whether the tensor is a counter: batch norm, for one, counts its batches."""
    whole = tensor.ndim == 0 and not tensor.is_floating_point()
    return whole or name.endswith(_COUNTERS)


def _check_plain(name: str, tensor: Tensor) -> None:
    if tensor.layout != torch.strided or tensor.is_meta or not tensor.is_floating_point():
        raise RunError(f"{name}: {tensor.dtype} is no plain tensor of floating-point numbers; {_SAVE}")
