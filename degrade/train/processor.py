"""What computes a run: processor, torch, compiled kernels. The last bits of a curve depend on each of them."""

import hashlib
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Self

import torch

from degrade.errors import SpecError
from degrade.spec.escape import controls
from degrade.store.state import MIXED, ONE, UNKNOWN

# of what Linux lists, those that arithmetic goes by: a newer Linux names more of the others
_ARITHMETIC = re.compile(r"s?sse|avx|fma|f16c|amx|bmi|abm|popcnt|fp(?!u)|asimd|sve|sme(?!p)|bf16|i8mm|neon|vfp")


@dataclass(frozen=True)
class Stretch:
    """Steps of a run from an iteration on, and what computes them. Without a processor: nobody noted it."""

    iteration: int = 0
    processor: str = ""  # or GPU
    features: str = ""  # of arithmetic
    version: str = ""  # of torch
    kernels: str = ""  # the fingerprint of compiled kernels; "": plain torch

    @classmethod
    def observe(cls, device: torch.device, kernels: str) -> Self:
        """What computes on a device of this machine."""
        if device.type == "cuda":
            name, version = torch.cuda.get_device_name(device), str(torch.__version__)
            return cls(0, name, f"CUDA {torch.version.cuda}", version, kernels)
        level, digest = torch.backends.cpu.get_cpu_capability(), hashlib.sha256(repr(read_features()).encode())
        return cls(0, name_processor(), f"{level} {digest.hexdigest()[:8]}", str(torch.__version__), kernels)

    def at(self, iteration: int) -> Self:
        return replace(self, iteration=iteration)

    @property
    def words(self) -> str:
        if not self.processor:
            return "what an older degrade did not note"
        kernels = f", kernels {self.kernels}" if self.kernels else ""
        return controls(f"{self.processor} ({self.features}), torch {self.version}{kernels}")  # a gift's may be odd


def join(before: Sequence[Stretch], here: Stretch) -> list[Stretch]:
    """What computed a run until it goes on here. What did no step does not count."""
    done = [each for each in before if each.iteration < here.iteration]
    return [*done] if done and done[-1].at(0) == here.at(0) else [*done, here]


def count_machines(stretches: Sequence[Stretch]) -> str:
    """ONE, MIXED or UNKNOWN: whether all steps of a run were computed by the same."""
    known = {each.at(0) for each in stretches if each.processor}
    return MIXED if len(known) > 1 else ONE if all(each.processor for each in stretches) else UNKNOWN


def describe_machines(stretches: Sequence[Stretch]) -> str:
    """What computed a run, in the order of its iterations."""
    if len(stretches) == 1:
        return stretches[0].words
    return "; ".join(f"from iteration {each.iteration:,} {each.words}" for each in stretches)


@cache
def read_cpuinfo() -> dict[str, str]:
    """Reads what Linux says of the first processor; {} on other systems."""
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except FileNotFoundError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def name_processor() -> str:
    """The model of the processor, with its family, since virtual machines give many models one name."""
    known = read_cpuinfo()
    name = known.get("model name", platform.processor() or platform.machine())
    if "cpu family" in known:
        return f"{name} (family {known['cpu family']}, model {known['model']})"
    parts = [known[key] for key in ("CPU implementer", "CPU part") if key in known]  # of an ARM processor
    return f"{name} ({', '.join(parts)})" if parts else name


def read_features() -> tuple[str, ...]:
    """The features of the processor that arithmetic goes by, sorted; none where the system does not tell."""
    known = read_cpuinfo()
    listed = known.get("flags", known.get("Features", "")).split()
    return tuple(sorted({each for each in listed if _ARITHMETIC.match(each)}))


def pick_device(name: str) -> torch.device:
    """Picks the device of `engine.device`; `auto` is CUDA where there is one. Raises SpecError for cuda without one."""
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        raise SpecError("engine.device=cuda: no CUDA device is visible; use engine.device=cpu")
    if name == "cpu" or not found:
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


def read_cudnn() -> int | None:
    """The version of cuDNN, as 91900 for 9.19. None where torch refuses the one that is here; a step says why, if it
    matters.
    """
    try:
        return torch.backends.cudnn.version()
    except RuntimeError:
        return None
