"""Describes what a run is trained on. The description is stored beside every result."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from degrade.train.processor import name_processor, read_cudnn, read_features


def environment(
    device: torch.device,
    command: str,
    *,
    classes: Sequence[str] = (),
    kernels: str = "",
    measured: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Versions, commit, processor, device and command of this process; the names of the classes that a run is trained
    on; the fingerprint of the `kernels` that it uses; and what was `measured` to choose how it trains.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "degrade": version("degrade"),
        "commit": find_commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "cudnn": read_cudnn() if device.type == "cuda" else None,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "device": f"{device}: {name}",
        "cpus": os.cpu_count(),
        "processor": name_processor(),
        "features": " ".join(read_features()),
        "kernels": kernels or None,
        "command": command or " ".join(sys.argv),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        **({"classes": list(classes)} if classes else {}),
        **({"measured": dict(measured)} if measured else {}),
    }


def find_commit() -> str | None:
    """Finds the commit of the checkout that runs, with a + where it has changes; None where degrade is installed."""
    home = Path(__file__).parent.parent.parent
    if not (home / ".git").exists():
        return None
    said: list[str] = []
    for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"]):
        try:
            done = subprocess.run(["git", "-C", str(home), *arguments], capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):  # no git here
            return None
        said.append(done.stdout.strip())
    return said[0] + ("+" if said[1] else "")
