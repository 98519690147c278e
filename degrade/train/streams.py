"""Streams of a GPU that are used again, since torch keeps memory for each stream.

torch up to 2.11 keeps 32 MiB of cuBLAS workspace for each handle and stream until the process ends. Later versions free
it together with any graph that was captured on the stream, though another may need it (pytorch issue 193402). So a free
stream is taken before a new one is made, and a stream serves one run at a time.
"""

import weakref
from collections import defaultdict

import torch

_FREE = defaultdict[int, list[torch.cuda.Stream]](list)  # index of the device -> streams that nobody uses


def take(device: torch.device | None = None) -> torch.cuda.Stream:
    """Takes a stream of a device, by default of the current one."""
    index = device.index if device is not None else None
    index = torch.cuda.current_device() if index is None else index
    return _FREE[index].pop() if _FREE[index] else torch.cuda.Stream(index)


def give_back(stream: torch.cuda.Stream) -> None:
    """Gives back a stream that was taken. What is queued there is done first, whoever takes it next."""
    _FREE[stream.device.index].append(stream)


def take_for(owner: object, device: torch.device) -> tuple[torch.cuda.Stream, "weakref.finalize[..., object]"]:
    """Takes a stream until `owner` is gone; detach the second to keep the stream from others after that too."""
    stream = take(device)
    return stream, weakref.finalize(owner, give_back, stream)
