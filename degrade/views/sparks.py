"""Small curves of the clean training error, in one line of text each."""

import math
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress

from degrade.errors import DegradeError
from degrade.store import parquet
from degrade.store.folder import RunDir
from degrade.store.parquet import CURVES

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 12  # characters
MOST = 100  # runs whose curves are read: each takes some milliseconds


def spark(errors: Sequence[float], top: float) -> str:
    """The last of each of _WIDTH stretches, on a scale from 0 to `top`. x: no number any more."""
    if not errors:
        return ""
    places = range(min(_WIDTH, len(errors)))
    picked = [errors[(place + 1) * len(errors) // len(places) - 1] for place in places]
    return "".join(_block(error, top) for error in picked)


def _block(error: float, top: float) -> str:
    if not math.isfinite(error):
        return "x"
    return _BLOCKS[min(len(_BLOCKS) - 1, int(error / top * len(_BLOCKS)))] if top > 0 else _BLOCKS[0]


def read_sparks(folders: Iterable[RunDir]) -> dict[str, str]:
    """run -> its small curve; all on one scale, from 0 to the greatest error of them.

    Nothing where the terminal cannot show them, and none of a run that cannot be read: `status` says that elsewhere.
    """
    if "utf" not in (sys.stdout.encoding or "").lower():
        return {}
    curves: dict[str, list[float]] = {}
    for folder in list(folders)[:MOST]:
        with suppress(DegradeError, OSError):
            if folder.curve.exists():
                rows = parquet.read_all([folder.curve], CURVES)
                pairs = zip(rows["split"].to_pylist(), rows["error"].to_pylist(), strict=True)
                curves[folder.run] = [error for split, error in pairs if split == "train_clean"]
    known = [error for errors in curves.values() for error in errors if math.isfinite(error)]
    return {run: spark(errors, max(known, default=0.0)) for run, errors in curves.items()}
