"""The machine of a measurement: processor and its vector flags, GPU, versions, date."""

import os
import re
from dataclasses import dataclass
from typing import Any

import torch

from degrade.train.environment import environment
from degrade.train.processor import name_processor, read_cpuinfo

# the speed depends on these
_SPEED_FLAGS = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve", "bf16")


@dataclass(frozen=True)
class Machine:
    """Hardware and versions, for the JSON and the heading of the tables."""

    device: str  # name of the GPU or, without one, of the processor
    processor: str
    cores: int  # that this process may use
    flags: tuple[str, ...]  # of _SPEED_FLAGS, those that the processor has
    memory: float  # bytes of main memory
    environment: dict[str, Any]  # versions, commit, command, date

    @property
    def title(self) -> str:
        about = f"{self.cores} cores, {', '.join(self.flags) or 'no vector flags known'}"
        said = self.environment
        gpu = f"{self.device}, CUDA {said['cuda']}; " if said["cuda"] else ""
        versions = f"torch {said['torch']}, Python {said['python']}, degrade {said['degrade']}"
        return f"{gpu}{self.processor}, {about}; {versions}; {said['started'][:10]}"

    @property
    def slug(self) -> str:
        """Words for a file's name: amd-epyc-family-25-model-17-2-cores, nvidia-h200."""
        words = self.device if self.environment["cuda"] else f"{self.processor} {self.cores} cores"
        return re.sub(r"[^a-z0-9]+", "-", re.sub(r"\(\w+\)|CPU|@.*Hz", "", words).lower()).strip("-")


def machine(device: torch.device, command: str) -> Machine:
    known, name = read_cpuinfo(), name_processor()
    own = set(known.get("flags", known.get("Features", "")).split())
    return Machine(
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else known.get("model name", name),
        processor=name,
        cores=cores(),
        flags=tuple(flag for flag in _SPEED_FLAGS if flag in own),
        memory=float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
        environment=environment(device, command),
    )


def cores() -> int:
    """Counts the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
