"""What the shell offers for words that are no overrides: runs, folders, values of options. Nothing heavy is loaded."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any


def offer_folders(incomplete: str) -> list[str]:
    """Folders that begin so, with a slash behind each: the next key goes on inside."""
    head, _, tail = incomplete.rpartition("/")
    begin = f"{head}/" if "/" in incomplete else ""
    return [f"{begin}{name}/" for name in _list_folders(Path(begin or ".").expanduser()) if name.startswith(tail)]


def offer_runs(ctx: Any, incomplete: str) -> list[str]:
    """Names of runs in the results folder that begin so."""
    root = Path(str(ctx.params.get("results") or "results"))
    return [name for name in _list_folders(root / "runs") if name.startswith(incomplete)]


def offer_values(*values: str) -> Callable[[str], list[str]]:
    """The values of an option."""

    def offer(incomplete: str) -> list[str]:
        return [value for value in values if value.startswith(incomplete)]

    return offer


def _list_folders(place: Path) -> list[str]:
    with suppress(OSError):
        return sorted(entry.name for entry in os.scandir(place) if entry.is_dir() and not entry.name.startswith("."))
    return []
